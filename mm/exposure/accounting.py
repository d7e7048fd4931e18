"""Exposure accounting: how long quotes rested at which distance, and where they were filled.

Each order's resting interval is cut wherever the mid moves, so that every millisecond counts at
the distance it was really at. Sums are integer milliseconds; nothing is binned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask
from mm.exposure.by_run import (
    Events,
    LaidOut,
    Measure,
    RunAccount,
    laid_out,
    run_account,
    whole_sums,
)
from mm.exposure.cells import Cells, make_cells
from mm.exposure.distance import Selection, signed_ticks
from mm.exposure.midpath import BEFORE_FIRST, OUTAGE, MidPath
from mm.exposure.periods import MIN_GROUPS, Periods, over_groups
from mm.exposure.places import Sums, no_sums, one_after_another
from mm.exposure.reconcile import FILLED_IN_OUTAGE, IN_OUTAGE, Reconciliation
from mm.exposure.segments import Segments, joined, segments_of
from mm.logs.intervals import END_NAMES, FILL_STATUSES, RestingIntervals
from mm.logs.log import Run

__all__ = ["Cells", "Events", "Exposure", "Segments", "measure_exposure"]


@dataclass(frozen=True)
class Exposure:
    """The accounting of all runs: where every order-ms and every fill went.

    ``accounts``: of each run; of several without what is joined here. ``sums``: order-ms and state
    rows by (block, side, level, signed distance), where mid is known. ``unknown_ms``: order-ms by
    status of the mid path, where it is not.
    """

    runs: tuple[Run, ...]
    measure: Measure
    accounts: tuple[RunAccount, ...]
    events: Events
    sums: Sums
    unknown_ms: Mapping[int, int]
    _cells: dict[Selection, Cells] = field(default_factory=dict, init=False, repr=False)

    @property
    def tick_size(self) -> float:
        """Unit of the distance, quote currency."""
        return self.measure.tick_size

    @property
    def first_blocks(self) -> Ints:
        """Number of each run's first block, shape (runs,)."""
        n = [account.n_blocks for account in self.accounts]
        return np.cumsum([0, *n[:-1]], dtype=np.int64)

    def laid_out(self, number: int) -> LaidOut:
        """The orders of one run on its mid path."""
        return self.runs[number].product(laid_out, self.measure)

    def chosen(self, blocks: Mask | None) -> Iterator[tuple[int, int, LaidOut, Mask | None]]:
        """Runs that have some of the blocks, a mask over those of all runs: number, first block,
        the run laid out, and its own part of the mask. None chooses all."""
        for number, first in enumerate(self.first_blocks.tolist()):
            own = None
            if blocks is not None:
                own = blocks[first : first + self.accounts[number].n_blocks]
                if not own.any():
                    continue
            yield number, first, self.laid_out(number), own

    def chunks(self, blocks: Mask | None = None) -> Iterator[Segments]:
        """All segments, order by order, CHUNK_SEGMENTS at a time; or those in the chosen blocks,
        a mask over the blocks of all runs."""
        for number, first, laid, own in self.chosen(blocks):
            only = None if own is None else own[laid.path.block]
            for s in segments_of(laid.orders, laid.path, laid.on_path, self.tick_size, only):
                yield replace(s, run=s.run + number, block=s.block + first)

    @property
    def intervals(self) -> tuple[RestingIntervals, ...]:
        """When orders rested, by run, all at once."""
        return tuple(self.laid_out(number).orders for number in range(len(self.runs)))

    @property
    def paths(self) -> tuple[MidPath, ...]:
        """The mid paths of all runs at once."""
        return tuple(self.laid_out(number).path for number in range(len(self.runs)))

    @cached_property
    def periods(self) -> Periods:
        """The periods that the blocks of all runs are in."""
        return Periods.of(self.accounts)

    @property
    def segments(self) -> Segments:
        """All segments at once: for short logs."""
        return Segments(**joined(list(self.chunks())))

    @property
    def event_price(self) -> Floats:
        """The order's price of each event, quote currency."""
        return np.concatenate([account.event_price for account in self.accounts])

    @cached_property
    def by_run(self) -> Sums:
        """``sums`` over all blocks of a run, under the number of its first."""
        of_runs = [run.product(whole_sums, self.measure) for run in self.runs]
        return one_after_another(of_runs, self.first_blocks)

    def cells(self, selection: Selection) -> Cells:
        """Sums by (block, side, level, distance) over the segments and events in range. Where
        groups of runs are what counts as independent, on either side of mid, they are over all
        blocks of a run, under the number of its first: no fit would tell these apart."""
        if selection not in self._cells:
            cells = None
            if len(self.runs) >= MIN_GROUPS:
                cells = self._summed(self.by_run, self.first_blocks[self.events.run], selection)
            if cells is None or not over_groups(
                replace(cells, group=self.periods.group[cells.block])
            ):
                cells = self._summed(self.sums, self.events.block, selection)
            self._cells[selection] = cells
        return self._cells[selection]

    def _summed(self, sums: Sums, event_block: Ints, selection: Selection) -> Cells:
        e = self.events
        return make_cells(sums, event_block, e.side, e.level, e.delta, e.qty, selection)

    def mean_state_gap_ms(self, selection: Selection) -> float:
        """Exposure over the number of (order, state row) pairs inside it; NaN without any."""
        sums = self.by_run
        ms, pairs = sums.values[selection.contains(sums.delta)].sum(axis=0).tolist()
        return float(ms) / pairs if pairs else float("nan")

    def reconciliation(self, selection: Selection) -> Reconciliation:
        """Every order-ms and every fill row under one name. Raises ArithmeticError if the sums
        differ from what came in, which would be an error of ours."""
        cell = selection.contains(self.by_run.delta)
        ev = selection.contains(self.events.delta)
        ms = self.by_run.values[:, 0]
        order_ms = {
            "used": int(ms[cell].sum()),
            "outside MIN_DELTA_TICKS..MAX_DELTA_TICKS": int(ms[~cell].sum()),
            "before the first state row": self.unknown_ms[BEFORE_FIRST],
            IN_OUTAGE: self.unknown_ms[OUTAGE],
        }
        rows: dict[str, int] = {"event": int(ev.sum())}
        at = ~np.isnan(self.events.delta)
        event_status = np.concatenate([account.event_status for account in self.accounts])
        rows["first fill outside the range"] = int((at & ~ev).sum())
        rows["first fill before the first state row"] = int((event_status == BEFORE_FIRST).sum())
        rows[FILLED_IN_OUTAGE] = int((event_status == OUTAGE).sum())
        counts = [account.counts for account in self.accounts]
        for of_run in counts:
            for name, count in of_run.fill_rows.items():
                if name != "first fill":
                    rows[name] = rows.get(name, 0) + count
        return Reconciliation.build(order_ms, rows, counts)

    def records(self) -> pd.DataFrame:
        """One row an accepted order: its interval, what ended it and its distance at the start."""
        frames = []
        for number, run in enumerate(self.runs):
            laid = self.laid_out(number)
            order, own, ids = laid.orders, run.order_names, np.asarray(laid.orders.order_id)
            mid = laid.path.mid[laid.on_path.first]
            frames.append(
                pd.DataFrame(
                    {
                        "run": number,
                        "order_id": ids if own is None else own.of(ids),
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
    return exposure_of(runs, Measure(tick_size, max_state_gap_ms, max(1, round(block_s * 1000))))


def exposure_of(runs: Sequence[Run], measure: Measure) -> Exposure:
    """What runs contribute, one after the other; see ``measure_exposure``."""
    accounts = tuple(run.product(run_account, measure) for run in runs)
    first_blocks = np.cumsum([0, *(account.n_blocks for account in accounts[:-1])])
    events, unknown_ms = [], {BEFORE_FIRST: 0, OUTAGE: 0}
    for number, (first, account) in enumerate(zip(first_blocks.tolist(), accounts, strict=True)):
        e = account.events
        events.append(replace(e, run=e.run + number, block=e.block + first) if number else e)
        for status, ms in account.unknown_ms.items():
            unknown_ms[status] += ms
    all_events = Events(**joined(events))
    sums = one_after_another([account.sums for account in accounts], first_blocks)
    if len(accounts) > 1:  # many days need no place in memory twice
        none = Events(**{name: values[:0].copy() for name, values in vars(all_events).items()})
        accounts = tuple(replace(own, events=none, sums=no_sums(2)) for own in accounts)
    return Exposure(tuple(runs), measure, accounts, all_events, sums, unknown_ms)
