"""The clock of mid: how often the log wrote it, and what A and k would be were it written less.

delta is measured from the last state row, so that k is a number for a clock: the same orders and
fills give a smaller k where mid is written more rarely, while lambda near delta* hardly moves. The
path is thinned to every n-th row and the log accounted for anew; of a long log its first
MOST_ROWS rows, of several runs as many of each, which say as well what a clock does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Ints, distinct_of, slices, sums_by
from mm.core.display import Table
from mm.core.errors import EstimateError
from mm.core.formatting import figures
from mm.exposure.accounting import Exposure
from mm.exposure.by_run import Measure, events_of, laid_out, sums_of, thinned_out
from mm.exposure.cells import Cells, make_cells, pooled
from mm.exposure.distance import Selection
from mm.fitting.fit import Fit
from mm.fitting.through import fit_both_sides
from mm.logs.log import Run

#: The path is thinned to every so many rows.
THINNED = (2, 5, 10)
#: State rows that are thinned, at most.
MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Thinned:
    """The intensity on a path thinned to every ``every``-th state row, None where it has no fit."""

    every: int
    fit: Fit | None


@dataclass(frozen=True)
class MidClock:
    """``median_ms``, ``gap95_ms``: of the time between state rows, weighted by the orders that
    rested there; NaN without exposure. ``own``: the fit on all rows, ``thinned``: on fewer; of a
    long log all are of its first rows."""

    median_ms: float
    gap95_ms: float
    own: Fit
    thinned: tuple[Thinned, ...]

    def change(self, delta: float) -> tuple[float, float]:
        """k, and lambda at a distance, on half of the rows over those on all; NaN without a fit."""
        half = next((t.fit for t in self.thinned if t.every == 2), None)
        if half is None:
            return float("nan"), float("nan")
        level = half.intensity(delta) / self.own.intensity(delta)
        return half.k / self.own.k if self.own.k else float("nan"), level

    def table(self, quoted: Sequence[float]) -> Table | None:
        """A, k and fills per hour at the nearest, a middle and the farthest of these distances in
        ticks, by clock; None where no order rested."""
        if math.isnan(self.median_ms) or not quoted:
            return None
        at = sorted({quoted[0], quoted[len(quoted) // 2], quoted[-1]})
        rows = []
        for every, fit in [(1, self.own), *((t.every, t.fit) for t in self.thinned)]:
            name = f"{every * self.median_ms:,.0f} ms" + (" (this log)" if every == 1 else "")
            numbers = ["–"] * (2 + len(at))
            if fit is not None:
                hourly = (3600.0 * fit.intensity(delta) for delta in at)
                numbers = [figures(x) for x in (fit.A, fit.k, *hourly)]
            rows.append((name, *numbers))
        head = ("mid every", "A (1/s)", "k (1/tick)", *(f"per hour at {delta:g}" for delta in at))
        note = (
            "The shown fit, had mid been written in every 2nd, 5th or 10th state row only. Per "
            "hour: fills of a quote so many ticks from mid."
        )
        return Table(head, rows, note=note)


def mid_clock(exposure: Exposure, selection: Selection, own: Fit) -> MidClock:
    """The log's own clock, and fits on thinned paths.

    Parameters
    ----------
    exposure, selection, own : the accounting of the log, the distances used, and its fit. A
        thinned row may be as many times older than a mid of the accounting.
    """
    of_runs = [run.facts.rows["state"] for run in exposure.runs]
    # As many of every run, whatever the others hold, and halved where runs double: so they stay
    # the same as a window grows and rolls on.
    rows = None if sum(of_runs) <= MOST_ROWS else MOST_ROWS >> (len(of_runs) - 1).bit_length()

    def fit(every: int) -> Fit | None:
        args = (exposure.measure, selection, every, rows)
        with suppress(EstimateError):
            return fit_both_sides(pooled([run.product(_cells, *args) for run in exposure.runs]))
        return None

    on_all = own if rows is None else fit(1) or own
    thinned = tuple(Thinned(every, fit(every)) for every in THINNED)
    return MidClock(*_gaps(exposure), on_all, thinned)


def _cells(run: Run, measure: Measure, selection: Selection, every: int, rows: int | None) -> Cells:
    """Exposure and events by distance on every so many-th of a run's first rows. Behind the last
    one mid is unknown."""
    laid = thinned_out(run, measure, every, rows)
    sums, _ = sums_of(laid, measure.tick_size)
    e = events_of(laid, measure.tick_size)
    cells = make_cells(sums, e.block, e.side, e.level, e.delta, e.qty, selection.both)
    return cells.by_distance()


def _gaps(exposure: Exposure) -> tuple[float, float]:
    """Median and 95 % point of the gaps behind state rows at which any order rested, ms."""
    by_run = [run.product(_weighted_gaps, exposure.measure) for run in exposure.runs]
    gap, weight = (np.concatenate(column) for column in zip(*by_run, strict=True))
    if not weight.sum():
        return float("nan"), float("nan")
    order = np.argsort(gap, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    median, high = gap[order][np.searchsorted(share, (0.5, 0.95))]
    return float(median), float(high)


def _weighted_gaps(run: Run, measure: Measure) -> tuple[Ints, Ints]:
    """Each gap behind a run's state rows, ms, and how many orders rested there in all."""
    laid = run.product(laid_out, measure)
    row_ms, on_path = laid.path.row_ms, laid.on_path
    n_open = np.zeros(len(row_ms) + 1, dtype=np.int32)
    np.add.at(n_open, on_path.from_row, 1)
    np.add.at(n_open, np.maximum(on_path.to_row, on_path.from_row), -1)
    np.cumsum(n_open, out=n_open)
    gaps, weights = [], []
    for some in slices(len(row_ms) - 1):
        gap, of = distinct_of(np.diff(row_ms[some.start : some.stop + 1]))
        gaps.append(gap)
        weights.append(sums_by(of, n_open[some], len(gap)))
    nothing = np.zeros(0, dtype=np.int64)
    gap, of = distinct_of(np.concatenate([nothing, *gaps]))
    weight = sums_by(of, np.concatenate([nothing, *weights]), len(gap)).astype(np.int64)
    return gap[gap > 0], weight[gap > 0]
