"""Exposure accounting: how long quotes rested at which distance, and where they were filled.

Each order's resting interval is cut wherever the mid moves, so that every millisecond counts at
the distance it was really at. Sums are integer milliseconds; nothing is binned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.arrays import Floats, Ints, Sides
from mm.distance import Selection, signed_ticks
from mm.intervals import END_NAMES, EVENT, FATES, RestingIntervals, resting_intervals
from mm.midpath import BEFORE_FIRST, KNOWN, OUTAGE, MidPath, blinded, mid_path
from mm.reconcile import Reconciliation
from mm.run import Run


@dataclass(frozen=True)
class Segments:
    """Stretches of time in which one order rested at one distance. Arrays of shape (n,).

    ``run``, ``order``: indices. ``side``: +1 BUY, -1 SELL. ``block``: global number of the time
    block. ``start_ms``, ``duration_ms``: int64. ``delta``: signed distance in ticks, positive
    while the quote is on its own side of mid. ``n_rows``: state rows inside.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    start_ms: Ints
    duration_ms: Ints
    delta: Floats
    n_rows: Ints


@dataclass(frozen=True)
class Events:
    """First fills of orders, at the distance they had then; fields as in :class:`Segments`.

    ``qty``: quantity of the order's rows in its first fill's ms, base currency.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    time_ms: Ints
    delta: Floats
    qty: Floats


@dataclass(frozen=True)
class Cells:
    """Exposure and events by (block, side, distance): sufficient for every continuous-time fit.

    Arrays of shape (n,): ``block``, ``side``, ``delta`` (ticks), ``exposure_ms`` (int64),
    ``events`` (int64), ``qty`` (base currency).
    """

    block: Ints
    side: Sides
    delta: Floats
    exposure_ms: Ints
    events: Ints
    qty: Floats

    @property
    def exposure_s(self) -> Floats:
        """Exposure in seconds."""
        return self.exposure_ms / 1000.0

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.events.sum())


@dataclass(frozen=True)
class Exposure:
    """The accounting of all runs: segments, events and where everything else went."""

    segments: Segments
    events: Events
    intervals: tuple[RestingIntervals, ...]
    paths: tuple[MidPath, ...]
    tick_size: float

    def cells(self, selection: Selection) -> Cells:
        """Sums by (block, side, distance) over the segments and events in range."""
        seg = selection.contains(self.segments.delta)
        ev = selection.contains(self.events.delta)
        s, e = self.segments, self.events
        zero = np.zeros
        frame = pd.DataFrame(
            {
                "block": np.concatenate([s.block[seg], e.block[ev]]),
                "side": np.concatenate([s.side[seg], e.side[ev]]),
                "delta": selection.measure(np.concatenate([s.delta[seg], e.delta[ev]])),
                "ms": np.concatenate([s.duration_ms[seg], zero(ev.sum(), dtype=np.int64)]),
                "n": np.concatenate([zero(seg.sum(), dtype=np.int64), np.ones(ev.sum(), np.int64)]),
                "qty": np.concatenate([zero(seg.sum()), e.qty[ev]]),
            }
        )
        sums = frame.groupby(["block", "side", "delta"], sort=True, as_index=False).sum()
        return Cells(
            block=sums["block"].to_numpy(dtype=np.int64),
            side=sums["side"].to_numpy(dtype=np.int8),
            delta=sums["delta"].to_numpy(dtype=np.float64),
            exposure_ms=sums["ms"].to_numpy(dtype=np.int64),
            events=sums["n"].to_numpy(dtype=np.int64),
            qty=sums["qty"].to_numpy(dtype=np.float64),
        )

    def mean_state_gap_ms(self, selection: Selection) -> float:
        """Exposure over the number of (order, state row) pairs inside it; NaN without any."""
        seg = selection.contains(self.segments.delta)
        pairs = int(self.segments.n_rows[seg].sum())
        return float(self.segments.duration_ms[seg].sum()) / pairs if pairs else float("nan")

    def reconciliation(self, selection: Selection) -> Reconciliation:
        """Every order-ms and every fill row under one name. Raises ArithmeticError if the sums
        differ from what came in, which would be an error of ours."""
        seg = selection.contains(self.segments.delta)
        ev = selection.contains(self.events.delta)
        ms = self.segments.duration_ms
        known = ~np.isnan(self.segments.delta)
        status = _status_of(self.segments, self.paths)
        order_ms = {
            "used": int(ms[seg].sum()),
            "outside MIN_DELTA_TICKS..MAX_DELTA_TICKS": int(ms[known & ~seg].sum()),
            "before the first state row": int(ms[status == BEFORE_FIRST].sum()),
            "outage (mid older than MAX_STATE_GAP_MS)": int(ms[status == OUTAGE].sum()),
        }
        rows: dict[str, int] = {"event": int(ev.sum())}
        at = ~np.isnan(self.events.delta)
        event_status = _event_status(self.events, self.paths)
        rows["first fill outside the range"] = int((at & ~ev).sum())
        rows["first fill before the first state row"] = int((event_status == BEFORE_FIRST).sum())
        rows["first fill in an outage"] = int((event_status == OUTAGE).sum())
        for interval in self.intervals:
            for name, count in interval.fill_rows.items():
                if name != "first fill":
                    rows[name] = rows.get(name, 0) + count
        return Reconciliation.build(order_ms, rows, self.intervals)

    def records(self) -> pd.DataFrame:
        """One row an accepted order: its interval, what ended it and its distance at the start."""
        frames = []
        for number, (order, path) in enumerate(zip(self.intervals, self.paths, strict=True)):
            stretch = np.searchsorted(path.start_ms, order.start_ms, side="right") - 1
            mid = path.mid[stretch]
            frames.append(
                pd.DataFrame(
                    {
                        "run": number,
                        "order_id": order.order_id,
                        "side": np.where(order.side > 0, "BUY", "SELL"),
                        "price": order.price,
                        "mid_at_active": mid,
                        "delta_ticks": signed_ticks(order.side, order.price, mid, self.tick_size),
                        "exposure_s": (order.end_ms - order.start_ms) / 1000.0,
                        "ended_by": np.array(END_NAMES)[order.ended_by],
                        "first_fill": np.array([*FATES, "none"])[order.fate],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)


def measure_exposure(
    runs: Sequence[Run], *, tick_size: float, max_state_gap_ms: int, block_s: float
) -> Exposure:
    """Account for all runs. Each keeps its own clock, its own end and its own blocks.

    Parameters
    ----------
    runs : one or more runs with typed tables (see ``mm.run.Run``).
    tick_size : unit of the distance, quote currency.
    max_state_gap_ms : a mid older than this is unknown.
    block_s : length of a time block, seconds.

    Raises InputError for contradicting PLACE rows.
    """
    intervals, paths, segments, events = [], [], [], []
    first_block = 0
    for number, run in enumerate(runs):
        path = mid_path(
            run.state["recv_ms"].to_numpy(dtype=np.int64),
            run.state["mid"].to_numpy(dtype=np.float64),
            end_ms=run.end_ms,
            max_gap_ms=max_state_gap_ms,
            block_ms=max(1, round(block_s * 1000)),
        )
        path = blinded(path, run.blind_ms)
        orders = resting_intervals(run.orders, run.fills, run.end_ms)
        segments.append(_segments(number, first_block, orders, path, tick_size))
        events.append(_events(number, first_block, orders, path, tick_size))
        intervals.append(orders)
        paths.append(path)
        first_block += int(path.block[-1]) + 1
    return Exposure(
        Segments(**joined(segments)),
        Events(**joined(events)),
        tuple(intervals),
        tuple(paths),
        tick_size,
    )


def _segments(
    run: int, first_block: int, orders: RestingIntervals, path: MidPath, tick_size: float
) -> Segments:
    """Cut the resting intervals at every change of the mid path."""
    first = np.searchsorted(path.start_ms, orders.start_ms, side="right") - 1
    behind = np.searchsorted(path.start_ms, orders.end_ms, side="left")
    pieces = np.where(orders.end_ms > orders.start_ms, behind - first, 0)
    order = np.repeat(np.arange(len(pieces)), pieces)
    nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    stretch = first[order] + nth
    start = np.maximum(orders.start_ms[order], path.start_ms[stretch])
    stop = np.minimum(orders.end_ms[order], path.stop_ms[stretch])
    side, price = orders.side[order], orders.price[order]
    return Segments(
        run=np.full(len(order), run, dtype=np.int64),
        order=order,
        side=side,
        block=path.block[stretch] + first_block,
        start_ms=start,
        duration_ms=stop - start,
        delta=signed_ticks(side, price, path.mid[stretch], tick_size),
        n_rows=path.rows_between(start, stop),
    )


def _events(
    run: int, first_block: int, orders: RestingIntervals, path: MidPath, tick_size: float
) -> Events:
    """First fills inside their order's interval; the distance is NaN where mid was unknown."""
    order = np.flatnonzero(orders.fate == EVENT)
    time = orders.first_fill_ms[order]
    stretch = path.just_before(time)
    side = orders.side[order]
    return Events(
        run=np.full(len(order), run, dtype=np.int64),
        order=order.astype(np.int64),
        side=side,
        block=path.block[stretch] + first_block,
        time_ms=time,
        delta=signed_ticks(side, orders.price[order], path.mid[stretch], tick_size),
        qty=orders.fill_qty[order],
    )


def _status_of(segments: Segments, paths: Iterable[MidPath]) -> npt.NDArray[np.int8]:
    out = np.full(len(segments.run), KNOWN, dtype=np.int8)
    for number, path in enumerate(paths):
        mine = segments.run == number
        at = np.searchsorted(path.start_ms, segments.start_ms[mine], side="right") - 1
        out[mine] = path.status[at]
    return out


def _event_status(events: Events, paths: Iterable[MidPath]) -> npt.NDArray[np.int8]:
    out = np.full(len(events.run), KNOWN, dtype=np.int8)
    for number, path in enumerate(paths):
        mine = events.run == number
        out[mine] = path.status[path.just_before(events.time_ms[mine])]
    return out


def joined(parts: Sequence[Any]) -> dict[str, Any]:
    """Concatenate the arrays of several runs, field by field."""
    names = [field.name for field in fields(parts[0])]
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
