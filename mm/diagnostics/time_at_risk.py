"""Who was at risk when: the one input of every fit and diagnostic that looks at time.

A trade-driven log is at risk in continuous time: its risk segments are the exposure's segments. A
log drawn row by row is at risk at its state rows only: its risk segments are single draws of dt
each. Either is held as sums by cell; only blocks in which a border of time lies are looked at
segment by segment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, Sides
from mm.diagnostics.risk_segments import RiskSegments, cut_cells, runs_blocks, spans
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Cells, Sums, make_cells, sum_by_cell, to_parts
from mm.exposure.distance import Selection
from mm.exposure.periods import Periods
from mm.exposure.trials import fill_rows, trial_sums
from mm.fitting.estimate import Estimate
from mm.fitting.fit import Fit, fit_cells
from mm.fitting.through import fit_both_sides

#: From so many cells on, those that differ in level alone are put together: nothing here asks it.
_WORTH_MERGING = 100_000


@dataclass(frozen=True, repr=False)
class Risk:
    """Time at risk by cell, shape (n,), and events, shape (m,), over the selected distances.

    ``run``, ``block``, ``side`` (+1 BUY, -1 SELL), ``delta`` (ticks, as selected), ``amount_ms``:
    exposure of the cell, dt for each draw. ``since_ms``: a cell's segments all start then or
    later, and no time of ``cuts`` lies between. ``event_*``: the same of events, ``event_ms``
    their time.
    ``runs``: those with time at risk, shape (r,), from ``begin_ms`` to ``end_ms`` of each.
    ``segments``: what the cells are made of; None for a part of a log. ``periods``: of its blocks.
    ``both_sides``: distances are signed, and quotes that mid has run through have their own rate.
    """

    run: Ints
    block: Ints
    side: Sides
    since_ms: Ints
    delta: Floats
    amount_ms: Ints
    event_run: Ints
    event_block: Ints
    event_side: Sides
    event_ms: Ints
    event_delta: Floats
    runs: Ints
    begin_ms: Ints
    end_ms: Ints
    dt_ms: int | None
    cuts: Ints
    segments: RiskSegments | None
    periods: Periods
    both_sides: bool

    @classmethod
    def continuous(cls, exposure: Exposure, selection: Selection) -> Risk:
        """Segments and first fills in range."""
        e = exposure.events
        events = (e.run, e.block, e.side, e.time_ms, e.delta)
        return cls._made(RiskSegments(exposure, selection, None), exposure.sums, events)

    @classmethod
    def drawn(
        cls, exposure: Exposure, selection: Selection, dt_ms: int, trials: Sums | None = None
    ) -> Risk:
        """Draws, one a state row, each at risk in the ms that ends at its row. ``trials``: their
        sums up to the fills' rows, if they are known already."""
        e = fill_rows(exposure)
        events = (e.run, e.block, e.side, e.time_ms, e.delta)
        sums = trial_sums(exposure, to_fill_row=True) if trials is None else trials
        sums = replace(sums, values=sums.values[:, :1] * dt_ms)
        return cls._made(RiskSegments(exposure, selection, dt_ms), sums, events)

    @classmethod
    def of_estimate(cls, exposure: Exposure, estimate: Estimate) -> Risk:
        """What the estimate's shown fit saw."""
        if estimate.drawn and estimate.dt_given:
            return cls.drawn(exposure, estimate.selection, estimate.dt_ms, estimate.trials)
        return cls.continuous(exposure, estimate.selection.both)

    @classmethod
    def _made(
        cls, segments: RiskSegments, sums: Sums, events: tuple[Ints, Ints, Sides, Ints, Floats]
    ) -> Risk:
        if len(sums.block) > _WORTH_MERGING:
            none = np.zeros(len(sums.block), dtype=np.int64)
            sums = sum_by_cell(sums.block, sums.side, none, sums.parts, (sums.values[:, 0],))
        inside = segments.selection.contains(sums.delta)
        block, side = sums.block[inside], sums.side[inside]
        run, block_start = runs_blocks(segments.exposure)
        event_run, event_block, event_side, event_ms, event_delta = events
        ev = segments.selection.contains(event_delta)
        runs, begin, end = spans(segments, block)
        return cls(
            run=run[block],
            block=block,
            side=side,
            since_ms=block_start[block] - segments.lag_ms,
            delta=segments.selection.measure(sums.delta[inside]),
            amount_ms=sums.values[inside, 0],
            event_run=event_run[ev],
            event_block=event_block[ev],
            event_side=event_side[ev],
            event_ms=event_ms[ev],
            event_delta=segments.selection.measure(event_delta[ev]),
            runs=runs,
            begin_ms=begin,
            end_ms=end,
            dt_ms=segments.dt_ms,
            cuts=np.zeros(0, dtype=np.int64),
            segments=segments,
            periods=segments.exposure.periods,
            both_sides=segments.selection.convention == "both",
        )

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.event_ms)

    @property
    def exposure_s(self) -> float:
        """Exposure, seconds."""
        return int(self.amount_ms.sum()) / 1000.0

    @property
    def covered(self) -> tuple[Ints, Ints]:
        """When each run ends, in the order of their starts, and how much time of its own it has by
        then that no earlier run covers, ms; shape (r,) each."""
        order = np.argsort(self.begin_ms, kind="stable")
        end = np.maximum.accumulate(self.end_ms[order])
        begin = np.maximum(self.begin_ms[order], np.append(self.begin_ms.min(), end[:-1]))
        return end, np.maximum(end - begin, 0)

    @property
    def covered_ms(self) -> int:
        """Time that runs cover; what several cover counts once."""
        return int(self.covered[1].sum())

    def cut_at(self, times_ms: Ints) -> Risk:
        """The same with none of these times inside a cell. Raises ValueError for a part of a log,
        unless they are borders already."""
        if np.isin(times_ms, self.cuts).all():
            return self
        if self.segments is None:
            raise ValueError("only the whole log can be cut at new times")
        cuts = np.union1d(self.cuts, times_ms)
        cut, cells, since_ms = cut_cells(self.segments, cuts)
        run, _ = runs_blocks(self.segments.exposure)
        kept = ~cut[self.block]
        return replace(
            self,
            run=np.concatenate([self.run[kept], run[cells.block]]),
            block=np.concatenate([self.block[kept], cells.block]),
            side=np.concatenate([self.side[kept], cells.side]),
            since_ms=np.concatenate([self.since_ms[kept], since_ms]),
            delta=np.concatenate([self.delta[kept], cells.delta]),
            amount_ms=np.concatenate([self.amount_ms[kept], cells.exposure_ms]),
            cuts=cuts,
        )

    def where(self, cells: Mask | None, events: Mask) -> Risk:
        """The part of it that two masks choose; None keeps all time at risk."""
        part = replace(
            self,
            event_run=self.event_run[events],
            event_block=self.event_block[events],
            event_side=self.event_side[events],
            event_ms=self.event_ms[events],
            event_delta=self.event_delta[events],
        )
        if cells is None:
            return part
        return replace(
            part,
            run=self.run[cells],
            block=self.block[cells],
            side=self.side[cells],
            since_ms=self.since_ms[cells],
            delta=self.delta[cells],
            amount_ms=self.amount_ms[cells],
            segments=None,
        )

    def on_own_side(self) -> Risk:
        """The part at which mid had not run through quotes; all of it where sides don't count."""
        if not self.both_sides:
            return self
        part = self.where(self.delta >= 0, self.event_delta >= 0)
        return replace(part, both_sides=False)

    def between(self, start_ms: int, stop_ms: int) -> Risk:
        """Risk segments that start in [start_ms, stop_ms), events in (start_ms, stop_ms]."""
        cut = self.cut_at(np.array([start_ms, stop_ms]))
        cells = (cut.since_ms >= start_ms) & (cut.since_ms < stop_ms)
        return cut.where(cells, (cut.event_ms > start_ms) & (cut.event_ms <= stop_ms))

    def cells(self) -> Cells:
        """Sums by (period, side, distance)."""
        period = self.periods.number
        parts = to_parts(self.delta)
        none = np.zeros(len(parts), dtype=np.int64)
        at_risk = Sums(period[self.block], self.side, none, parts, self.amount_ms[:, None])
        none = np.zeros(self.n_events, dtype=np.int64)
        events = (period[self.event_block], self.event_side, none, self.event_delta)
        return make_cells(at_risk, *events, None, None)

    def fit(self) -> Fit:
        """Maximum likelihood by what the log is. Raises EstimateError where there is none."""
        n, m = len(self.block), self.n_events
        # A likelihood is a sum: it needs no cell to stand once.
        of = np.concatenate([self.block, self.event_block])
        block, group = self.periods.number[of], self.periods.group[of]
        side = np.concatenate([self.side, self.event_side])
        delta = np.concatenate([self.delta, self.event_delta])
        amount_ms = np.concatenate([self.amount_ms, np.zeros(m, dtype=np.int64)])
        events = np.repeat(np.array([0, 1]), [n, m])
        none = np.zeros(n + m)
        cells = Cells(block, side, delta, amount_ms, events, none, self.dt_ms, group=group)
        return fit_both_sides(cells) if self.both_sides else fit_cells(cells)

    def expected(self, fit: Fit) -> Floats:
        """Expected events of each cell, shape (n,): T lambda, or 1 - exp(-lambda dt) a draw."""
        if self.dt_ms is None:
            return self.amount_ms / 1000.0 * fit.rates(self.delta)
        draws = self.amount_ms // self.dt_ms
        return np.asarray(-np.expm1(-fit.rates(self.delta) * (self.dt_ms / 1000.0)) * draws)
