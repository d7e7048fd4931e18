"""Simulated tapes as the files that exchanges and recorders write."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

START_MS = 1_735_689_600_000


@dataclass(frozen=True)
class Recording:
    """``trades``: time (ms), price, qty, side, id; ``quotes``: time (ms), bid, ask."""

    trades: pd.DataFrame
    quotes: pd.DataFrame


def quick_tape(seed: int = 1, rate: float = 2.0, k: float = 0.5, step: float = 0.1) -> Recording:
    """Five minutes: aggressors of each side come at ``rate`` /s and reach an exponential distance
    from a mid that moves by ``step`` every 100 ms."""
    rng = np.random.default_rng(seed)
    time = START_MS + np.arange(0, 300_000, 100)
    mid = 1000.0 + step * np.cumsum(rng.integers(-1, 2, len(time)))
    n = rng.poisson(2 * rate * 300)
    at = START_MS + np.sort(rng.integers(1, 300_000, n))
    sign = rng.choice([-1, 1], n)
    row = np.searchsorted(time, at) - 1
    price = mid[row] + sign * np.ceil(1000.0 * rng.exponential(1.0 / k, n)) / 1000.0
    side = np.where(sign < 0, "sell", "buy")
    trades = {"time": at, "price": price.round(3), "qty": 1.0, "side": side, "id": 1 + np.arange(n)}
    quotes = {"time": time, "bid": (mid - 0.001).round(3), "ask": (mid + 0.001).round(3)}
    return Recording(pd.DataFrame(trades), pd.DataFrame(quotes))


def write_csv(table: pd.DataFrame, path: Path, *, header: bool = True) -> Path:
    """A table as its suffix says: .csv, .csv.gz, .zip or .parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
        return path
    text = table.to_csv(index=False, header=header, lineterminator="\n").encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text, mtime=0))
    elif path.suffix == ".zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("downloaded.csv", text)
        path.write_bytes(packed.getvalue())
    else:
        path.write_bytes(text)
    return path


def plain(folder: Path, tape: Recording, suffix: str = ".csv") -> Path:
    """The documented form."""
    write_csv(tape.trades, folder / f"trades_BTCUSDT{suffix}")
    write_csv(tape.quotes, folder / f"quotes_BTCUSDT{suffix}")
    return folder


def binance(folder: Path, tape: Recording, *, what: str, header: bool, unit: int) -> Path:
    """Public archives: ``what`` is spot, usdm or agg; ``unit``: so many to a ms."""
    t, q = tape.trades, tape.quotes
    maker = np.where(t["side"] == "sell", "True", "False")
    time = t["time"] * unit
    if what == "agg":
        trades = pd.DataFrame(
            {
                "agg_trade_id": t["id"],
                "price": t["price"],
                "quantity": t["qty"],
                "first_trade_id": t["id"],
                "last_trade_id": t["id"],
                "transact_time": time,
                "is_buyer_maker": np.char.lower(maker.astype(str)),
            }
        )
    else:
        trades = pd.DataFrame(
            {
                "id": t["id"],
                "price": t["price"],
                "qty": t["qty"],
                "quote_qty": t["price"] * t["qty"],
                "time": time,
                "is_buyer_maker": maker,
            }
        )
        if what == "spot":
            trades["is_best_match"] = "True"
    quotes = pd.DataFrame(
        {
            "update_id": np.arange(len(q)),
            "best_bid_price": q["bid"],
            "best_bid_qty": 1.0,
            "best_ask_price": q["ask"],
            "best_ask_qty": 1.0,
            "transaction_time": q["time"] * unit,
            "event_time": q["time"] * unit + 3 * unit,
        }
    )
    write_csv(trades, folder / "trades_BTCUSDT.zip", header=header)
    write_csv(quotes, folder / "quotes_BTCUSDT.zip", header=header)
    return folder


def tardis(folder: Path, tape: Recording) -> Path:
    """Tardis.dev: µs of the exchange and of the receiver."""
    t, q = tape.trades, tape.quotes
    start = {"exchange": "binance", "symbol": "BTCUSDT"}
    trades = pd.DataFrame(
        {
            **start,
            "timestamp": t["time"] * 1000,
            "local_timestamp": t["time"] * 1000 + 4321,
            "id": t["id"],
            "side": t["side"],
            "price": t["price"],
            "amount": t["qty"],
        }
    )
    quotes = pd.DataFrame(
        {
            **start,
            "timestamp": q["time"] * 1000,
            "local_timestamp": q["time"] * 1000 + 1234,
            "ask_amount": 1.0,
            "ask_price": q["ask"],
            "bid_price": q["bid"],
            "bid_amount": 1.0,
        }
    )
    write_csv(trades, folder / "trades_BTCUSDT.csv.gz")
    write_csv(quotes, folder / "quotes_BTCUSDT.csv.gz")
    return folder


def recorder(folder: Path, tape: Recording) -> Path:
    """mmprototype's recorder: trades_ws and orderbook_ws_depth, two levels of it."""
    t, q = tape.trades, tape.quotes
    trades = pd.DataFrame(
        {
            "event_time_ms": t["time"],
            "recv_time_ms": t["time"] + 7,
            "recv_seq": np.arange(len(t)),
            "run_id": 1,
            "trade_id": t["id"],
            "trade_time_ms": t["time"] - 1,
            "price": t["price"],
            "qty": t["qty"],
            "is_buyer_maker": (t["side"] == "sell").astype(int),
            "side": t["side"],
        }
    )
    quotes = pd.DataFrame(
        {
            "event_time_ms": q["time"],
            "recv_time_ms": q["time"] + 12,
            "recv_seq": np.arange(len(q)),
            "run_id": 1,
            "epoch_id": 1,
            "bid1_price": q["bid"],
            "bid1_qty": 1.0,
            "ask1_price": q["ask"],
            "ask1_qty": 1.0,
            "bid2_price": q["bid"] - 0.1,
            "bid2_qty": 1.0,
            "ask2_price": q["ask"] + 0.1,
            "ask2_qty": 1.0,
        }
    )
    write_csv(trades, folder / "trades_BTCUSDT.csv.gz")
    write_csv(quotes, folder / "quotes_BTCUSDT.csv.gz")
    return folder


FEED = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ]
)
BOTH, BUY, SELL = (1 << 31) | (1 << 30), 1 << 29, 1 << 28


def feed(folder: Path, tape: Recording, *, depth: bool) -> Path:
    """hftbacktest's feed: best quotes, or a book of updates of which the best follow."""
    t, q = tape.trades, tape.quotes
    rows: list[tuple[int, int, int, float, float]] = []
    for n, row in enumerate(t.itertuples()):
        side = BUY if row.side == "buy" else SELL
        rows.append((row.time, n, 2 | side | BOTH, row.price, row.qty))
    held = {BUY: 0.0, SELL: 0.0}
    updates = zip(q["time"].tolist(), q["bid"].tolist(), q["ask"].tolist(), strict=True)
    for n, (time, bid, ask) in enumerate(updates):
        for side, price in ((BUY, bid), (SELL, ask)):
            if not depth:
                rows.append((time, n, 5 | side | BOTH, price, 1.0))
                continue
            if held[side] and held[side] != price:
                rows.append((time, n, 1 | side | BOTH, held[side], 0.0))
            rows.append((time, n, 1 | side | BOTH, price, 2.0))
            deeper = price - 60.0 if side == BUY else price + 60.0
            rows.append((time, n, 1 | side | BOTH, round(deeper, 1), 3.0))
            held[side] = price
    rows.sort(key=lambda r: r[:2])
    events = np.zeros(len(rows), dtype=FEED)
    ns = np.array([r[0] for r in rows], dtype=np.int64) * 1_000_000
    events["exch_ts"], events["local_ts"] = ns, ns + 5_000_000
    events["ev"] = [r[2] for r in rows]
    events["px"], events["qty"] = [r[3] for r in rows], [r[4] for r in rows]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "trades_BTCUSDT.npz", data=events)
    return folder
