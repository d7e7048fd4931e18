"""A log of ours told in other engines' words: plain loops, without a line of ``mm.engines``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Tables = dict[str, pd.DataFrame]
MS = 1_000_000  # ns


class Event(NamedTuple):
    """What happened to one order; times in ms."""

    kind: str
    time: int
    sent: int
    order_id: str
    side: str
    price: float
    qty: float
    fee: float
    taker: bool = False


def events_of(tables: Tables) -> list[Event]:
    """Everything that the tables say, by time; of one ms a placement first."""
    out: list[Event] = []
    for row in tables["orders"].to_dict("records"):
        sent = int(row["recv_ms"])
        name, side, price, qty = row["order_id"], row["side"], row["price"], row["qty"]
        if row["action"] == "PLACE":
            out.append(Event("place", sent, sent, name, side, price, qty, 0.0))
            kind = "reject" if row["status"] == "REJECTED" else "accept"
            active = row["active_recv_ms"]
            time = sent if active != active else int(active)
            out.append(Event(kind, time, time, name, side, price, qty, 0.0))
        elif row["action"] == "AMEND":
            time = int(row["active_recv_ms"])
            out.append(Event("amend", time, time, name, side, price, qty, 0.0))
        elif row["action"] == "CANCEL_ACK":
            time = int(row["cancel_effective_ms"])
            out.append(Event("cancel", time, sent, name, side, price, qty, 0.0))
        elif row["action"] == "EXPIRE":
            out.append(Event("expire", sent, sent, name, side, price, qty, 0.0))
    for row in tables["fills"].to_dict("records"):
        time, name, side = int(row["recv_ms"]), row["order_id"], row["side"]
        taker = row.get("liquidity") == "TAKER"
        out.append(
            Event("fill", time, time, name, side, row["price"], row["qty"], row["fee"], taker)
        )
    order = {"place": 0, "accept": 1, "reject": 1, "amend": 1, "fill": 2, "cancel": 3, "expire": 3}
    return sorted(out, key=lambda event: (event.time, order[event.kind]))


def quotes_of(tables: Tables) -> Iterator[tuple[int, float, float]]:
    """Time in ms, bid and ask around each mid."""
    for row in tables["state"].to_dict("records"):
        yield int(row["recv_ms"]), row["mid"] - 0.5, row["mid"] + 0.5


NAUTILUS = {
    "place": "OrderInitialized",
    "accept": "OrderAccepted",
    "reject": "OrderRejected",
    "amend": "OrderUpdated",
    "cancel": "OrderCanceled",
    "expire": "OrderExpired",
    "fill": "OrderFilled",
}
INSTRUMENT = "AAA.SIM"


def nautilus_rows(tables: Tables) -> list[dict[str, Any]]:
    """Order events as its to_dict gives them."""
    rows: list[dict[str, Any]] = []
    for event in events_of(tables):
        row: dict[str, Any] = {
            "type": NAUTILUS[event.kind],
            "event_id": f"e-{len(rows)}",
            "instrument_id": INSTRUMENT,
            "client_order_id": event.order_id,
            "ts_event": event.time * MS + 7,
            "ts_init": event.sent * MS + 7,
        }
        if event.kind == "place":
            row |= {"order_side": event.side, "quantity": str(event.qty)}
            row["options"] = str({"price": str(event.price), "expire_time_ns": 0})
        if event.kind == "amend":
            row |= {"price": str(event.price), "quantity": str(event.qty)}
        if event.kind == "fill":
            row |= {"order_side": event.side, "last_px": event.price, "last_qty": event.qty}
            row["commission"] = f"{event.fee:.8f} USDT"
            row["liquidity_side"] = "TAKER" if event.taker else "MAKER"
        rows.append(row)
    return rows


def write_nautilus(folder: Path, tables: Tables) -> Path:
    """order_events.csv and quotes.csv."""
    folder.mkdir(parents=True)
    pd.DataFrame(nautilus_rows(tables)).to_csv(folder / "order_events.csv", index=False)
    quotes = [(t * MS + 3, t * MS + 5, bid, ask) for t, bid, ask in quotes_of(tables)]
    names = ["ts_event", "ts_init", "bid", "ask"]
    pd.DataFrame(quotes, columns=names).to_csv(folder / "quotes.csv", index=False)
    return folder


def write_catalog(folder: Path, tables: Tables) -> Path:
    """The same as a ParquetDataCatalog: a folder a type, prices of quotes as 128-bit integers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_type: dict[str, list[dict[str, Any]]] = {}
    for row in nautilus_rows(tables):
        by_type.setdefault(row.pop("type"), []).append(row)
    for name, rows in by_type.items():
        lower = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")
        place = folder / "data" / lower / INSTRUMENT
        place.mkdir(parents=True)
        table = pa.Table.from_pylist(rows)
        if "options" in table.column_names:
            price = [json.dumps({"price": str(r["options"].split("'")[3])}).encode() for r in rows]
            at = table.column_names.index("options")
            table = table.set_column(at, "options", pa.array(price))
        pq.write_table(table, place / "part.parquet")

    def fixed(price: float) -> bytes:
        return (round(price * 100) * 10**14).to_bytes(16, "little", signed=True)

    quotes = list(quotes_of(tables))
    kind = pa.binary(16)
    table = pa.table(
        {
            "bid_price": pa.array([fixed(bid) for _, bid, _ in quotes], kind),
            "ask_price": pa.array([fixed(ask) for _, _, ask in quotes], kind),
            "ts_event": pa.array([t * MS for t, _, _ in quotes], pa.uint64()),
            "ts_init": pa.array([t * MS for t, _, _ in quotes], pa.uint64()),
        }
    ).replace_schema_metadata({"instrument_id": INSTRUMENT, "price_precision": "1"})
    place = folder / "data" / "quote_tick" / INSTRUMENT
    place.mkdir(parents=True)
    pq.write_table(table, place / "part.parquet")
    return folder


def write_reports(folder: Path, tables: Tables) -> Path:
    """orders_report, fills_report and quotes of nautilus_trader."""
    folder.mkdir(parents=True)
    orders: dict[str, dict[str, Any]] = {}
    fills = []
    for event in events_of(tables):
        time = event.time * MS
        if event.kind == "place":
            orders[event.order_id] = {
                "client_order_id": event.order_id,
                "instrument_id": INSTRUMENT,
                "side": event.side,
                "quantity": event.qty,
                "price": event.price,
                "filled_qty": 0.0,
                "status": "SUBMITTED",
                "ts_init": time,
                "ts_last": time,
            }
            continue
        order = orders[event.order_id]
        order["ts_last"] = time
        words = {"accept": "ACCEPTED", "reject": "REJECTED", "cancel": "CANCELED"}
        order["status"] = words.get(event.kind, "EXPIRED")
        if event.kind == "fill":
            order["filled_qty"] += event.qty
            order["status"] = "FILLED" if order["filled_qty"] >= order["quantity"] else "ACCEPTED"
            stamp = pd.Timestamp(time, tz="UTC").isoformat(sep=" ")
            fills.append((event.order_id, INSTRUMENT, event.side, event.qty, event.price, stamp))
    pd.DataFrame(orders.values()).to_csv(folder / "orders_report.csv", index=False)
    names = ["client_order_id", "instrument_id", "order_side", "last_qty", "last_px", "ts_event"]
    report = pd.DataFrame(fills, columns=names).assign(commission="0 USDT", liquidity_side="MAKER")
    report.to_csv(folder / "fills_report.csv", index=False)
    quotes = [(t * MS, t * MS, bid, ask) for t, bid, ask in quotes_of(tables)]
    names = ["ts_event", "ts_init", "bid_price", "ask_price"]
    pd.DataFrame(quotes, columns=names).to_csv(folder / "quotes.csv", index=False)
    return folder


def write_hftbacktest(folder: Path, tables: Tables, tick: float) -> Path:
    """What the logger of docs/examples writes: a row at each change that a poll saw."""
    folder.mkdir(parents=True)
    numbers: dict[str, int] = {}
    now: dict[int, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for event in events_of(tables):
        number = numbers.setdefault(event.order_id, len(numbers) + 1)
        if event.kind == "place":
            now[number] = {
                "order_id": number,
                "side": 1 if event.side == "BUY" else -1,
                "qty": event.qty,
                "leaves_qty": event.qty,
                "status": 0,
                "req": 1,
                "local_timestamp": event.time * MS,
            }
        order = now[number]
        if event.kind != "fill":
            order["price_tick"] = round(event.price / tick)
        seen = event.sent if event.kind in ("cancel", "amend") else event.time + 1
        order["now_ns"] = seen * MS
        order["exch_timestamp"] = 0 if event.kind == "place" else event.time * MS
        if event.kind == "fill":
            order["leaves_qty"] = max(0.0, round(order["leaves_qty"] - event.qty, 9))
            order |= {"exec_price_tick": round(event.price / tick), "maker": not event.taker}
            order |= {"status": 5 if order["leaves_qty"] else 3, "req": 0}
        elif event.kind != "place":
            status = {"accept": 1, "reject": 2, "amend": 1, "cancel": 4, "expire": 2}[event.kind]
            order |= {"status": status, "req": 0}
        rows.append(dict(order))
        if event.kind == "fill":
            rows.append({**order, "req": 4})  # a cancel is asked for: no other fill
    frame = pd.DataFrame(rows).fillna({"exec_price_tick": 0, "maker": False})
    frame = frame.astype({"exec_price_tick": "int64", "maker": "bool"})
    orders = np.rec.fromarrays([frame[n].to_numpy() for n in frame], names=list(frame))
    quotes = np.array(
        [(t * MS, bid, ask) for t, bid, ask in quotes_of(tables)],
        dtype=[("now_ns", "i8"), ("best_bid", "f8"), ("best_ask", "f8")],
    )
    np.savez_compressed(folder / "orders_AAA.npz", orders=orders, quotes=quotes, tick_size=tick)
    return folder


BINANCE = {
    "accept": "NEW",
    "amend": "AMENDMENT",
    "cancel": "CANCELED",
    "expire": "EXPIRED",
    "reject": "REJECTED",
    "fill": "TRADE",
}


def write_binance(folder: Path, tables: Tables, futures: bool) -> Path:
    """The stream as JSON lines; the user's own times of placement and best quotes as CSV."""
    folder.mkdir(parents=True)
    ids: dict[str, int] = {}
    lines, placed = [], []
    size: dict[str, float] = {}
    for event in events_of(tables):
        number = ids.setdefault(event.order_id, 1000 + len(ids))
        if event.kind == "place":
            placed.append((number, event.sent))
            continue
        if event.kind in ("accept", "amend"):
            size[event.order_id] = event.qty
        fill = event.kind == "fill"
        name = BINANCE[event.kind]
        order: dict[str, Any] = {
            "s": "AAA",
            "S": event.side,
            "o": "LIMIT",
            "x": "REPLACED" if name == "AMENDMENT" and not futures else name,
            "i": number,
            "p": str(event.price),
            "q": str(size.get(event.order_id, event.qty)),
            "l": str(event.qty if fill else 0.0),
            "L": str(event.price if fill else 0.0),
            "n": str(event.fee),
            "m": fill and not event.taker,
            "T": event.time,
        }
        if futures:
            message = {"e": "ORDER_TRADE_UPDATE", "E": event.time + 2, "T": event.time, "o": order}
        else:
            message = {"event": {"e": "executionReport", "E": event.time + 2, **order}}
        lines.append(json.dumps(message))
    (folder / "user_data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = pd.DataFrame(placed, columns=["order_id", "placed_ms"])
    own.to_csv(folder / "placed.csv", index=False)
    mids = [(t, bid, ask) for t, bid, ask in quotes_of(tables)]
    pd.DataFrame(mids, columns=["recv_ms", "bid", "ask"]).to_csv(folder / "mids.csv", index=False)
    return folder


#: As hummingbot/model declares them; SqliteDecimal(6) is a BIGINT of millionths.
HUMMINGBOT = """
CREATE TABLE "Order" (id TEXT NOT NULL PRIMARY KEY, config_file_path TEXT, strategy TEXT,
  market TEXT NOT NULL, symbol TEXT NOT NULL, base_asset TEXT, quote_asset TEXT,
  creation_timestamp BIGINT NOT NULL, order_type TEXT NOT NULL, amount BIGINT NOT NULL,
  leverage INTEGER, price BIGINT NOT NULL, last_status TEXT, last_update_timestamp BIGINT,
  exchange_order_id TEXT, position TEXT);
CREATE TABLE "OrderStatus" (id INTEGER NOT NULL PRIMARY KEY, order_id TEXT NOT NULL,
  timestamp BIGINT NOT NULL, status TEXT NOT NULL);
CREATE TABLE "TradeFill" (config_file_path TEXT, strategy TEXT, market TEXT NOT NULL,
  symbol TEXT NOT NULL, base_asset TEXT, quote_asset TEXT, timestamp BIGINT NOT NULL,
  order_id TEXT NOT NULL, trade_type TEXT NOT NULL, order_type TEXT NOT NULL,
  price BIGINT NOT NULL, amount BIGINT NOT NULL, leverage INTEGER, trade_fee JSON NOT NULL,
  trade_fee_in_quote BIGINT NOT NULL, exchange_trade_id TEXT NOT NULL, position TEXT,
  PRIMARY KEY (market, order_id, exchange_trade_id));
CREATE TABLE "MarketData" (timestamp BIGINT NOT NULL PRIMARY KEY, exchange TEXT NOT NULL,
  trading_pair TEXT NOT NULL, mid_price BIGINT NOT NULL, best_bid BIGINT, best_ask BIGINT,
  order_book JSON);
"""


def write_hummingbot(
    folder: Path, tables: Tables, market: str = "kucoin", order_type: str = "LIMIT"
) -> Path:
    """The bot's database, as its MarketsRecorder fills it; a second market goes beside."""
    folder.mkdir(parents=True, exist_ok=True)
    new = not (folder / "bot.sqlite").exists()
    base = sqlite3.connect(folder / "bot.sqlite")
    if new:
        base.executescript(HUMMINGBOT)

    def insert(table: str, **cells: Any) -> None:
        names, marks = ", ".join(cells), ", ".join("?" * len(cells))
        row = tuple(cells.values())
        base.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', row)  # noqa: S608

    of_pair = {"market": market, "symbol": "AAA-USDT", "order_type": order_type}
    for n, event in enumerate(events_of(tables)):
        time, name = event.time, f"{market}-{event.order_id}"
        terms = {"price": round(event.price * 1e6), "amount": round(event.qty * 1e6)}
        word = f"{event.side.title()}OrderCreated"
        if event.kind == "accept":
            insert("Order", id=name, creation_timestamp=time, last_status=word, **terms, **of_pair)
            insert("OrderStatus", order_id=name, timestamp=time, status=word)
        if event.kind in ("cancel", "expire"):
            word = "OrderCancelled" if event.kind == "cancel" else "OrderExpired"
            insert("OrderStatus", order_id=name, timestamp=time, status=word)
        if event.kind == "fill":
            fee = {"trade_fee": "{}", "trade_fee_in_quote": round(event.fee * 1e6)}
            fill = {"trade_type": event.side, "exchange_trade_id": str(n), **terms, **fee}
            insert("TradeFill", order_id=name, timestamp=time, **fill, **of_pair)
            insert("OrderStatus", order_id=name, timestamp=time, status="OrderFilled")
    for time, bid, ask in quotes_of(tables):
        mid = round((bid + ask) / 2 * 1e6)
        at = time * 1_000_000 + (not new)  # the key of the table
        row = {"timestamp": at, "exchange": market, "trading_pair": "AAA-USDT", "mid_price": mid}
        insert("MarketData", **row)
    base.commit()
    base.close()
    return folder
