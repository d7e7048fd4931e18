"""hftbacktest's feed (.npz): prints and best quotes of one array of events.

Flags as in its ``types``: the low byte of ``ev`` is what happened, bits above say on which side,
and whether the exchange's clock orders the row."""

from __future__ import annotations

import heapq
import zipfile
from pathlib import Path

import numpy as np

from mm.core.arrays import Floats, Ints, Sides
from mm.core.errors import InputError, one_line
from mm.tape.files import Columns, in_ms

_DEPTH, _TRADE, _CLEAR, _SNAPSHOT, _BEST = 1, 2, 3, 4, 5
_SELL, _BUY, _EXCHANGE = 1 << 28, 1 << 29, 1 << 31


def read_feed(path: Path) -> tuple[Columns, Columns]:
    """Prints and best quotes by the exchange's clock.

    Raises InputError for a file that holds no such events."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            events = archive["data" if "data" in archive else archive.files[0]]
        if not {"ev", "exch_ts", "px", "qty"} <= set(events.dtype.names or ()):
            raise ValueError(f"found {events.dtype.names or events.dtype}")
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(
            f"no events of hftbacktest's feed ({one_line(error)[:150]})",
            where=path.name,
            remedy="expected an array data with ev, exch_ts, px and qty",
        ) from None
    flags = events["ev"].astype(np.int64)
    if (flags & _EXCHANGE).any():
        events, flags = events[flags & _EXCHANGE > 0], flags[flags & _EXCHANGE > 0]
    what = flags & 0xFF
    side = np.where(flags & _BUY > 0, 1, -(flags & _SELL > 0).astype(np.int8)).astype(np.int8)
    traded, best = what == _TRADE, what == _BEST
    told = best if best.any() else np.isin(what, (_DEPTH, _CLEAR, _SNAPSHOT))
    for rows, name in ((traded, "trades"), (told, "depth")):
        if not rows.any():
            raise InputError(f"holds no {name}", where=path.name, remedy="record both")
    time, unit = in_ms(events["exch_ts"], path.name, "exch_ts")
    price, qty = (np.ascontiguousarray(events[name], dtype=np.float64) for name in ("px", "qty"))
    numbers = {"price": price[traded]}
    if best.any():
        at, bid, ask = _best_quotes(time[told], side[told], price[told])
    else:
        at, bid, ask = _book(time[told], what[told], side[told], price[told], qty[told])
    # Within a ms one side is told before the other: the last row of it holds.
    last = np.append(at[1:] != at[:-1], True) if len(at) else np.zeros(0, dtype=np.bool_)
    return (
        Columns(time[traded], numbers, side[traded], unit=unit),
        Columns(at[last], {"bid": bid[last], "ask": ask[last]}, unit=unit),
    )


def _best_quotes(time: Ints, side: Sides, price: Floats) -> tuple[Ints, Floats, Floats]:
    """Best bid and ask of updates that tell one side each."""
    rows = [
        np.maximum.accumulate(np.where(side == sign, np.arange(len(time)), -1)) for sign in (1, -1)
    ]
    known = (rows[0] >= 0) & (rows[1] >= 0)
    return time[known], price[rows[0][known]], price[rows[1][known]]


def _book(
    time: Ints, what: Ints, side: Sides, price: Floats, qty: Floats
) -> tuple[Ints, Floats, Floats]:
    """Best bid and ask of a book that its updates build, row by row: the quantity at a price, 0
    for none; a clear takes a side (or both) away up to its price. A row where they change, and
    every 100 ms while updates come."""
    sizes: dict[int, dict[float, float]] = {1: {}, -1: {}}
    heaps: dict[int, list[float]] = {1: [], -1: []}
    found: list[tuple[int, float, float]] = []
    columns = (time.tolist(), what.tolist(), side.tolist(), price.tolist(), qty.tolist())
    for at, kind, sign, px, size in zip(*columns, strict=True):
        for on in (sign,) if sign else (1, -1):
            held, heap = sizes[on], heaps[on]
            if kind == _CLEAR:
                for gone in [p for p in held if not px > 0 or on * p >= on * px]:
                    del held[gone]
            elif size > 0:
                if px not in held:
                    heapq.heappush(heap, -on * px)
                held[px] = size
            else:
                held.pop(px, None)
            while heap and -on * heap[0] not in held:
                heapq.heappop(heap)
        if heaps[1] and heaps[-1]:
            best = (at, -heaps[1][0], heaps[-1][0])
            if not found or found[-1][1:] != best[1:] or at - found[-1][0] >= 100:
                found.append(best)
    quotes = np.array([row[1:] for row in found], dtype=np.float64).reshape(-1, 2)
    return np.array([row[0] for row in found], dtype=np.int64), quotes[:, 0], quotes[:, 1]
