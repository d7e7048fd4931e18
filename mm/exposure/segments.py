"""Segments: resting intervals cut at every change of the mid path, made in bounded chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mm.core.arrays import Floats, Ints, Mask, Sides, running
from mm.core.concurrency import side_by_side
from mm.exposure.distance import buckets, signed_ticks
from mm.exposure.midpath import MidPath
from mm.logs.intervals import RestingIntervals

#: Segments that are held at a time: this, not the length of the log, bounds the memory.
CHUNK_SEGMENTS = 1 << 17
#: Level of an order that was placed, and rested from its start, while nobody knew mid.
UNKNOWN = -1
#: Levels farther from mid than this many ticks count as this one.
FARTHEST = 100_000


@dataclass(frozen=True)
class Segments:
    """Stretches of time in which one order rested at one distance. Arrays of shape (n,).

    ``run``, ``order``: indices. ``side``: +1 BUY, -1 SELL. ``block``: global number of the time
    block. ``level``: whole ticks from mid at placement. ``start_ms``, ``duration_ms``: int64.
    ``delta``: signed distance in ticks, positive while the quote is on its own side of mid, NaN
    where mid is unknown. ``n_rows``: state rows inside. ``status``: of the mid path there.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    level: Ints
    start_ms: Ints
    duration_ms: Ints
    delta: Floats
    n_rows: npt.NDArray[np.int32]
    status: npt.NDArray[np.int8]


@dataclass(frozen=True)
class PathRange:
    """Where the orders of a run begin and end on its mid path; looked up once. int32, shape (n,).

    ``first``: the stretch in which an order starts, ``behind`` the one behind its end.
    ``from_row``, ``to_row``: the state rows start <= t < end. ``level``: whole ticks between price
    and mid in the ms of the PLACE row, at its start where mid is not known then, else UNKNOWN.
    ``crossed``: whether it was placed through that mid.
    """

    first: npt.NDArray[np.int32]
    behind: npt.NDArray[np.int32]
    from_row: npt.NDArray[np.int32]
    to_row: npt.NDArray[np.int32]
    level: npt.NDArray[np.int32]
    crossed: Mask

    @classmethod
    def of(cls, orders: RestingIntervals, path: MidPath, tick_size: float) -> PathRange:
        """Of these orders on this path, or on one with the same borders."""
        begun, ended = side_by_side(
            len(orders.start_ms),
            lambda: (
                np.searchsorted(path.start_ms, orders.start_ms, side="right") - 1,
                np.searchsorted(path.row_ms, orders.start_ms, side="left"),
            ),
            lambda: (
                np.searchsorted(path.start_ms, orders.end_ms, side="left"),
                np.searchsorted(path.row_ms, orders.end_ms, side="left"),
            ),
        )
        (first, from_row), (behind, to_row) = begun, ended
        # An order that ends where it starts is in no stretch.
        behind = np.where(orders.end_ms > orders.start_ms, behind, first)
        placed = _placed(orders, path, first, tick_size)
        level = np.where(np.isnan(placed), UNKNOWN, buckets(_finite(np.abs(placed))))
        i32 = np.int32
        ends = first.astype(i32), behind.astype(i32), from_row.astype(i32), to_row.astype(i32)
        return cls(*ends, level.astype(i32), placed < 0)


def _placed(orders: RestingIntervals, path: MidPath, first: Ints, tick_size: float) -> Floats:
    """Signed ticks from mid at which each order was placed, NaN where nobody knows. Quotes of a
    ladder round outwards from their distance, so that whole ticks are the ladder's own steps."""
    at = np.searchsorted(path.start_ms, orders.placed_ms, side="right") - 1
    mid = path.mid[at]
    mid = np.where(np.isnan(mid), path.mid[first], mid)
    return signed_ticks(orders.side, orders.price, mid, tick_size)


def _finite(ticks: Floats) -> Floats:
    return np.minimum(np.nan_to_num(ticks), FARTHEST)


def segments_of(
    orders: RestingIntervals,
    path: MidPath,
    on_path: PathRange,
    tick_size: float,
    only: Mask | None = None,
) -> Iterator[Segments]:
    """The segments of one run, order by order, at most CHUNK_SEGMENTS at a time.

    An order with more of them goes on in the next chunk; a run without any is one empty chunk.
    ``only``: the stretches of its path that are asked for.
    """
    first: npt.NDArray[np.integer] = on_path.first
    behind: npt.NDArray[np.integer] = on_path.behind
    if only is not None:
        # The chosen stretches of an order follow each other in the list of all chosen ones.
        before, chosen = running(only).astype(np.int32), np.flatnonzero(only)
        first, behind = before[first], before[behind]
    pieces = behind - first
    stop_ms = path.stop_ms
    # The state row at or behind each border: what lies between two borders is their difference.
    row_at = path.first_row
    for some, n, stretch in in_chunks(first, pieces):

        def of_order(values: npt.NDArray[Any], some: slice = some, n: Ints = n) -> npt.NDArray[Any]:
            return np.repeat(values[some], n)

        if only is not None:
            stretch = chosen[stretch]
        side, price = of_order(orders.side), of_order(orders.price)
        start = np.maximum(of_order(orders.start_ms), path.start_ms[stretch])
        stop = np.minimum(of_order(orders.end_ms), stop_ms[stretch])
        n_rows = np.minimum(of_order(on_path.to_row), row_at[stretch + 1])
        n_rows -= np.maximum(of_order(on_path.from_row), row_at[stretch])
        yield Segments(
            run=np.zeros(len(stretch), dtype=np.int64),
            order=np.repeat(np.arange(some.start, some.start + len(n)), n),
            side=side,
            block=path.block[stretch].astype(np.int64),
            level=of_order(on_path.level).astype(np.int64),
            start_ms=start,
            duration_ms=stop - start,
            delta=signed_ticks(side, price, path.mid[stretch], tick_size),
            n_rows=n_rows,
            status=path.status[stretch],
        )


def in_chunks(
    first: npt.NDArray[np.integer], pieces: npt.NDArray[np.integer]
) -> Iterator[tuple[slice, Ints, Ints]]:
    """Owner i has the items first[i], first[i] + 1, ... first[i] + pieces[i] - 1: CHUNK_SEGMENTS of
    them at a time, as (owners, number of items of each, items). Without any, one empty chunk."""
    ends = np.cumsum(pieces, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    for low in range(0, max(total, 1), CHUNK_SEGMENTS):
        high = min(low + CHUNK_SEGMENTS, total)
        some = slice(
            int(np.searchsorted(ends, low, side="right")),
            int(np.searchsorted(ends, high, side="left")) + 1,
        )
        begin = ends[some] - pieces[some]
        n = np.minimum(ends[some], high) - np.maximum(begin, low)
        yield some, n, np.arange(low, high) + np.repeat(first[some] - begin, n)


def joined(parts: Sequence[Any]) -> dict[str, Any]:
    """Concatenate the arrays of several runs or chunks, field by field."""
    names = [field.name for field in fields(parts[0])]
    if len(parts) == 1:
        return {name: getattr(parts[0], name) for name in names}
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
