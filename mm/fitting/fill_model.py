"""The consumer's rule: one draw a state row for each resting order.

A backtester with ``FILL_MODEL=poisson`` fills the whole order with
p = 1 - exp(-A exp(-k |price - mid| / tick_size) dt).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats


@dataclass(frozen=True)
class PoissonFillModel:
    """Parameters as a backtester loads them: A in 1/s, k in 1/tick, dt_ms, tick_size."""

    A: float
    k: float
    dt_ms: int
    tick_size: float

    def rate(self, delta: Floats) -> Floats:
        """lambda at |delta| ticks of ``tick_size``, 1/s."""
        return np.asarray(self.A * np.exp(np.minimum(-self.k * np.abs(delta), 700.0)))

    def probability(self, delta: Floats) -> Floats:
        """Probability of a fill in one draw at |delta| ticks of ``tick_size``."""
        hazard = self.rate(delta) * (self.dt_ms / 1000.0)
        return np.asarray(-np.expm1(-hazard), dtype=np.float64)
