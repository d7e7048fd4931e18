"""What one run contributes to the accounting, by itself: pooled runs are joined of these.

All of it follows from the run and from how it is measured, so that it can be kept from one night to
the next (``mm.core.kept``). Runs and blocks count from 0 here; joining numbers them on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from mm.core.arrays import Floats, Ints, Sides
from mm.core.concurrency import LONG, give_back, side_by_side
from mm.exposure.cells import CellSums, sum_by_cell, to_parts
from mm.exposure.distance import signed_ticks
from mm.exposure.midpath import BEFORE_FIRST, KNOWN, OUTAGE, MidPath, blinded, mid_path
from mm.exposure.places import Sums, no_sums
from mm.exposure.reconcile import Counts
from mm.exposure.segments import PathRange, segments_of
from mm.logs.clock_check import ClockSums, clock_sums
from mm.logs.intervals import RestingIntervals, resting_intervals
from mm.logs.log import Run
from mm.logs.never_ended import OpenSums, open_sums


@dataclass(frozen=True)
class Measure:
    """How runs are measured: unit of distance, quote currency; age from which on a mid is unknown,
    and length of a time block, ms."""

    tick_size: float
    max_gap_ms: int
    block_ms: int


@dataclass(frozen=True)
class Events:
    """First fills of orders, at the distance they had then; fields as in ``Segments``.

    ``qty``: quantity of the order's rows in its first fill's ms, base currency.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    level: Ints
    time_ms: Ints
    delta: Floats
    qty: Floats


@dataclass(frozen=True)
class LaidOut:
    """When each order rested, the mid path, and where on it the orders begin and end.

    ``resting``: whatever the mid was when they were placed.
    """

    resting: RestingIntervals
    path: MidPath
    on_path: PathRange

    @cached_property
    def orders(self) -> RestingIntervals:
        """The same where orders placed through mid, and filled at once, were takers."""
        return self.resting.with_takers(self.on_path.crossed)


@dataclass(frozen=True)
class RunAccount:
    """Where a run's order-ms and fills went.

    ``sums``, ``unknown_ms``: as in ``Exposure``. ``event_price``, ``event_status``: of each event
    its order's price, and the status of the mid path then. ``placed_at``, ``rested_at``: levels,
    and how many orders were placed there, and of these rested. ``filled_qty``: of filled orders
    the quantity, what of it came in the first fill's ms, and in all, base currency. ``block_ms``:
    where each block starts. ``last_row_ms``: time of the last state row.
    """

    events: Events
    event_price: Floats
    event_status: npt.NDArray[np.int8]
    sums: Sums
    unknown_ms: dict[int, int]
    counts: Counts
    placed_at: tuple[Ints, Ints]
    rested_at: tuple[Ints, Ints]
    filled_qty: tuple[float, float, float]
    block_ms: Ints
    last_row_ms: int
    clocks: ClockSums
    open_orders: OpenSums

    @property
    def n_blocks(self) -> int:
        """Number of time blocks."""
        return len(self.block_ms)


def laid_out(run: Run, measure: Measure) -> LaidOut:
    """The orders of a run on its mid path. Raises InputError for contradicting PLACE rows."""
    row_ms = run.state["recv_ms"].to_numpy(dtype=np.int64)
    row_mid = run.state["mid"].to_numpy(dtype=np.float64)
    orders, path = side_by_side(
        len(run.orders),
        partial(resting_intervals, run.orders, run.fills, run.end_ms, codes=run.codes),
        partial(_path, run, row_ms, row_mid, measure),
    )
    return LaidOut(orders, path, PathRange.of(orders, path, measure.tick_size))


def thinned_out(run: Run, measure: Measure, every: int, rows: int | None) -> LaidOut:
    """The same orders on a path of every so many-th of its first rows (None for all), whose mids
    may be as many times older."""
    whole = run.product(laid_out, measure)
    older = replace(measure, max_gap_ms=measure.max_gap_ms * every)
    some = slice(0, rows, every)
    path = _path(run, whole.path.row_ms[some], whole.path.row_mid[some], older)
    return LaidOut(whole.resting, path, PathRange.of(whole.resting, path, measure.tick_size))


def _path(run: Run, row_ms: Ints, row_mid: Floats, measure: Measure) -> MidPath:
    path = mid_path(
        row_ms,
        row_mid,
        end_ms=run.end_ms,
        max_gap_ms=measure.max_gap_ms,
        block_ms=measure.block_ms,
    )
    return blinded(path, run.blind_ms)


def run_account(run: Run, measure: Measure) -> RunAccount:
    """The accounting of one run."""
    laid = run.product(laid_out, measure)
    if len(run.orders) >= LONG:
        give_back()
    orders, path, on_path = laid.orders, laid.path, laid.on_path
    (sums, unknown_ms), clocks = side_by_side(
        len(run.orders),
        lambda: sums_of(laid, measure.tick_size),
        lambda: clock_sums(run, orders, measure.max_gap_ms),
    )
    events = events_of(laid, measure.tick_size)
    order, fill = orders.events
    rested = orders.end_ms > orders.start_ms
    return RunAccount(
        events=events,
        event_price=orders.price[order],
        event_status=path.status[path.just_before(events.time_ms)],
        sums=sums,
        unknown_ms=unknown_ms,
        counts=Counts.of(orders),
        placed_at=_counted(on_path.level),
        rested_at=_counted(on_path.level[rested]),
        filled_qty=(
            float(orders.qty[fill].sum()),
            float(orders.fill_qty[fill].sum()),
            float(orders.filled_qty[fill].sum()),
        ),
        block_ms=path.block_start_ms,
        last_row_ms=int(path.row_ms[-1]),
        clocks=clocks,
        open_orders=open_sums(run, orders),
    )


def whole_sums(run: Run, measure: Measure) -> Sums:
    """Sums of a run over all its blocks."""
    own = run.product(run_account, measure).sums
    one = np.zeros_like(own.block)
    return sum_by_cell(one, own.side, own.level, own.parts, tuple(own.values.T))


def _counted(level: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    levels, n = np.unique(level, return_counts=True)
    return levels.astype(np.int64), n.astype(np.int64)


def sums_of(laid: LaidOut, tick_size: float) -> tuple[Sums, dict[int, int]]:
    """Order-ms and state rows by cell, and order-ms by status where mid is unknown."""
    cells, unknown = CellSums(), {BEFORE_FIRST: 0, OUTAGE: 0}
    cells.add(no_sums(2))
    for s in segments_of(laid.orders, laid.path, laid.on_path, tick_size):
        known = s.status == KNOWN
        if known.all():
            known = slice(None)
        else:
            for status in unknown:
                unknown[status] += int(s.duration_ms[s.status == status].sum())
        parts = to_parts(s.delta[known])
        cells.add(
            sum_by_cell(
                s.block[known],
                s.side[known],
                s.level[known],
                parts,
                (s.duration_ms[known], s.n_rows[known]),
            )
        )
    return cells.total(), unknown


def events_of(laid: LaidOut, tick_size: float) -> Events:
    """First fills inside their order's interval; the distance is NaN where mid was unknown."""
    orders, path = laid.orders, laid.path
    order, fill = orders.events
    time = orders.first_fill_ms[fill]
    stretch = path.just_before(time)
    side = orders.side[order]
    return Events(
        run=np.zeros(len(order), dtype=np.int64),
        order=order.astype(np.int64),
        side=side,
        block=path.block[stretch].astype(np.int64),
        level=laid.on_path.level[order].astype(np.int64),
        time_ms=time,
        delta=signed_ticks(side, orders.price[order], path.mid[stretch], tick_size),
        qty=orders.fill_qty[fill],
    )
