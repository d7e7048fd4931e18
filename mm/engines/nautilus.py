"""nautilus_trader (1.221 and later): order events, or the Trader's reports, and QuoteTicks.

| nautilus_trader | event |
|---|---|
| OrderInitialized (``price``, also in ``options``; ``order_type`` LIMIT) | place, at ``ts_init`` |
| OrderAccepted | accept |
| OrderRejected, OrderDenied | reject |
| OrderUpdated | amend |
| OrderCanceled, OrderExpired | cancel, expire |
| OrderFilled (``last_px``, ``last_qty``, ``liquidity_side``, ``commission``) | fill |
| QuoteTick: (bid + ask) / 2 at ``ts_init``, when the strategy saw it | mid |

Files: CSV or Parquet as written by pandas (events as dicts with their ``type``), a
ParquetDataCatalog, or the Feather streams of StreamingConfig and what they are converted to, where
a file's folder or name tells its type and prices of quotes are 64- or 128-bit integers. Events that
stand in several of them (``event_id``) count once.

From orders_report and fills_report alone there is no accept: orders count from ``ts_init``, too
long by the latency; of an amended order only the last price is known. Both are said.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mm.core.errors import InputError
from mm.engines.events import Recording, in_ns
from mm.engines.files import headers, quotes_in, read, schema_of

NAME = "nautilus"
_KINDS = {
    "OrderInitialized": "place",
    "OrderAccepted": "accept",
    "OrderRejected": "reject",
    "OrderDenied": "reject",
    "OrderUpdated": "amend",
    "OrderCanceled": "cancel",
    "OrderExpired": "expire",
    "OrderFilled": "fill",
}
#: Orders that rest at their price from when they are accepted; None: a file without types.
_LIMITS, _AT_THE_VENUE = ("LIMIT", None, np.nan), ("NO_TRIGGER", None, np.nan)
_STATUS = {"CANCELED": "cancel", "EXPIRED": "expire", "REJECTED": "reject", "DENIED": "reject"}
_IDS = ("client_order_id", "instrument_id")
#: Statuses of orders that the venue does not have.
_NOT_THERE = ("REJECTED", "DENIED", "SUBMITTED", "INITIALIZED", "EMULATED", "RELEASED")
_QUOTE_TIME = (("ts_init", "ns"), ("ts_event", "ns"))
#: Prices of a catalog are integers in these parts of one, by their bytes.
_PARTS = {8: 1e9, 16: 1e16}


def _what(file: Path, columns: list[str]) -> str:
    """What a table is: events, orders, fills, quotes, or nothing of ours."""
    has = set(columns)
    if "client_order_id" in has:
        if {"status", "ts_last"} <= has:
            return "orders"
        if "type" in has or _type_of(file) in _KINDS:
            return "events"
        if {"last_px", "liquidity_side"} <= has:
            return "fills"
        return "other events"
    quoted = {"bid", "ask"} <= has or {"bid_price", "ask_price"} <= has
    return "quotes" if quoted and "ts_init" in has else ""


def _type_of(file: Path) -> str:
    """The event that a file's folders or its name tell: order_filled/<instrument>/x.parquet of a
    catalog, order_filled/x.parquet of a converted stream, order_filled_0.feather of a stream."""
    places = (file.parent.parent.name, file.parent.name, file.stem.rstrip("_0123456789"))
    names = ("".join(part.title() for part in place.split("_")) for place in places)
    return next((name for name in names if name in _KINDS), "")


def recognises(path: Path) -> bool:
    """Whether a file or folder is of this engine."""
    return any(_what(file, columns) not in ("", "quotes") for file, columns in headers(path))


def recordings(path: Path, symbol: str = "") -> list[Recording]:
    """Each instrument's. Raises InputError for what can't be read or lacks orders or quotes."""
    found: dict[str, list[Path]] = {"events": [], "orders": [], "fills": [], "quotes": []}
    for file, columns in headers(path):
        found.get(_what(file, columns), []).append(file)
    if found["events"]:
        parts = [_events(file) for file in found["events"]]
        events = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        events = _once(events, path).sort_values("time_ns", kind="stable")
        notes: list[str] = []
    elif found["orders"]:
        events, notes = _from_reports(found["orders"], found["fills"], path)
    else:
        raise InputError(
            "no order events and no orders_report", where=path, remedy="write one of both"
        )
    quotes = [pair for file in found["quotes"] for pair in _quotes(file)]
    return list(_by_instrument(events, quotes, notes, path, symbol))


def _by_instrument(
    events: pd.DataFrame,
    quotes: list[tuple[str, pd.DataFrame]],
    notes: list[str],
    path: Path,
    symbol: str,
) -> Iterator[Recording]:
    names = sorted(events["instrument_id"].dropna().unique())
    if len(names) > 1 and any(not of for of, _ in quotes):
        raise InputError(
            f"orders of {len(names)} instruments, but quotes that name none",
            where=path,
            remedy="write the column instrument_id into the quotes",
        )
    for name in names:
        mine = [table for of, table in quotes if of in ("", name)]
        mid = pd.concat(mine) if mine else pd.DataFrame({"time_ns": [], "mid": []})
        own = events[events["instrument_id"] == name]
        called = symbol if len(names) == 1 and symbol else name.replace("/", "")  # as in a catalog
        yield Recording(called, own, mid, notes=notes)


def _once(events: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Each event once: a stream may lie beside the catalog it was converted to. Raises InputError
    for orders of two runs, which give the same ids."""
    known = events["event_id"].notna()
    events = events[~(known & events.duplicated("event_id"))]
    again = [
        set(ids[ids.duplicated()])
        for kind in ("place", "accept")
        for ids in [events.loc[events["kind"] == kind, "order_id"]]
    ]
    both = sorted(again[0] & again[1])
    if both:
        raise InputError(
            f"{len(both)} orders are placed and accepted twice ({both[0]})",
            where=path,
            remedy="two runs in one folder: give each run's folder by itself",
        )
    return events


def _events(file: Path) -> pd.DataFrame:
    table = read(file, *_IDS, "ts_init")
    where, kind = str(file), table["type"] if "type" in table else _type_of(file)
    out = pd.DataFrame(
        {
            "kind": pd.Series(kind, index=table.index).map(_KINDS),
            "order_id": table["client_order_id"].astype("str"),
            "instrument_id": table["instrument_id"].astype("str"),
        }
    )
    time = "ts_event" if "ts_event" in table else "ts_init"
    out["time_ns"] = in_ns(table[time], "ns", where, time)
    out["sent_ns"] = in_ns(table["ts_init"], "ns", where, "ts_init")
    table = table.reindex(columns=[*_OF_EVENTS])
    out["side"] = table["order_side"].astype("object").where(table["order_side"].notna(), None)
    price = _numbers(table["price"])
    unpriced = np.flatnonzero((out["kind"] == "place") & price.isna())
    price.iloc[unpriced] = [_price_in(cell) for cell in table["options"].iloc[unpriced]]
    limit = table["order_type"].isin(_LIMITS) & table["emulation_trigger"].isin(_AT_THE_VENUE)
    price = price.fillna(_numbers(table["last_px"]))
    out["price"] = price.where(limit | (out["kind"] != "place"))
    out["qty"] = _numbers(table["quantity"]).fillna(_numbers(table["last_qty"]))
    out["fee"] = _money(table["commission"])
    out["liquidity"] = table["liquidity_side"].astype("object")
    out["reason"] = table["reason"]
    out["event_id"] = table["event_id"]
    return out[out["kind"].notna()]


_OF_EVENTS = (
    *("order_side", "price", "last_px", "quantity", "last_qty", "options"),
    *("commission", "liquidity_side", "reason", "event_id", "order_type", "emulation_trigger"),
)


def _numbers(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(cells, errors="coerce").astype("float64")


def _money(cells: pd.Series) -> pd.Series:
    """The amount of "0.024 USDT"."""
    return _numbers(cells.map(lambda cell: str(cell).split(" ")[0]))


def _price_in(options: Any) -> float:
    """The limit price among an order's options, as JSON or as Python writes a dict."""
    if isinstance(options, bytes):
        options = options.decode()
    if not isinstance(options, str) or "price" not in options:
        return np.nan
    try:
        read_as = json.loads if '"' in options else ast.literal_eval
        return float(read_as(options).get("price") or np.nan)
    except (ValueError, SyntaxError, TypeError):
        return np.nan


def _quotes(file: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """(instrument or "", time and mid) of each instrument in a file of QuoteTicks."""
    table, name = read(file), ""
    if file.name.endswith((".parquet", ".feather")):
        metadata = schema_of(file).metadata or {}
        name = metadata.get(b"instrument_id", b"").decode()
    for column in ("bid_price", "ask_price"):
        if column in table and len(table) and isinstance(table[column].iloc[0], bytes):
            width = len(table[column].iloc[0])
            cells = [int.from_bytes(cell, "little", signed=True) for cell in table[column]]
            table[column] = np.array(cells, dtype=np.float64) / _PARTS[width]
        elif name and column in table and pd.api.types.is_integer_dtype(table[column]):
            table[column] = table[column] / _PARTS[8]  # a catalog of before 1.211
    found = quotes_in(table, str(file), _QUOTE_TIME)
    assert found is not None  # it has a bid, an ask and ts_init
    if name or "instrument_id" not in table:
        yield name, found
    else:
        yield from found.groupby(table["instrument_id"].astype("str"))


def _from_reports(
    orders: list[Path], fills: list[Path], path: Path
) -> tuple[pd.DataFrame, list[str]]:
    reports = []
    for file in orders:
        table = read(file, *_IDS, "ts_init", "ts_last", "side", "price", "quantity", "filled_qty")
        for name in ("ts_init", "ts_last"):
            table[name] = in_ns(table[name], "ns", str(file), name)
        reports.append(table)
    # A report of filled orders only may lie beside that of all.
    report = pd.concat(reports).drop_duplicates("client_order_id")
    base = pd.DataFrame(
        {
            "order_id": report["client_order_id"],
            "instrument_id": report["instrument_id"].astype("str"),
            "side": report["side"].astype("object"),
            "price": _numbers(report["price"]).where(
                report.get("type", pd.Series("LIMIT", index=report.index)) == "LIMIT"
            ),
            "qty": _numbers(report["quantity"]),
        }
    )
    place = base.assign(kind="place", time_ns=report["ts_init"])
    ended = base.assign(kind=report["status"].map(_STATUS), time_ns=report["ts_last"])
    begun = ~report["status"].isin(_NOT_THERE)
    accept = place[begun].assign(kind="accept")
    parts = [place, accept, ended[ended["kind"].notna()]]
    filled = _numbers(report["filled_qty"]) > 0
    if fills:
        parts += [_fills(file) for file in fills]
    elif filled.any():
        raise InputError(
            f"{int(filled.sum())} orders are filled, but there is no fills_report",
            where=path,
            remedy="write it too: an order's report has no time of its fills",
        )
    return pd.concat(parts, ignore_index=True), [
        "from reports alone: orders count from ts_init, before the venue accepted them",
        "from reports alone: of an amended order only its last price is known",
    ]


def _fills(file: Path) -> pd.DataFrame:
    table = read(file, *_IDS, "ts_event", "order_side", "last_px", "last_qty", "commission")
    return pd.DataFrame(
        {
            "kind": "fill",
            "order_id": table["client_order_id"],
            "instrument_id": table["instrument_id"].astype("str"),
            "time_ns": in_ns(table["ts_event"], "ns", str(file), "ts_event"),
            "side": table["order_side"].astype("object"),
            "price": _numbers(table["last_px"]),
            "qty": _numbers(table["last_qty"]),
            "fee": _money(table["commission"]),
            "liquidity": table["liquidity_side"].astype("object"),
        }
    )
