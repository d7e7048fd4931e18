"""A long backtest log with a known truth, made a day at a time with whole-array arithmetic.

    python benchmarks/long_log.py FOLDER --days 10 [--state-ms 100] [--format csv|parquet|both]

Ten days are 5.6 M order rows, 0.8 M fill rows and 8.6 M state rows, 1.1 GB of CSV. Two quotes rest
at any time, one a side, each replaced about every second; they are filled with
lambda(delta) = A exp(-k delta) along a mid that moves about three times a second. Simpler than
``mm.simulate`` (no outages, rejects or bursts), and hundreds of times faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

A, K, TICK = 0.9, 0.55, 1.0
LATENCY_MS = 50
DAY_MS = 86_400_000
BEGIN_MS = 1_723_161_600_000  # a midnight
_LIFE_MS = 1_000.0
_MOVES_PER_S = 3.0
_START_MID = 60_000.0
#: In as many equal prints as one likes up to six, each a short decimal.
_QTY = 0.012
_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype="S2")

Tables = dict[str, pa.Table]


@dataclass
class _Carried:
    """What one day hands to the next."""

    mid: float = _START_MID
    inventory: float = 1_000.0
    cash: float = 1e9


def days(n_days: float, state_ms: int = 100, seed: int = 7) -> Iterator[Tables]:
    """The three tables of each day (the last may be part of one), by kind."""
    rng = np.random.default_rng(seed)
    carried, whole = _Carried(), int(np.ceil(n_days))
    for day in range(whole):
        length = round(min(1.0, n_days - day) * DAY_MS)
        yield _day(BEGIN_MS + day * DAY_MS, length, state_ms, carried, rng)


def _day(
    begin: int, length: int, state_ms: int, carried: _Carried, rng: np.random.Generator
) -> Tables:
    n = length // state_ms
    time = begin + np.arange(n, dtype=np.int64) * state_ms
    if state_ms > 4:
        time += rng.integers(0, state_ms // 2, n)
    moves = rng.random(n) < min(0.9, _MOVES_PER_S * state_ms / 1000.0)
    steps = np.where(moves, rng.choice([-0.5, 0.5], n), 0.0)
    mid = np.maximum(carried.mid + np.cumsum(steps), 1_000.0)
    sides = [_quotes(sign, begin + length, time, mid, rng) for sign in (1, -1)]
    quotes = {name: np.concatenate([side[name] for side in sides]) for name in sides[0]}
    order = np.argsort(quotes["place"], kind="stable")
    quotes = {name: values[order] for name, values in quotes.items()}
    prints = _prints(quotes, rng)
    ids = _ids(len(order), rng)
    tables = {"orders": _orders(quotes, prints, ids, time), "fills": _fills(quotes, prints, ids)}
    tables["state"] = _state(quotes, prints, time, mid, carried)
    carried.mid = float(mid[-1])
    return tables


def _quotes(
    sign: int, stop: int, time: np.ndarray, mid: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """One quote after another on one side, and when each would be filled."""
    step = float(np.median(np.diff(time)))
    lives = 1 + rng.geometric(step / _LIFE_MS if step < _LIFE_MS else 0.5, len(time))
    rows = np.cumsum(lives)
    # The last quote of a day is taken back before it ends.
    latest = int(np.searchsorted(time, time[-1] - 4 * LATENCY_MS))
    rows = np.concatenate([[0], rows[rows < latest]])
    place = time[rows]
    request = np.append(place[1:], time[-1] - LATENCY_MS)
    price = np.floor(mid[rows]) - sign * rng.integers(1, 6, len(rows)) + (0 if sign > 0 else 1)
    active = place + LATENCY_MS
    # Hazard along the path: one piece a state row while the order rests.
    first = np.searchsorted(time, active, side="right") - 1
    last = np.searchsorted(time, np.minimum(request, stop), side="left")
    pieces = np.maximum(last - first, 0)
    of = np.repeat(np.arange(len(rows)), pieces)
    at = first[of] + np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    low = np.maximum(time[at], active[of])
    high = np.minimum(np.append(time, stop)[at + 1], request[of])
    hazard = A * np.exp(-K * np.abs(price[of] - mid[at]) / TICK) * np.maximum(high - low, 0) / 1e3
    hit = rng.random(len(of)) < -np.expm1(-hazard)
    where = np.flatnonzero(hit)
    orders, nth = np.unique(of[where], return_index=True)
    where = where[nth]
    inside = np.ceil(low[where] + rng.random(len(where)) * (high - low)[where]).astype(np.int64)
    fill = np.zeros(len(rows), dtype=np.int64)
    fill[orders] = np.minimum(inside, request[orders] - 40)
    fill[fill <= active] = 0
    return {
        "side": np.full(len(rows), sign, dtype=np.int8),
        "place": place,
        "active": active,
        "request": request,
        "price": price,
        "fill": fill,
    }


def _prints(quotes: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fill rows: one to six an order, mostly in one ms, the last one closes it."""
    filled = np.flatnonzero(quotes["fill"])
    count = rng.integers(1, 7, len(filled))
    order = np.repeat(filled, count)
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    late = (rng.random(len(filled)) < 0.2).repeat(count) & (nth > 0)
    time = quotes["fill"][order] + np.where(late, 5 * nth, 0)
    left = np.repeat(count, count) - nth - 1
    return {"order": order, "time": time, "qty": _QTY / np.repeat(count, count), "left": left}


def _ids(n: int, rng: np.random.Generator) -> pa.Array:
    pairs = _HEX[rng.integers(0, 256, (n, 16))].view("S1").reshape(n, 32)
    text = np.full((n, 36), b"-", dtype="S1")
    for target, source in ((0, 0), (9, 8), (14, 12), (19, 16), (24, 20)):
        width = 8 if target == 0 else 12 if target == 24 else 4
        text[:, target : target + width] = pairs[:, source : source + width]
    offsets = pa.py_buffer(np.arange(0, 36 * (n + 1), 36, dtype=np.int32))
    return pa.StringArray.from_buffers(n, offsets, pa.py_buffer(text.tobytes()))


def _words(codes: np.ndarray, names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int8), names).cast(pa.string())


def _ms(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=values == 0)


_ACTIONS = ["PLACE", "FILL", "CLOSE_FILLED", "CANCEL_REQ", "CANCEL_ACK"]
_STATUS = ["OPEN", "OPEN", "FILLED", "CANCEL_PENDING", "CANCELLED"]


def _orders(
    quotes: dict[str, np.ndarray], prints: dict[str, np.ndarray], ids: pa.Array, time: np.ndarray
) -> pa.Table:
    n = len(quotes["place"])
    closing = prints["left"] == 0
    cancelled = np.flatnonzero(quotes["fill"] == 0)
    effective = quotes["request"][cancelled] + LATENCY_MS
    next_row = np.searchsorted(time, effective, side="left")
    acknowledged = next_row < len(time)
    ack = np.append(time, 0)[next_row][acknowledged]
    parts = [
        (np.arange(n), quotes["place"], 0, np.zeros(n)),
        (prints["order"], prints["time"], 1, np.zeros(len(closing))),
        (prints["order"][closing], prints["time"][closing], 2, np.zeros(closing.sum())),
        (cancelled, quotes["request"][cancelled], 3, effective),
        (cancelled[acknowledged], ack, 4, effective[acknowledged]),
    ]
    order = np.concatenate([part[0] for part in parts])
    recv = np.concatenate([part[1] for part in parts])
    action = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
    cancel = np.concatenate([part[3] for part in parts]).astype(np.int64)
    left = np.full(len(order), _QTY)
    left[n : n + len(closing)] = np.round(prints["left"] * prints["qty"], 8)
    left[action == 2] = 0.0
    by_time = np.lexsort((action, recv))
    order, recv, action = order[by_time], recv[by_time], action[by_time]
    cancel, left = cancel[by_time], left[by_time]
    request = np.where(cancel > 0, quotes["request"][order], 0)
    nothing = pa.nulls(len(order), pa.string())
    return pa.table(
        {
            "recv_ms": recv,
            "order_id": ids.take(pa.array(order)),
            "action": _words(action, _ACTIONS),
            "status": _words(action, _STATUS),
            "side": _words(quotes["side"][order] < 0, ["BUY", "SELL"]),
            "price": quotes["price"][order],
            "qty": np.full(len(order), _QTY),
            "remaining_qty": left,
            "active_recv_ms": quotes["active"][order],
            "expire_recv_ms": pa.nulls(len(order), pa.int64()),
            "cancel_req_ms": _ms(request),
            "cancel_effective_ms": _ms(cancel),
            "reject_reason": nothing,
            "cancel_reason": nothing,
        }
    )


def _fills(quotes: dict[str, np.ndarray], prints: dict[str, np.ndarray], ids: pa.Array) -> pa.Table:
    by_time = np.argsort(prints["time"], kind="stable")
    order, qty = prints["order"][by_time], np.round(prints["qty"][by_time], 8)
    price = quotes["price"][order]
    return pa.table(
        {
            "recv_ms": prints["time"][by_time],
            "order_id": ids.take(pa.array(order)),
            "side": _words(quotes["side"][order] < 0, ["BUY", "SELL"]),
            "price": price,
            "qty": qty,
            "fee": np.round(price * qty * 0.001, 8),
            "reason": _words(np.zeros(len(order)), ["trade_cross"]),
        }
    )


def _state(
    quotes: dict[str, np.ndarray],
    prints: dict[str, np.ndarray],
    time: np.ndarray,
    mid: np.ndarray,
    carried: _Carried,
) -> pa.Table:
    by_time = np.argsort(prints["time"], kind="stable")
    order = prints["order"][by_time]
    signed = quotes["side"][order] * prints["qty"][by_time]
    # A tick's row is written after the tick's fills.
    until = np.searchsorted(prints["time"][by_time], time, side="right")
    bought = np.concatenate([[0.0], np.cumsum(signed)])
    paid = np.concatenate([[0.0], np.cumsum(signed * quotes["price"][order] + 1e-5)])
    inventory = np.round(carried.inventory + bought[until], 8)
    cash = np.round(carried.cash - paid[until], 6)
    carried.inventory, carried.cash = float(inventory[-1]), float(cash[-1])
    gone = quotes["request"] + LATENCY_MS
    last_print = np.zeros(len(gone), dtype=np.int64)
    np.maximum.at(last_print, prints["order"], prints["time"])
    gone = np.where(last_print > 0, last_print, gone)
    begun = np.searchsorted(quotes["place"], time, side="right")
    ended = np.searchsorted(np.sort(gone), time, side="right")
    return pa.table(
        {
            "recv_ms": time,
            "inventory": inventory,
            "cash": cash,
            "mid": mid,
            "mtm_value": np.round(cash + inventory * mid, 4),
            "open_orders": begun - ended,
        }
    )


def make_log(
    folder: Path, n_days: float, state_ms: int = 100, formats: tuple[str, ...] = ("csv",)
) -> dict[str, int]:
    """Write ``orders_X``, ``fills_X`` and ``state_X`` of n days; returns the rows of each."""
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[tuple[str, str], Any] = {}
    rows = dict.fromkeys(("orders", "fills", "state"), 0)
    for tables in days(n_days, state_ms):
        for kind, table in tables.items():
            rows[kind] += len(table)
            for form in formats:
                if (kind, form) not in writers:
                    writers[kind, form] = _writer(folder / f"{kind}_X.{form}", form, table.schema)
                writers[kind, form].write_table(table)
    for writer in writers.values():
        writer.close()
    return rows


def _writer(path: Path, form: str, schema: pa.Schema) -> Any:
    if form == "parquet":
        many = ("cash", "inventory", "mtm_value", "fee")
        coded = [n for n in schema.names if not n.endswith("_ms") and n not in many]
        return pq.ParquetWriter(
            path, schema, use_dictionary=coded, dictionary_pagesize_limit=1 << 26
        )
    # Arrow quotes the header whatever one says; backtesters don't.
    sink = path.open("wb")
    sink.write(",".join(schema.names).encode() + b"\n")
    options = pa_csv.WriteOptions(quoting_style="none", include_header=False)
    return pa_csv.CSVWriter(pa.PythonFile(sink, mode="w"), schema, write_options=options)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=float, default=10.0)
    parser.add_argument("--state-ms", type=int, default=100)
    parser.add_argument("--format", choices=("csv", "parquet", "both"), default="csv")
    args = parser.parse_args()
    formats = ("csv", "parquet") if args.format == "both" else (args.format,)
    print(make_log(args.folder, args.days, args.state_ms, formats))


if __name__ == "__main__":
    main()
