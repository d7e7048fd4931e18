"""A and k of buy and of sell orders alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mm.core.errors import EstimateError
from mm.diagnostics.time_at_risk import Risk
from mm.fitting.covariance import Interval
from mm.fitting.fit import Fit


@dataclass(frozen=True)
class SideFits:
    """Fits of each side alone; None where a side has none. ``ratio``: lambda BUY over SELL at
    ``delta`` ticks, ``z`` its log over its standard error. ``lr``: likelihood ratio against one
    common A and k, chi-squared with 2 degrees of freedom under the model."""

    buy: Fit | None
    sell: Fit | None
    delta: float
    ratio: float
    z: float
    lr: float

    @property
    def rates(self) -> list[tuple[str, Fit, Interval]]:
        """Each side's name, fit and 95 % interval of lambda at ``delta``, 1/s."""
        sides = (("BUY", self.buy), ("SELL", self.sell))
        return [(name, fit, fit.interval(self.delta)) for name, fit in sides if fit is not None]

    @property
    def apart(self) -> bool:
        """Whether the sides' intervals of lambda at ``delta`` do not overlap."""
        ends = [interval for _, _, interval in self.rates]
        return len(ends) == 2 and max(low for low, _ in ends) > min(high for _, high in ends)


def side_fits(risk: Risk, fit: Fit, delta: float) -> SideFits:
    """Both sides' fits, compared at ``delta`` ticks with the fit of both together."""
    fits: list[Fit | None] = []
    for sign in (1, -1):
        try:
            fits.append(risk.fit(risk.places.side == sign))
        except EstimateError:
            fits.append(None)
    buy, sell = fits
    if buy is None or sell is None:
        return SideFits(buy, sell, delta, math.nan, math.nan, math.nan)
    gap = math.log(buy.intensity(delta) / sell.intensity(delta))
    se = math.hypot(buy.se_log_intensity(delta), sell.se_log_intensity(delta))
    lr = 2.0 * (buy.loglik + sell.loglik - fit.loglik)
    return SideFits(buy, sell, delta, math.exp(gap), gap / se if se > 0 else math.nan, lr)
