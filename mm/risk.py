"""Who was at risk when: the one input of every fit and diagnostic that looks at time.

A trade-driven log is at risk in continuous time: its pieces are the exposure's segments. A log
drawn row by row is at risk at its state rows only: its pieces are single draws of dt each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mm.arrays import Floats, Ints, Mask, Sides
from mm.cells import Cells, make_cells, sum_by_cell, to_parts
from mm.distance import Selection
from mm.exposure import Exposure
from mm.fit import Fit, fit_poisson, fit_trials
from mm.trials import TrialCells, rows_at_risk


@dataclass(frozen=True, repr=False)
class Risk:
    """Pieces of time at risk, shape (n,), and events, shape (m,), over the selected distances.

    ``run``, ``block``, ``side`` (+1 BUY, -1 SELL), ``start_ms``, ``stop_ms``, ``delta`` (ticks, as
    selected), ``amount_ms``: exposure of the piece, which for a single draw is dt.
    ``event_*``: the same of events, ``event_ms`` their time. ``dt_ms``: of the draws, None in
    continuous time.
    """

    run: Ints
    block: Ints
    side: Sides
    start_ms: Ints
    stop_ms: Ints
    delta: Floats
    amount_ms: Ints
    event_run: Ints
    event_block: Ints
    event_side: Sides
    event_ms: Ints
    event_delta: Floats
    dt_ms: int | None = None

    @classmethod
    def continuous(cls, exposure: Exposure, selection: Selection) -> Risk:
        """Segments and first fills in range."""
        s, e = exposure.segments, exposure.events
        seg, ev = selection.contains(s.delta), selection.contains(e.delta)
        return cls(
            run=s.run[seg],
            block=s.block[seg],
            side=s.side[seg],
            start_ms=s.start_ms[seg],
            stop_ms=s.start_ms[seg] + s.duration_ms[seg],
            delta=selection.measure(s.delta[seg]),
            amount_ms=s.duration_ms[seg],
            event_run=e.run[ev],
            event_block=e.block[ev],
            event_side=e.side[ev],
            event_ms=e.time_ms[ev],
            event_delta=selection.measure(e.delta[ev]),
        )

    @classmethod
    def drawn(cls, exposure: Exposure, selection: Selection, dt_ms: int) -> Risk:
        """Draws, one a state row, each at risk in the ms that ends at its row."""
        rows = rows_at_risk(exposure, to_fill_row=True)
        inside = selection.contains(rows.delta)
        hit = inside & rows.event
        n = int(inside.sum())
        return cls(
            run=rows.run[inside],
            block=rows.block[inside],
            side=rows.side[inside],
            start_ms=rows.time_ms[inside] - 1,
            stop_ms=rows.time_ms[inside],
            delta=selection.measure(rows.delta[inside]),
            amount_ms=np.full(n, dt_ms, dtype=np.int64),
            event_run=rows.run[hit],
            event_block=rows.block[hit],
            event_side=rows.side[hit],
            event_ms=rows.time_ms[hit],
            event_delta=selection.measure(rows.delta[hit]),
            dt_ms=dt_ms,
        )

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.event_ms)

    @property
    def exposure_s(self) -> float:
        """Exposure, seconds."""
        return int(self.amount_ms.sum()) / 1000.0

    def where(self, pieces: Mask, events: Mask) -> Risk:
        """The part of it that two masks choose."""
        return replace(
            self,
            run=self.run[pieces],
            block=self.block[pieces],
            side=self.side[pieces],
            start_ms=self.start_ms[pieces],
            stop_ms=self.stop_ms[pieces],
            delta=self.delta[pieces],
            amount_ms=self.amount_ms[pieces],
            event_run=self.event_run[events],
            event_block=self.event_block[events],
            event_side=self.event_side[events],
            event_ms=self.event_ms[events],
            event_delta=self.event_delta[events],
        )

    def cells(self) -> Cells:
        """Sums by (block, side, distance)."""
        at_risk = sum_by_cell(self.block, self.side, to_parts(self.delta), (self.amount_ms,))
        return make_cells(at_risk, self.event_block, self.event_side, self.event_delta, None, None)

    def fit(self) -> Fit:
        """Maximum likelihood by what the log is. Raises EstimateError where there is none."""
        cells = self.cells()
        if self.dt_ms is None:
            return fit_poisson(cells)
        trials = TrialCells(
            block=cells.block,
            side=cells.side,
            delta=cells.delta,
            trials=cells.exposure_ms // self.dt_ms,
            events=cells.events,
        )
        return fit_trials(trials, self.dt_ms / 1000.0)

    def expected(self, fit: Fit) -> Floats:
        """Expected events of each piece, shape (n,): T lambda, or 1 - exp(-lambda dt) a draw."""
        hazard = self.amount_ms / 1000.0 * fit.rates(self.delta)
        return hazard if self.dt_ms is None else np.asarray(-np.expm1(-hazard))
