"""The clock of mid: how often the log wrote it, and what A and k would be were it written less.

delta is measured from the last state row, so that k is a number for a clock: the same orders and
fills give a smaller k where mid is written more rarely, while lambda near delta* hardly moves. The
path is thinned to every n-th row and the log accounted for anew; of a long log its first
MOST_ROWS rows, which say as well what a clock does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from mm.core.arrays import sums_by
from mm.core.errors import EstimateError
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.fitting.fit import Fit
from mm.fitting.through import fit_both_sides
from mm.logs.log import Run

#: The path is thinned to every so many rows.
THINNED = (2, 5, 10)
#: State rows that are thinned, at most.
MOST_ROWS = 1_000_000
#: State rows whose gaps are weighed at a time.
_CHUNK = 1_000_000


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


def mid_clock(
    runs: Sequence[Run],
    exposure: Exposure,
    selection: Selection,
    own: Fit,
    *,
    max_state_gap_ms: int,
    block_s: float,
) -> MidClock:
    """The log's own clock, and fits on thinned paths.

    Parameters
    ----------
    runs, exposure, selection, own : the log, its accounting, the distances used, and its fit.
    max_state_gap_ms, block_s : of the accounting; a thinned row may be as many times older.
    """
    share = min(1.0, MOST_ROWS / max(1, sum(len(run.state) for run in runs)))

    def fit(every: int) -> Fit | None:
        # Behind the last row that is taken mid is unknown, and so left out.
        thin = [
            replace(run, state=run.state.iloc[: math.ceil(share * len(run.state)) : every])
            for run in runs
        ]
        with suppress(EstimateError):
            cells = measure_exposure(
                thin,
                tick_size=exposure.tick_size,
                max_state_gap_ms=max_state_gap_ms * every,
                block_s=block_s,
            ).cells(selection.both)
            return fit_both_sides(cells)
        return None

    on_all = own if share == 1.0 else fit(1) or own
    thinned = tuple(Thinned(every, fit(every)) for every in THINNED)
    return MidClock(*_gaps(exposure), on_all, thinned)


def _gaps(exposure: Exposure) -> tuple[float, float]:
    """Median and 95 % point of the gaps behind state rows at which any order rested, ms."""
    parts = []
    for path, on_path in zip(exposure.paths, exposure.on_path, strict=True):
        begun = np.sort(on_path.from_row)
        ended = np.sort(np.maximum(on_path.to_row, on_path.from_row))
        for first in range(0, len(path.row_ms) - 1, _CHUNK):
            gap = np.diff(path.row_ms[first : first + _CHUNK + 1])
            row = np.arange(first, first + len(gap))
            resting = np.searchsorted(begun, row, "right") - np.searchsorted(ended, row, "right")
            gaps, of = np.unique(gap, return_inverse=True)
            parts.append((gaps, sums_by(of, resting, len(gaps))))
    if not parts:
        return float("nan"), float("nan")
    gap, of = np.unique(np.concatenate([gaps for gaps, _ in parts]), return_inverse=True)
    weight = sums_by(of, np.concatenate([sums for _, sums in parts]), len(gap)) * (gap > 0)
    if not weight.sum():
        return float("nan"), float("nan")
    median, high = gap[np.searchsorted(np.cumsum(weight) / weight.sum(), (0.5, 0.95))]
    return float(median), float(high)
