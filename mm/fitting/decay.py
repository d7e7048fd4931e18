"""k alone: the root of the likelihood's equation once the level is profiled out.

Notation as in ``mm.fitting.fit``: T exposure in seconds, N events, delta in ticks.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, sums_by
from mm.core.errors import EstimateError

#: From so many cells on, those at one distance are put together first.
_WORTH_MERGING = 2_000


def decay_rate(delta: Floats, exposure: Floats, events: Floats) -> float:
    """k: the root of the monotone equation of ``mm.fitting.fit.fit_poisson``, to rounding error.

    Raises EstimateError where it has none.
    """
    n = float(events.sum())
    if n == 0:
        raise EstimateError("no_events", "no fill in the range of distances")
    if len(delta) > _WORTH_MERGING:
        delta, exposure, events = _merged(delta, exposure, events)
    rested = exposure > 0
    if not rested.any():
        raise EstimateError("no_mle", "no exposure in the range of distances")
    weights = Weights(delta[rested], exposure[rested])
    low, high = weights.low, weights.high
    # Sums of exact zeros where all events are at one end: a mean of them may round to inside.
    filled = events > 0
    at, count = delta[filled], events[filled]
    above_low = math.fsum((count * (at - low)).tolist())
    below_high = math.fsum((count * (high - at)).tolist())
    target = low + above_low / n
    if not (above_low > 0 and below_high > 0 and low < target < high):
        raise EstimateError(
            "no_mle",
            f"the mean fill distance ({target:g} ticks) is not inside the range of distances "
            f"quoted ({low:g} to {high:g} ticks), so no k fits best",
        )
    # Newton inside a bracket that bisection keeps safe; the mean falls strictly in k. Where the
    # bracket is open yet, no step is longer than four times what was gone before.
    step = 1.0 / (high - low)
    left, right, k = -math.inf, math.inf, 0.0
    for _ in range(400):
        mean, variance = weights.mean_and_variance(k)
        if mean > target:
            left = k
        else:
            right = k
        gap = (mean - target) / variance if variance > 0 else math.copysign(math.inf, mean - target)
        farthest = 4.0 * max(abs(k), step)
        new = k + max(-farthest, min(farthest, gap))
        if abs(new - k) <= 4e-16 * max(abs(k), step):
            return new
        k = new if left < new < right else 0.5 * (left + right)
    return k


class Weights:
    """Exposure T at distances delta under exp(-k delta): their sum, mean and variance."""

    def __init__(self, delta: Floats, exposure: Floats) -> None:
        self._delta, self._exposure = delta, exposure
        self.low, self.high = float(delta.min()), float(delta.max())

    def _of(self, k: float) -> tuple[Floats, float, float]:
        shift = max(-k * self.low, -k * self.high)  # the largest exponent: nothing overflows
        weight = self._exposure * np.exp(-k * self._delta - shift)
        return weight, float(weight.sum()), shift

    def log_sum(self, k: float) -> float:
        """log of sum T exp(-k d)."""
        _, total, shift = self._of(k)
        return math.log(total) + shift

    def mean_and_variance(self, k: float) -> tuple[float, float]:
        """Of delta under the weights T exp(-k d)."""
        weight, total, _ = self._of(k)
        mean = float(weight @ self._delta) / total
        away = self._delta - mean
        return mean, float(weight @ (away * away)) / total


def _merged(delta: Floats, exposure: Floats, events: Floats) -> tuple[Floats, Floats, Floats]:
    """The same summed over cells at one distance."""
    of, distinct = pd.factorize(delta)
    n = len(distinct)
    return distinct, sums_by(of, exposure, n), sums_by(of, events, n)


def log_weight(k: float, delta: Floats, exposure: Floats) -> float:
    """log of sum T exp(-k d) over cells with exposure, without overflow."""
    rested = exposure > 0
    return Weights(delta[rested], exposure[rested]).log_sum(k)
