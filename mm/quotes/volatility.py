"""How fast mid moves, from the log's own mid path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from mm.core.arrays import Floats
from mm.logs.log import Run

#: Mid is looked at every so many ms: at less, it jumps to and fro between quotes.
STEP_MS = 1_000
#: Blocks of this length are taken for independent.
_BLOCK_S = 60.0


@dataclass(frozen=True)
class Volatility:
    """``sigma``: of mid, in units of ``tick`` per sqrt(s); ``interval``: 95 %; ``se_log``: of its
    logarithm, NaN with fewer than three blocks."""

    sigma: float
    interval: tuple[float, float]
    se_log: float


def volatility(runs: Sequence[Run], tick: float, max_gap_ms: int) -> Volatility:
    """sigma^2 = sum (change of mid over STEP_MS)^2 / time, over steps in which mid was known.

    Its interval takes blocks of a minute for independent: t with one degree less than blocks, on
    the scale of the logarithm."""
    sums = np.concatenate([run.product(_by_block, tick, max_gap_ms) for run in runs], axis=0)
    square, seconds = sums[:, 0], sums[:, 1]
    if not seconds.sum() > 0:
        return Volatility(math.nan, (math.nan, math.nan), math.nan)
    variance = float(square.sum() / seconds.sum())
    sigma, n = math.sqrt(variance), len(square)
    if n < 3 or not variance > 0:
        return Volatility(sigma, (math.nan, math.nan), math.nan)
    off = square - variance * seconds
    se_log = 0.5 * math.sqrt(n / (n - 1) * float((off**2).sum())) / float(square.sum())
    reach = float(special.stdtrit(n - 1, 0.975)) * se_log
    return Volatility(sigma, (sigma * math.exp(-reach), sigma * math.exp(reach)), se_log)


def _by_block(run: Run, tick: float, max_gap_ms: int) -> Floats:
    """Sum of squared changes and seconds of each block, shape (b, 2)."""
    time = run.state["recv_ms"].to_numpy(dtype=np.int64)
    mid = run.state["mid"].to_numpy(dtype=np.float64) / tick
    at = np.arange(time[0], time[-1] + 1, STEP_MS)
    row = np.searchsorted(time, at, side="right") - 1
    known = at - time[row] <= max_gap_ms
    steps = np.diff(mid[row])
    used = known[1:] & known[:-1]
    block = ((at[1:] - at[0]) / 1000.0 // _BLOCK_S).astype(np.int64)[used]
    n = int(block.max(initial=-1)) + 1
    squares = np.bincount(block, weights=steps[used] ** 2, minlength=n)
    seconds = np.bincount(block, minlength=n) * (STEP_MS / 1000.0)
    return np.stack([squares, seconds], axis=1)[seconds > 0]
