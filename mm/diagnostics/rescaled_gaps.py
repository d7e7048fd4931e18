"""Are gaps between fills exponential in rescaled time, and independent? Bursts are where not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import special

from mm.core.arrays import Floats
from mm.fitting.memory import Rescaled

_DRAWS = 400
#: Samples that the gaps are compared with are no longer than this.
_MOST_DRAWN = 5_000

_Distance = TypeVar("_Distance", float, Floats)


@dataclass(frozen=True)
class RescaledTime:
    """Gaps between events in units of expected events; independent Exp(1) under the model.

    Fills of one ms are one event, see ``time_rescaling.first_in_ms``. ``gaps``: shape (n,), in time
    order. ``ks``: largest distance of their distribution from
    Exp(1), with its bootstrap p-value. ``lag1``: correlation of neighbours' ranks, with p.
    Brown et al. (2002), "The time-rescaling theorem".
    """

    gaps: Floats
    ks: float
    ks_p: float
    lag1: float
    lag1_p: float


def rescaled_time(clock: Rescaled, rng: np.random.Generator) -> RescaledTime:
    """Test the gaps of rescaled time; what came in one ms counts as one event."""
    gaps = clock.gaps[clock.new]
    if len(gaps) < 3:
        return RescaledTime(gaps, math.nan, math.nan, math.nan, math.nan)
    gaps = gaps / gaps.mean()
    ks = float(_ks(gaps[None, :])[0])
    n = min(len(gaps), _MOST_DRAWN)
    drawn = rng.exponential(size=(_DRAWS, n))
    drawn /= drawn.mean(axis=1, keepdims=True)
    larger = np.count_nonzero(_comparable(_ks(drawn), n) >= _comparable(ks, len(gaps)))
    ks_p = float((1 + larger) / (_DRAWS + 1))
    ranks = np.empty(len(gaps))
    ranks[np.argsort(gaps, kind="stable")] = np.arange(len(gaps))
    spread = ranks - ranks.mean()
    lag1 = float((spread[1:] * spread[:-1]).sum() / (spread * spread).sum())
    lag1_p = float(2.0 * special.ndtr(-abs(lag1) * math.sqrt(len(gaps))))
    return RescaledTime(gaps, ks, ks_p, lag1, lag1_p)


def _ks(gaps: Floats) -> Floats:
    """Kolmogorov's distance of each row of gaps, shape (d, n), from Exp(1)."""
    n = gaps.shape[1]
    u = np.sort(gaps, axis=1)
    np.maximum(u, 0.0, out=u)
    np.negative(u, out=u)
    np.expm1(u, out=u)
    u += np.arange(1, n + 1) / n  # how far the distribution's steps end above the exponential
    return np.asarray(np.maximum(u.max(axis=1), 1.0 / n - u.min(axis=1)))


def _comparable(ks: _Distance, n: int) -> _Distance:
    """The distance of n gaps from Exp(1) with their own mean, on a scale that does not depend on n.

    Stephens (1974), "EDF statistics for goodness of fit", table 1.
    """
    return (ks - 0.2 / n) * (math.sqrt(n) + 0.26 + 0.5 / math.sqrt(n))
