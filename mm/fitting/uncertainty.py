"""Other answers to "how sure is that?": beside the reported interval, each with its own fault.

Profile likelihood and Wald believe the Poisson model, quasi-Poisson inflates it by what the
distances show, block effects drop what changes from block to block, and the predictive interval
asks how far the next period may be from this log.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special
from scipy.sparse import csr_array

from mm.core.arrays import Floats
from mm.core.errors import EstimateError
from mm.exposure.accounting import Cells
from mm.fitting.covariance import LEVEL, Interval
from mm.fitting.decay import Weights, decay_rate
from mm.fitting.fit import Fit

_CHI2 = float(special.chdtri(1, 1.0 - LEVEL))
_Z = float(special.ndtri(0.5 + LEVEL / 2.0))
#: Frequencies that tell how much the level of a log as long as this one varies.
_LOWEST = 3


@dataclass(frozen=True)
class BlockEffects:
    """The fit in which every block has a level of its own.

    ``k``: 1/tick, with its standard error. ``A_mean``: mean of the blocks' levels over time, 1/s:
    what a quote at mid would have met on average, bursts weighted by their length and not by how
    long quotes survived in them.
    """

    k: float
    se_k: float
    A_mean: float


@dataclass(frozen=True)
class Predictive:
    """95 % interval of what one further period of ``period_s`` seconds may show as lambda: its
    fills over its exposure, counting noise included.

    ``tau``: standard deviation of log lambda in such a period, beyond counting noise.
    """

    period_s: float
    tau: float
    interval: Interval

    def reaching(self, ends: Interval) -> Predictive:
        """The same with no end inside these of the level: whatever it may be, a period of it may
        be."""
        if not all(map(math.isfinite, ends)):
            return self
        (low, high), (lowest, highest) = self.interval, ends
        return replace(self, interval=(min(low, lowest), max(high, highest)))


def profile_interval(cells: Cells, fit: Fit) -> tuple[Interval, Interval]:
    """95 % profile-likelihood intervals of A and k: where 2 (l_max - l) = 3.84.

    For k the level is profiled out in closed form; for A, k solves its own score equation.
    """
    delta, exposure, events = cells.delta, cells.exposure_s, cells.events.astype(np.float64)
    n, moment = float(events.sum()), float((events * delta).sum())
    rested = exposure > 0
    delta, exposure = delta[rested], exposure[rested]
    weights = Weights(delta, exposure)

    def at_k(k: float) -> tuple[float, float]:
        fallen = n * (math.log(n) - weights.log_sum(k)) - k * moment - n
        return fallen, n * weights.mean_and_variance(k)[0] - moment

    def at_a(a: float) -> tuple[float, float]:
        # From near by: where the rate at the fills' mean distance is as high as it was.
        k = _k_given_a(a, fit.k + max(0.0, a - math.log(fit.A)) * n / moment)
        mu = math.exp(min(a + weights.log_sum(k), _LARGEST))
        return n * a - k * moment - mu, n - mu

    def _k_given_a(a: float, k: float) -> float:
        for _ in range(100):
            mu = exposure * np.exp(np.minimum(a - k * delta, 700.0))
            slope, curve = float((mu * delta).sum()) - moment, float((mu * delta**2).sum())
            if not curve > 0:  # all that is expected has underflowed
                break
            step = slope / curve
            k += max(-1.0, min(1.0, step))
            if abs(step) < 1e-12 * max(1.0, abs(k)):
                break
        return k

    se_a, se_k = math.sqrt(fit.wald[0][0]), math.sqrt(fit.wald[1][1])
    low_k, high_k = _crossings(at_k, fit.k, se_k)
    low_a, high_a = _crossings(at_a, math.log(fit.A), se_a)
    highest = math.exp(high_a) if high_a < _LARGEST else math.inf
    return (math.exp(low_a), highest), (low_k, high_k)


_LARGEST = 700.0  # of a logarithm whose number there is
#: Standard errors beyond which a profile has no end.
_NO_END = 100.0


def _crossings(loglik: Callable[[float], tuple[float, float]], best: float, se: float) -> Interval:
    """Where a concave log-likelihood has fallen by chi2/2 on either side; infinite where it does
    not: of k, where all fills but for a hair came at the nearest distance.

    ``loglik``: gives its value and slope, for Newton between points that enclose the end.
    """
    target = loglik(best)[0] - _CHI2 / 2.0
    ends = []
    for sign in (-1.0, 1.0):
        near, far = 0.0, 2.0 * se
        while loglik(best + sign * far)[0] > target and far < _NO_END * se:
            near, far = far, 2.0 * far
        if far >= _NO_END * se:
            ends.append(sign * math.inf)
            continue
        at = far
        for _ in range(200):
            value, slope = loglik(best + sign * at)
            near, far = (at, far) if value > target else (near, at)
            before, at = at, at - (value - target) / (sign * slope) if slope else math.nan
            if not near <= at <= far:
                at = 0.5 * (near + far)
            if abs(at - before) <= 1e-13 * far:
                break
        ends.append(best + sign * at)
    return ends[0], ends[1]


def quasi_interval(fit: Fit, phi: float) -> tuple[Interval, Interval]:
    """Wald's intervals of A and k inflated by an over-dispersion phi (never deflated)."""
    scale = _Z * math.sqrt(max(phi, 1.0))
    half_a, half_k = scale * math.sqrt(fit.wald[0][0]), scale * math.sqrt(fit.wald[1][1])
    return (fit.A * math.exp(-half_a), fit.A * math.exp(half_a)), (fit.k - half_k, fit.k + half_k)


def firth(cells: Cells) -> tuple[float, float]:
    """A and k with Firth's (1993) penalty, l + log sqrt|I|: bias of order 1/N removed.

    Exists where the likelihood alone has no maximum, for example when all fills came at the
    nearest distance. Raises EstimateError without exposure at two distances.
    """
    delta, exposure, events = cells.delta, cells.exposure_s, cells.events.astype(np.float64)
    rested = delta[exposure > 0]
    if np.unique(rested).size < 2:
        raise EstimateError("no_mle", "exposure at one distance only")
    n = float(events.sum())
    centre = float(rested.mean())
    x = delta - centre
    theta = np.array([math.log((n + 0.5) / float(exposure.sum())), 0.0])
    design = np.column_stack([np.ones_like(x), -x])
    for _ in range(200):
        mu = exposure * np.exp(np.minimum(design @ theta, 700.0))
        information = design.T @ (mu[:, None] * design)
        inverse = np.linalg.inv(information)
        # The penalty adds half the leverage to each cell's events.
        leverage = mu * np.einsum("ij,jk,ik->i", design, inverse, design)
        step = inverse @ (design.T @ (events + leverage / 2.0 - mu))
        theta = theta + step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-12:
            break
    return math.exp(theta[0] + theta[1] * centre), float(theta[1])


def block_effects(delta: Floats, exposure: csr_array, events: csr_array) -> BlockEffects:
    """Fit k with a free level in each block.

    Maximises -k sum N d - sum_b N_b log sum_{j in b} T_j exp(-k d_j), the likelihood given the
    number of events in each block.

    Parameters
    ----------
    delta : distances, ticks, shape (p,).
    exposure, events : T in seconds and N of each block there, shape (b, p).

    Raises EstimateError where no block tells of k.
    """
    k = decay_rate(delta, exposure.sum(axis=0), events.sum(axis=0))
    rested = exposure.sum(axis=1) > 0
    exposure, events = exposure[rested], events[rested]
    per_block, moment = events.sum(axis=1), float((events @ delta).sum())
    centre = float(delta.mean())
    away = delta - centre
    nothing = 1e-12 * float(per_block.sum()) * float((away * away).max())  # but rounding
    powers = np.column_stack([np.ones_like(away), away, away * away])

    def moments(k: float) -> tuple[float, float, Floats]:
        """Sums of the mean and variance of delta by event, under weights T exp(-k d) of its block,
        and the log sum of these by block."""
        shift = float((-k * delta).max())
        total, first, second = (exposure @ (np.exp(-k * delta - shift)[:, None] * powers)).T
        mean = first / total
        variance = second / total - mean * mean
        means, spread = float(per_block @ (centre + mean)), float(per_block @ variance)
        return means, spread, np.log(total) + shift

    for _ in range(100):
        means, curve, _ = moments(k)
        if not curve > nothing:
            raise EstimateError("no_mle", "no block holds exposure at two distances")
        step = (means - moment) / curve
        k += max(-2.0, min(2.0, step))
        if abs(step) < 1e-12 * max(1.0, abs(k)):
            break
    _, curve, log_sum = moments(k)
    levels = per_block * np.exp(-log_sum)
    return BlockEffects(k, 1.0 / math.sqrt(curve), float(levels.mean()))


def between_periods(events: Floats, expected: Floats) -> float:
    """tau: standard deviation of log lambda between periods beyond counting noise.

    Method of moments: E (N - mu)^2 = mu + tau^2 mu^2, tau^2 never negative.
    """
    used = expected > 0
    n, mu = events[used], expected[used]
    if mu.size < 2:
        return 0.0
    extra = float(((n - mu) ** 2).sum() * mu.size / (mu.size - 1) - mu.sum())
    return math.sqrt(max(0.0, extra / float((mu**2).sum())))


def predictive(
    level: float, n_events: int, events: Floats, expected: Floats, n: int, period_s: float
) -> Predictive:
    """What fills over expected fills, times ``level``, one further period may show.

    v is the relative variance of one of B windows beyond counting noise, w = (phi - 1)/N that of
    the level of a whole log: phi is the mean of c_j^2, j <= 3, c_j = sqrt(2/sum mu) sum_b (N_b -
    mu_b) cos(pi j (b + 1/2)/B). If windows were independent, the period ahead would vary by v/n and
    the log's own level by v/B; levels wander, so it is w B/n (at most 3 v) and w where that is
    more. Counts are negative binomial with both, and 1/N, as relative variance; (t/1.96)^2 widens
    it, t(B-1) for v and t(3) for what w adds. Days count as independent: v and v/B.

    Parameters
    ----------
    level : lambda where it is asked for, 1/s.
    n_events : N, events behind it.
    events, expected : counts of windows that follow each other, shape (B,) each.
    n : windows in the period; 0 for windows that are independent days, of which one is the period.
    period_s : its length.
    """
    used = expected > 0
    count, mu = events[used], expected[used]
    total, size, length = float(mu.sum()), len(mu), max(n, 1)
    if not total > 0 or not n_events:
        return Predictive(period_s, math.nan, (math.nan, math.nan))
    window = between_periods(count, mu) ** 2
    more_ahead = more_past = 0.0
    lowest = min(_LOWEST, size - 1) if n else 0
    if lowest:
        j = np.arange(1, lowest + 1)[:, None]
        wave = np.cos(np.pi * j * (np.arange(size) + 0.5) / size)
        phi = 2.0 / total * float(((wave @ (count - mu)) ** 2).mean())
        log = max(phi - 1.0, 0.0) / n_events
        more_ahead = max(min(log * size / length, 3.0 * window) - window / length, 0.0)
        more_past = max(log - window / size, 0.0)
    extra = (window / length + window / size) * _widening(size - 1)
    extra += (more_ahead + more_past) * _widening(lowest) + 1.0 / n_events
    mean = total / size * length
    low, high = _negative_binomial(mean, extra)
    tau = math.sqrt(window / length + more_ahead)
    return Predictive(period_s, tau, (level * low / mean, level * high / mean))


def _widening(dof: int) -> float:
    """What a variance known with so many degrees of freedom counts, by t over the normal."""
    return (float(special.stdtrit(dof, 0.5 + LEVEL / 2.0)) / _Z) ** 2 if dof else 1.0


def _negative_binomial(mean: float, extra: float) -> Interval:
    """95 % points of counts with variance mean + extra mean^2."""
    ends = np.array([0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0])
    low, high = np.ceil(special.nbdtrik(ends, 1.0 / extra, 1.0 / (1.0 + extra * mean))).tolist()
    return low, high
