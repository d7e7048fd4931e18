"""Who was at risk when: the one input of every fit and diagnostic that looks at time.

A trade-driven log is at risk in continuous time: its risk segments are the exposure's segments. A
log drawn row by row is at risk at its state rows only: its risk segments are single draws of dt
each. Either is held as sums by cell; only blocks in which a border of time lies are looked at
segment by segment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from mm.core.arrays import Floats, Ints, Mask, Numbers, Sides, sums_by
from mm.diagnostics.risk_segments import RiskSegments, cut_cells, runs_blocks, spans
from mm.exposure.accounting import Exposure
from mm.exposure.cells import DENSE, Cells, to_parts
from mm.exposure.distance import Selection
from mm.exposure.periods import Periods, over_groups
from mm.exposure.places import Places, Sums
from mm.exposure.trials import fill_rows, trial_sums
from mm.fitting.estimate import Estimate
from mm.fitting.fit import Fit, fit_cells
from mm.fitting.through import fit_both_sides


@dataclass(frozen=True, repr=False)
class Risk:
    """Time at risk by cell, shape (n,), and events, shape (m,), over the selected distances.

    ``block``; ``place``: number of its (distance, side) among ``places``, sorted, shape (p,);
    ``amount_ms``: exposure of the cell, dt for each draw. ``since_ms``: a cell's segments all start
    then or later, and no time of ``cuts`` lies between. ``event_*``: the same of events,
    ``event_ms`` their time. ``places``: distances as selected, levels all 0.
    ``runs``: those with time at risk, shape (r,), from ``begin_ms`` to ``end_ms`` of each.
    ``segments``: what the cells are made of; None for a part of a log. ``periods``: of its blocks.
    ``both_sides``: distances are signed, and quotes that mid has run through have their own rate.
    """

    block: Ints
    place: Numbers
    since_ms: Ints
    amount_ms: Ints
    event_run: Ints
    event_block: Ints
    event_place: Numbers
    event_ms: Ints
    places: Places
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
        sums = trial_sums(exposure, drawn=True) if trials is None else trials
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
        selection = segments.selection
        known = selection.contains(sums.places.delta)
        inside = known[sums.place]
        sums = sums if inside.all() else sums.where(inside)
        event_run, event_block, event_side, event_ms, event_delta = events
        ev = selection.contains(event_delta)
        there = np.flatnonzero(sums.occupied)
        own = _places(selection.measure(sums.places.delta[there]), sums.places.side[there])
        filled = _places(selection.measure(event_delta[ev]), event_side[ev])
        codes, found = np.unique(np.concatenate([own.code, filled.code]), return_inverse=True)
        of = np.zeros(len(known), dtype=np.int32)
        of[there] = found[: len(there)]
        _, block_start = runs_blocks(segments.exposure)
        runs, begin, end = spans(segments, sums.block)
        return cls(
            block=sums.block,
            place=of[sums.place],
            since_ms=(block_start - segments.lag_ms)[sums.block],
            amount_ms=sums.values[:, 0],
            event_run=event_run[ev],
            event_block=event_block[ev],
            event_place=found[len(there) :].astype(np.int32),
            event_ms=event_ms[ev],
            places=Places(codes),
            runs=runs,
            begin_ms=begin,
            end_ms=end,
            dt_ms=segments.dt_ms,
            cuts=np.zeros(0, dtype=np.int64),
            segments=segments,
            periods=segments.exposure.periods,
            both_sides=selection.convention == "both",
        )

    @cached_property
    def groups(self) -> Ints:
        """Groups of runs with time at risk."""
        return np.flatnonzero(np.bincount(self.periods.group[self.block]))

    @cached_property
    def own_side(self) -> Mask:
        """Of each place, whether quotes there are on their own side of mid; true of all where
        sides don't count."""
        return (self.places.delta >= 0) | (not self.both_sides)

    @property
    def delta(self) -> Floats:
        """Of each cell, ticks."""
        return self.places.delta[self.place]

    @property
    def event_delta(self) -> Floats:
        """Of each event, ticks."""
        return self.places.delta[self.event_place]

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
        kept = self._taken(~cut[self.block])
        place = np.searchsorted(self.places.code, _places(cells.delta, cells.side).code)
        return replace(
            kept,
            block=np.concatenate([kept.block, cells.block]),
            place=np.concatenate([kept.place, place.astype(np.int32)]),
            since_ms=np.concatenate([kept.since_ms, since_ms]),
            amount_ms=np.concatenate([kept.amount_ms, cells.exposure_ms]),
            cuts=cuts,
        )

    def where(self, cells: Mask | None, events: Mask) -> Risk:
        """The part of it that two masks choose; None keeps all time at risk."""
        part = replace(
            self,
            event_run=self.event_run[events],
            event_block=self.event_block[events],
            event_place=self.event_place[events],
            event_ms=self.event_ms[events],
        )
        if cells is None:
            return part
        return replace(part._taken(cells), segments=None)

    def _taken(self, cells: Mask) -> Risk:
        at = np.flatnonzero(cells)
        return replace(
            self,
            block=self.block.take(at),
            place=self.place.take(at),
            since_ms=self.since_ms.take(at),
            amount_ms=self.amount_ms.take(at),
        )

    def between(self, start_ms: int, stop_ms: int) -> Risk:
        """Risk segments that start in [start_ms, stop_ms), events in (start_ms, stop_ms]."""
        cut = self.cut_at(np.array([start_ms, stop_ms]))
        cells = (cut.since_ms >= start_ms) & (cut.since_ms < stop_ms)
        return cut.where(cells, (cut.event_ms > start_ms) & (cut.event_ms <= stop_ms))

    def cells(self, at: Mask | None = None) -> Cells:
        """By period, at some places; a likelihood is a sum: it needs no cell to stand once."""
        block, place, ms = self.block, self.place, self.amount_ms
        event_block, filled = self.event_block, self.event_place
        if at is not None:
            some, events = at[place], at[filled]
            block, place, ms = block[some], place[some], ms[some]
            event_block, filled = event_block[events], filled[events]
        n, m = len(block), len(filled)
        of, place = np.concatenate([block, event_block]), np.concatenate([place, filled])
        return Cells(
            block=self.periods.number[of],
            side=self.places.side[place],
            delta=self.places.delta[place],
            exposure_ms=np.concatenate([ms, np.zeros(m, dtype=np.int64)]),
            events=np.repeat(np.array([0, 1]), [n, m]),
            qty=np.zeros(n + m),
            dt_ms=self.dt_ms,
            group=self.periods.group[of],
        )

    def by_period(self) -> tuple[csr_array, csr_array]:
        """Exposure, s, and events of each period at each place."""
        number = self.periods.number
        shape = (1 + int(number.max(initial=-1)), len(self.places.code))
        own, filled = number[self.block], number[self.event_block]
        exposure = csr_array((self.amount_ms / 1000.0, (own, self.place)), shape)
        return exposure, csr_array((np.ones(len(filled)), (filled, self.event_place)), shape)

    def by_group(self, at: Mask | None = None) -> Cells:
        """By group of runs and place, each once, at some places; as ``cells`` where a table of
        all of these would be large."""
        group, n = self.periods.group, len(self.places.code)
        size = n * (1 + int(group.max(initial=-1)))
        if size > DENSE * (len(self.block) + self.n_events) + 10_000:
            return self.cells(at)
        own, filled = (
            (group * n)[block] + place
            for block, place in (
                (self.block, self.place),
                (self.event_block, self.event_place),
            )
        )
        amount_ms = sums_by(own, self.amount_ms, size)
        events = np.bincount(filled, minlength=size)
        found = (amount_ms > 0) | (events > 0)
        there = np.flatnonzero(found if at is None else found.reshape(-1, n) & at)
        of, place = np.divmod(there, n)
        return Cells(
            block=of,
            side=self.places.side[place],
            delta=self.places.delta[place],
            exposure_ms=amount_ms[there].astype(np.int64),
            events=events[there],
            qty=np.zeros(len(there)),
            dt_ms=self.dt_ms,
            group=of,
        )

    def fit(self, at: Mask | None = None) -> Fit:
        """Maximum likelihood by what the log is, at some places. Raises EstimateError where there
        is none."""
        cells = self.by_group(at)
        if not over_groups(cells):
            cells = self.cells(at)
        return fit_both_sides(cells) if self.both_sides else fit_cells(cells)

    def expected(self, fit: Fit) -> Floats:
        """Expected events of each cell, shape (n,): T lambda, or 1 - exp(-lambda dt) a draw."""
        rates = fit.rates(self.places.delta)
        if self.dt_ms is None:
            return self.amount_ms / 1000.0 * rates[self.place]
        draws = self.amount_ms // self.dt_ms
        return np.asarray(-np.expm1(-rates * (self.dt_ms / 1000.0))[self.place] * draws)


def _places(delta: Floats, side: Sides) -> Places:
    return Places.of(side, np.zeros(len(side), dtype=np.int64), to_parts(delta))
