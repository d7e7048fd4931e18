"""Optimal quotes in closed form.

Guéant, Lehalle and Fernandez-Tapia (2013), "Dealing with the inventory risk", section 4, the
asymptotic approximation; with xi = gamma, size 1 and distances in one unit:

    c1 = 1/(xi D) ln(1 + xi D/k)      c2 = sqrt(gamma/(2 A D k) (1 + xi D/k)^(k/(xi D) + 1))
    bid distance = c1 + D/2 sigma c2 + q sigma c2    ask distance = c1 + D/2 sigma c2 - q sigma c2

so that c1 + D/2 sigma c2 is half the spread and sigma c2 the skew of one unit of inventory q.

Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", eqs. (29) and (30),
with a time tau left: the spread is gamma sigma^2 tau + 2/gamma ln(1 + gamma/k), the reservation
price mid - q gamma sigma^2 tau."""

from __future__ import annotations

import math
from typing import NamedTuple


class Quotes(NamedTuple):
    """``half_spread``: of each side's distance from the reservation price; ``skew``: by which one
    unit
    of inventory moves both quotes down. In the unit of 1/k."""

    half_spread: float
    skew: float

    def distances(self, inventory: float = 0.0) -> tuple[float, float]:
        """Distance of bid and ask from mid at this inventory, in units of size."""
        lean = self.skew * inventory
        return self.half_spread + lean, self.half_spread - lean


def coefficients(
    A: float, k: float, gamma: float, *, size: float = 1.0, xi: float | None = None
) -> tuple[float, float]:
    """c1 and c2 as above. A in 1/s, k and gamma per unit of distance.

    Raises ValueError for what is not positive.
    """
    risk = gamma if xi is None else xi
    if not (A > 0 and k > 0 and gamma > 0 and size > 0 and risk > 0):
        raise ValueError(f"A, k, gamma, size and xi must be positive: {A}, {k}, {gamma}, {size}")
    x = risk * size
    growth = math.log1p(x / k)
    c2 = math.sqrt(gamma / (2.0 * A * size * k) * math.exp((k / x + 1.0) * growth))
    return growth / x, c2


def gueant_lehalle_fernandez_tapia(
    A: float, k: float, sigma: float, gamma: float, *, size: float = 1.0, xi: float | None = None
) -> Quotes:
    """Half spread c1 + D/2 sigma c2 and skew sigma c2; ``sigma`` in the unit of distance per
    sqrt(s)."""
    c1, c2 = coefficients(A, k, gamma, size=size, xi=xi)
    return Quotes(c1 + 0.5 * size * sigma * c2, sigma * c2)


def avellaneda_stoikov(k: float, sigma: float, gamma: float, tau_s: float) -> Quotes:
    """Half of gamma sigma^2 tau + 2/gamma ln(1 + gamma/k), and skew gamma sigma^2 tau."""
    if not (k > 0 and gamma > 0 and tau_s >= 0):
        raise ValueError(f"k and gamma must be positive, tau not negative: {k}, {gamma}, {tau_s}")
    risk = gamma * sigma**2 * tau_s
    return Quotes(0.5 * risk + math.log1p(gamma / k) / gamma, risk)


def distance_for(A: float, k: float, rate: float) -> float:
    """Where quotes are filled at this rate: ln(A/rate)/k, the inverse of A exp(-k delta); negative
    for a
    rate above A, at which no passive quote is filled."""
    if not (A > 0 and k > 0 and rate > 0):
        raise ValueError(f"A, k and rate must be positive: {A}, {k}, {rate}")
    return math.log(A / rate) / k
