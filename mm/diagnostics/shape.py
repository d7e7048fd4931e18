"""Does lambda fall exponentially with distance? Pearson by distance, and a power law beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats, Ints, sums_by
from mm.core.errors import EstimateError
from mm.exposure.distance import buckets
from mm.fitting.decay import decay_rate, log_weight

#: Buckets are merged with their neighbour until this much is expected in each. The customary five
#: is for the chi-squared table; with a bootstrapped p it would only hide, behind its neighbour, a
#: bucket near mid that expects 3 fills and has 24.
MIN_EXPECTED = 2.0
_DRAWS = 400
#: A power law is looked for on so many distances at most.
_MOST_DISTANCES = 20_000


@dataclass(frozen=True)
class PearsonByDistance:
    """Observed against expected events on merged whole-tick buckets. Arrays of shape (m,).

    ``low``, ``high``: range of the bucket, ticks. ``x2``: Pearson's statistic, ``dof`` = m - 2,
    ``phi`` = x2/dof (NaN without degrees of freedom). ``p``: by parametric bootstrap of the
    counts, refitted.
    """

    low: Floats
    high: Floats
    observed: Ints
    expected: Floats
    x2: float
    dof: int
    p: float

    @property
    def phi(self) -> float:
        """Over-dispersion by distance; 1 under the model."""
        return self.x2 / self.dof if self.dof > 0 else math.nan

    @property
    def residuals(self) -> Floats:
        """(observed - expected)/sqrt(expected) by bucket."""
        return np.asarray((self.observed - self.expected) / np.sqrt(self.expected))

    @property
    def ratio(self) -> Floats:
        """Observed over expected by bucket."""
        return np.asarray(self.observed / self.expected)

    def usable(self, most: float, farthest: float) -> tuple[float, float] | None:
        """Distances over which the fit holds, ticks: of the stretches of neighbouring buckets
        that are each off by no more than a factor 1 + ``most`` or by two standard deviations, the
        one where most is expected; no farther than quotes rested. None where there is none."""
        with np.errstate(divide="ignore"):
            near = np.abs(np.log(self.ratio)) <= math.log1p(most)
        holds = near | (np.abs(self.residuals) <= 2.0)
        stretch: Ints = np.cumsum(
            ~holds, dtype=np.int64
        )  # the same number within a stretch that holds
        if not holds.any():
            return None
        weight = sums_by(stretch[holds], self.expected[holds], int(stretch.max()) + 1)
        best = holds & (stretch == int(weight.argmax()))
        low, high = float(self.low[best].min()), float(self.high[best].max())
        high = min(high, float(math.floor(farthest)) + 1.0)
        return (low, high) if low < high else None


@dataclass(frozen=True)
class PowerLaw:
    """log lambda = a - p log(1 + delta/delta0), delta0 profiled; ``delta_aic`` = AIC of the
    exponential less this one's: positive speaks for the power law."""

    A: float
    p: float
    delta0: float
    delta_aic: float

    def rates(self, delta: Floats) -> Floats:
        """lambda at distances in ticks, shape (n,), 1/s."""
        return np.asarray(self.A * np.power(1.0 + delta / self.delta0, -self.p))


def pearson_by_distance(
    delta: Floats, events: Floats, expected: Floats, rng: np.random.Generator
) -> PearsonByDistance:
    """Pearson's chi-squared over distance.

    Parameters
    ----------
    delta : distance of each cell, ticks, shape (n,); negative ones count by their size.
    events, expected : observed and expected events of each cell, shape (n,).
    """
    bucket = buckets(np.abs(delta))
    labels, of = np.unique(bucket, return_inverse=True)
    seen = sums_by(of, events, len(labels))
    mu = sums_by(of, expected, len(labels))
    where = sums_by(of, expected * np.abs(delta), len(labels))
    group = _merge(mu)
    m = int(group.max()) + 1
    n, total = sums_by(group, seen, m), sums_by(group, mu, m)
    centre = sums_by(group, where, m) / np.where(total > 0, total, 1.0)
    first = np.searchsorted(group, np.arange(m))
    last = np.searchsorted(group, np.arange(m), side="right") - 1
    x2 = float(((n - total) ** 2 / total).sum())
    p = _bootstrap_p(total, centre, x2, rng) if m > 2 else math.nan
    return PearsonByDistance(
        low=labels[first].astype(np.float64),
        high=(labels[last] + 1).astype(np.float64),
        observed=n.astype(np.int64),
        expected=total,
        x2=x2,
        dof=m - 2,
        p=p,
    )


def _merge(mu: Floats) -> Ints:
    """Group number of each bucket, so that each group expects MIN_EXPECTED; the rest joins the
    last group."""
    group, number, total = np.zeros(len(mu), dtype=np.int64), 0, 0.0
    for i, value in enumerate(mu):
        group[i] = number
        total += value
        if total >= MIN_EXPECTED:
            number, total = number + 1, 0.0
    if total < MIN_EXPECTED and number > 0:
        group[group == number] = number - 1
    return group


def _bootstrap_p(mu: Floats, centre: Floats, x2: float, rng: np.random.Generator) -> float:
    """Share of simulated tables, refitted in level and slope, with a larger statistic.

    The refit is one Newton step from the truth, which is exact to the order of the noise.
    """
    n = rng.poisson(mu, size=(_DRAWS, len(mu))).astype(np.float64)
    x = centre - float((mu * centre).sum() / mu.sum())
    excess = n - mu
    level = excess.sum(axis=1) / mu.sum()
    spread = float((mu * x * x).sum())
    slope = (excess @ x) / spread if spread > 0 else np.zeros(_DRAWS)
    fitted = mu * np.exp(np.clip(level[:, None] + slope[:, None] * x, -20.0, 20.0))
    simulated = ((n - fitted) ** 2 / fitted).sum(axis=1)
    return float((1 + np.count_nonzero(simulated >= x2)) / (_DRAWS + 1))


def power_law(delta: Floats, exposure: Floats, events: Floats) -> PowerLaw:
    """The power law of highest likelihood, delta0 searched on a grid and refined.

    Parameters
    ----------
    delta, exposure, events : cells summed over blocks and sides, shape (n,); delta >= 0. More than
        _MOST_DISTANCES are put together with their neighbours.

    Raises EstimateError where no power law fits best.
    """
    n = float(events.sum())
    reach = float(delta.max())
    if not reach > 0:
        raise EstimateError("no_mle", "exposure at mid only")
    if len(delta) > _MOST_DISTANCES:  # of prices on no grid: nearer than matters to any shape
        _, of = np.unique(np.rint(delta / reach * _MOST_DISTANCES), return_inverse=True)
        count = int(of.max()) + 1
        delta = sums_by(of, delta, count) / np.bincount(of, minlength=count)
        exposure, events = sums_by(of, exposure, count), sums_by(of, events, count)

    def profile(log_delta0: float) -> tuple[float, float, float]:
        x = np.log1p(delta / math.exp(log_delta0))
        p = decay_rate(x, exposure, events)
        a = math.log(n) - log_weight(p, x, exposure)
        return float(n * a - p * float((events * x).sum()) - n), p, a

    grid = np.linspace(math.log(reach / 300.0), math.log(reach * 30.0), 15)
    values = [profile(float(g))[0] for g in grid]
    best = int(np.argmax(values))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(12):  # golden section
        left, right = high - 0.618 * (high - low), low + 0.618 * (high - low)
        if profile(float(left))[0] > profile(float(right))[0]:
            high = right
        else:
            low = left
    log_delta0 = 0.5 * (low + high)
    loglik, p, a = profile(float(log_delta0))
    k = decay_rate(delta, exposure, events)
    level = math.log(n) - log_weight(k, delta, exposure)
    exponential = n * level - k * float((events * delta).sum()) - n
    delta_aic = (4.0 - 2.0 * exponential) - (6.0 - 2.0 * loglik)
    return PowerLaw(math.exp(a), p, math.exp(log_delta0), delta_aic)
