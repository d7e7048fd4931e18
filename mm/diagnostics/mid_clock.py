"""The clock of mid: how often the log wrote it, and what A and k would be were it written less.

delta is measured from the last state row, so that k is a number for a clock: the same orders and
fills give a smaller k where mid is written more rarely, while lambda near delta* hardly moves. The
path is thinned to every n-th row and the log accounted for anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm.core.errors import EstimateError
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.fitting.fit import Fit
from mm.fitting.through import fit_both_sides
from mm.logs.log import Run

#: The path is thinned to every so many rows.
THINNED = (2, 5, 10)


@dataclass(frozen=True)
class Thinned:
    """The intensity on a path thinned to every ``every``-th state row, None where it has no fit."""

    every: int
    fit: Fit | None


@dataclass(frozen=True)
class MidClock:
    """``median_ms``, ``gap95_ms``: of the time between state rows, weighted by the orders that
    rested there; NaN without exposure. ``own``: the fit on all rows, ``thinned``: on fewer."""

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
    median, high = _gaps(exposure)
    found = []
    for every in THINNED:
        thin = [replace(run, state=run.state.iloc[::every]) for run in runs]
        try:
            cells = measure_exposure(
                thin,
                tick_size=exposure.tick_size,
                max_state_gap_ms=max_state_gap_ms * every,
                block_s=block_s,
            ).cells(selection.both)
            fit: Fit | None = fit_both_sides(cells)
        except EstimateError:
            fit = None
        found.append(Thinned(every, fit))
    return MidClock(median, high, own, tuple(found))


def _gaps(exposure: Exposure) -> tuple[float, float]:
    """Median and 95 % point of the gaps behind state rows at which any order rested, ms."""
    gaps, weights = [], []
    for path, on_path in zip(exposure.paths, exposure.on_path, strict=True):
        n = len(path.row_ms)
        open_orders = np.zeros(n + 1, dtype=np.int64)
        np.add.at(open_orders, on_path.from_row, 1)
        np.add.at(open_orders, np.maximum(on_path.to_row, on_path.from_row), -1)
        gap = np.diff(path.row_ms)
        gaps.append(gap)
        weights.append(np.cumsum(open_orders)[: n - 1] * (gap > 0))
    gap, weight = np.concatenate(gaps), np.concatenate(weights)
    if not weight.sum():
        return float("nan"), float("nan")
    order = np.argsort(gap, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    median, high = gap[order][np.searchsorted(share, (0.5, 0.95))]
    return float(median), float(high)
