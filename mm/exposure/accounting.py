"""Exposure accounting: how long quotes rested at which distance, and where they were filled.

Each order's resting interval is cut wherever the mid moves, so that every millisecond counts at
the distance it was really at. Sums are integer milliseconds; nothing is binned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask, Sides
from mm.core.concurrency import side_by_side
from mm.exposure.cells import Cells, CellSums, Sums, make_cells, sum_by_cell, to_parts
from mm.exposure.distance import Selection, signed_ticks
from mm.exposure.midpath import BEFORE_FIRST, KNOWN, OUTAGE, MidPath, blinded, mid_path
from mm.exposure.periods import Periods
from mm.exposure.reconcile import FILLED_IN_OUTAGE, IN_OUTAGE, Reconciliation
from mm.exposure.segments import PathRange, Segments, joined, segments_of
from mm.logs.intervals import END_NAMES, FILL_STATUSES, RestingIntervals, resting_intervals
from mm.logs.log import Run
from mm.logs.order_ids import OrderNames

__all__ = ["Cells", "Events", "Exposure", "Segments", "lay_out", "measure_exposure"]


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
class Exposure:
    """The accounting of all runs: where every order-ms and every fill went.

    ``sums``: order-ms and state rows by (block, side, level, signed distance), where mid is known.
    ``unknown_ms``: order-ms by status of the mid path, where it is not.
    """

    events: Events
    intervals: tuple[RestingIntervals, ...]
    paths: tuple[MidPath, ...]
    on_path: tuple[PathRange, ...]
    tick_size: float
    sums: Sums
    unknown_ms: Mapping[int, int]
    order_names: tuple[OrderNames | None, ...] = ()
    _cells: dict[Selection, Cells] = field(default_factory=dict, init=False, repr=False)

    def chunks(self, only: Sequence[Mask] | None = None) -> Iterator[Segments]:
        """All segments, order by order, CHUNK_SEGMENTS at a time; or ``only`` those in stretches
        that a mask of each run's path chooses."""
        return segments_of(self.intervals, self.paths, self.on_path, self.tick_size, only)

    @cached_property
    def periods(self) -> Periods:
        """The periods that the blocks of all runs are in."""
        return Periods.of(self.paths)

    @property
    def segments(self) -> Segments:
        """All segments at once: for short logs."""
        return Segments(**joined(list(self.chunks())))

    def cells(self, selection: Selection) -> Cells:
        """Sums by (block, side, distance) over the segments and events in range."""
        if selection not in self._cells:
            e = self.events
            self._cells[selection] = make_cells(
                self.sums, e.block, e.side, e.level, e.delta, e.qty, selection
            )
        return self._cells[selection]

    def mean_state_gap_ms(self, selection: Selection) -> float:
        """Exposure over the number of (order, state row) pairs inside it; NaN without any."""
        ms, pairs = self.sums.values[selection.contains(self.sums.delta)].sum(axis=0).tolist()
        return float(ms) / pairs if pairs else float("nan")

    def reconciliation(self, selection: Selection) -> Reconciliation:
        """Every order-ms and every fill row under one name. Raises ArithmeticError if the sums
        differ from what came in, which would be an error of ours."""
        cell = selection.contains(self.sums.delta)
        ev = selection.contains(self.events.delta)
        ms = self.sums.values[:, 0]
        order_ms = {
            "used": int(ms[cell].sum()),
            "outside MIN_DELTA_TICKS..MAX_DELTA_TICKS": int(ms[~cell].sum()),
            "before the first state row": self.unknown_ms[BEFORE_FIRST],
            IN_OUTAGE: self.unknown_ms[OUTAGE],
        }
        rows: dict[str, int] = {"event": int(ev.sum())}
        at = ~np.isnan(self.events.delta)
        event_status = _event_status(self.events, self.paths)
        rows["first fill outside the range"] = int((at & ~ev).sum())
        rows["first fill before the first state row"] = int((event_status == BEFORE_FIRST).sum())
        rows[FILLED_IN_OUTAGE] = int((event_status == OUTAGE).sum())
        for interval in self.intervals:
            for name, count in interval.fill_rows.items():
                if name != "first fill":
                    rows[name] = rows.get(name, 0) + count
        return Reconciliation.build(order_ms, rows, self.intervals)

    def records(self) -> pd.DataFrame:
        """One row an accepted order: its interval, what ended it and its distance at the start."""
        frames = []
        names = self.order_names or (None,) * len(self.paths)
        for number, (order, path) in enumerate(zip(self.intervals, self.paths, strict=True)):
            own, ids = names[number], order.order_id
            mid = path.mid[self.on_path[number].first]
            frames.append(
                pd.DataFrame(
                    {
                        "run": number,
                        "order_id": ids if own is None else own.of(ids.to_numpy()),
                        "side": np.where(order.side > 0, "BUY", "SELL"),
                        "price": order.price,
                        "mid_at_active": mid,
                        "delta_ticks": signed_ticks(order.side, order.price, mid, self.tick_size),
                        "exposure_s": (order.end_ms - order.start_ms) / 1000.0,
                        "ended_by": np.array(END_NAMES)[order.ended_by],
                        "first_fill": np.array([*FILL_STATUSES, "none"])[order.fill_status],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class LaidOut:
    """What exposure is summed of: when each order rested, and the mid path of each run."""

    events: Events
    intervals: tuple[RestingIntervals, ...]
    paths: tuple[MidPath, ...]
    on_path: tuple[PathRange, ...]
    tick_size: float
    order_names: tuple[OrderNames | None, ...]

    def summed(self) -> Exposure:
        """The accounting, see ``measure_exposure``."""
        chunks = segments_of(self.intervals, self.paths, self.on_path, self.tick_size)
        sums, unknown_ms = _sums(chunks)
        return Exposure(
            self.events,
            self.intervals,
            self.paths,
            self.on_path,
            self.tick_size,
            sums,
            unknown_ms,
            self.order_names,
        )


def measure_exposure(
    runs: Sequence[Run], *, tick_size: float, max_state_gap_ms: int, block_s: float
) -> Exposure:
    """Account for all runs. Each keeps its own clock, its own end and its own blocks.

    Parameters
    ----------
    runs : one or more runs with typed tables (see ``mm.logs.log.Run``).
    tick_size : unit of the distance, quote currency.
    max_state_gap_ms : a mid older than this is unknown.
    block_s : length of a time block, seconds.

    Raises InputError for contradicting PLACE rows.
    """
    laid = lay_out(runs, tick_size=tick_size, max_state_gap_ms=max_state_gap_ms, block_s=block_s)
    return laid.summed()


def lay_out(
    runs: Sequence[Run], *, tick_size: float, max_state_gap_ms: int, block_s: float
) -> LaidOut:
    """The first half of ``measure_exposure``: all but the sums."""
    intervals, paths, on_path, events = [], [], [], []
    first_block = 0
    for number, run in enumerate(runs):
        orders, path = side_by_side(
            len(run.orders),
            partial(resting_intervals, run.orders, run.fills, run.end_ms, codes=run.codes),
            partial(_path, run, max_state_gap_ms, max(1, round(block_s * 1000))),
        )
        on_path.append(PathRange.of(orders, path, tick_size))
        orders = orders.with_takers(on_path[-1].crossed)
        events.append(_events(number, first_block, orders, path, on_path[-1], tick_size))
        intervals.append(orders)
        paths.append(path)
        first_block += path.n_blocks
    names = tuple(run.order_names for run in runs)
    return LaidOut(
        Events(**joined(events)), tuple(intervals), tuple(paths), tuple(on_path), tick_size, names
    )


def _path(run: Run, max_gap_ms: int, block_ms: int) -> MidPath:
    path = mid_path(
        run.state["recv_ms"].to_numpy(dtype=np.int64),
        run.state["mid"].to_numpy(dtype=np.float64),
        end_ms=run.end_ms,
        max_gap_ms=max_gap_ms,
        block_ms=block_ms,
    )
    return blinded(path, run.blind_ms)


def _sums(chunks: Iterable[Segments]) -> tuple[Sums, dict[int, int]]:
    """Order-ms and state rows by cell, and order-ms by status where mid is unknown."""
    cells, unknown = CellSums(), {BEFORE_FIRST: 0, OUTAGE: 0}
    nothing = np.zeros(0, dtype=np.int64)
    cells.add(sum_by_cell(nothing, nothing.astype(np.int8), nothing, nothing, (nothing, nothing)))
    for s in chunks:
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


def _events(
    run: int,
    first_block: int,
    orders: RestingIntervals,
    path: MidPath,
    on_path: PathRange,
    tick_size: float,
) -> Events:
    """First fills inside their order's interval; the distance is NaN where mid was unknown."""
    order, fill = orders.events
    time = orders.first_fill_ms[fill]
    stretch = path.just_before(time)
    side = orders.side[order]
    return Events(
        run=np.full(len(order), run, dtype=np.int64),
        order=order.astype(np.int64),
        side=side,
        block=path.block[stretch].astype(np.int64) + first_block,
        level=on_path.level[order].astype(np.int64),
        time_ms=time,
        delta=signed_ticks(side, orders.price[order], path.mid[stretch], tick_size),
        qty=orders.fill_qty[fill],
    )


def _event_status(events: Events, paths: Iterable[MidPath]) -> npt.NDArray[np.int8]:
    out = np.full(len(events.run), KNOWN, dtype=np.int8)
    for number, path in enumerate(paths):
        mine = events.run == number
        out[mine] = path.status[path.just_before(events.time_ms[mine])]
    return out
