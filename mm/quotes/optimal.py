"""The quotes that follow from a fit, with what A, k and sigma are not sure of carried over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mm.core.arrays import Floats
from mm.core.display import Table, html
from mm.core.formatting import figures, ranged
from mm.fitting.fit import Fit
from mm.quotes.models import Quotes, avellaneda_stoikov, gueant_lehalle_fernandez_tapia
from mm.quotes.volatility import Volatility

#: Draws are the same every time.
_SEED, _DRAWS = 20_240_809, 4_000
#: Two-sided 95 % point of the normal distribution.
_NORMAL = 1.959963984540054
#: Time that Avellaneda and Stoikov's quotes have left, s: what sigma is counted by. Their skew, and
#: the first term of the half spread, grow with it in proportion.
TAU_S = 1.0
#: Orders held at which distances are spelled out.
_INVENTORIES = (-5, -2, -1, 0, 1, 2, 5)
Pair = tuple[float, float]


@dataclass(frozen=True)
class Carried:
    """A number with its 95 % interval by the delta method, exp(ln x ± t se), and by draws of
    (ln A, k, ln sigma); NaN where one of them has no error."""

    value: float
    interval: Pair
    by_draws: Pair


@dataclass(frozen=True, repr=False)
class OptimalQuotes:
    """Guéant-Lehalle-Fernandez-Tapia's quotes, ticks of ``tick_size`` quote currency. ``gamma``:
    1/tick for an inventory of one order. ``to_the_end``: half spread and skew by Avellaneda and
    Stoikov with TAU_S left. ``mid``: the log's median, for basis points."""

    A: float
    k: float
    gamma: float
    volatility: Volatility
    half_spread: Carried
    skew: Carried
    to_the_end: tuple[Carried, Carried]
    tick_size: float
    mid: float

    @property
    def kappa(self) -> float:
        """k per unit of quote currency, what Avellaneda-Stoikov users call kappa."""
        return self.k / self.tick_size

    def to_dict(self, symbol: str) -> dict[str, Any]:
        """What quotes_<SYMBOL>.json holds; None where a number is not known."""

        def plain(one: Carried) -> dict[str, Any]:
            bps = 1e4 * self.tick_size / self.mid if self.mid > 0 else math.nan
            return {
                "ticks": _finite(one.value),
                "ci95": _known(one.interval),
                "ci95_by_draws": _known(one.by_draws),
                "price": _finite(one.value * self.tick_size),
                "bps": _finite(one.value * bps),
            }

        quotes = Quotes(self.half_spread.value, self.skew.value)
        return {
            "symbol": symbol,
            "model": "gueant_lehalle_fernandez_tapia",
            "half_spread": plain(self.half_spread),
            "skew_per_order": plain(self.skew),
            "distances_ticks": {
                str(held): dict(zip(("bid", "ask"), quotes.distances(held), strict=True))
                for held in _INVENTORIES
            },
            "avellaneda_stoikov": {
                "tau_s": TAU_S,
                "half_spread": plain(self.to_the_end[0]),
                "skew_per_order": plain(self.to_the_end[1]),
            },
            "A": self.A,
            "k": self.k,
            "gamma": self.gamma,
            "sigma_ticks_per_sqrt_s": _finite(self.volatility.sigma),
            "sigma_ci95": _known(self.volatility.interval),
            "kappa_per_price": self.kappa,
            "tick_size": self.tick_size,
            "mid": _finite(self.mid),
        }

    def __repr__(self) -> str:
        return (
            f"<OptimalQuotes: half spread {self.half_spread.value:.3g}, skew "
            f"{self.skew.value:.3g} ticks>"
        )

    def _repr_html_(self) -> str:
        bps = 1e4 * self.tick_size / self.mid if self.mid > 0 else math.nan
        rows = [
            (
                name,
                ranged(one.value, *one.interval),
                ranged(one.value, *one.by_draws),
                figures(one.value * self.tick_size),
                figures(one.value * bps),
            )
            for name, one in (
                ("half spread", self.half_spread),
                ("skew of one order", self.skew),
                (f"half spread, {TAU_S:g} s to the end", self.to_the_end[0]),
                (f"skew, {TAU_S:g} s to the end", self.to_the_end[1]),
            )
        ]
        sigma = ranged(self.volatility.sigma, *self.volatility.interval)
        note = (
            f"γ = {self.gamma:g} per tick, σ = {sigma} ticks per √s, A = {figures(self.A)} /s, "
            f"k = {figures(self.k)} /tick (passive); κ = {figures(self.kappa)} per price unit. "
            "By Guéant, Lehalle and Fernandez-Tapia; to an end by Avellaneda and Stoikov"
        )
        head = ("", "ticks, 95 %", "by draws", "price", "bps")
        return html(Table(head, rows, "Optimal quotes", note))


def optimal_quotes(
    fit: Fit, volatility: Volatility, gamma: float, tick_size: float, mid: float
) -> OptimalQuotes:
    """Half spread and skew from a fit of passive quotes.

    Raises ValueError where k or sigma is not positive.
    """

    def quotes(log_A: float, k: float, log_sigma: float) -> Quotes:
        return gueant_lehalle_fernandez_tapia(math.exp(log_A), k, math.exp(log_sigma), gamma)

    def ending(log_A: float, k: float, log_sigma: float) -> Quotes:
        return avellaneda_stoikov(k, math.exp(log_sigma), gamma, TAU_S)

    cov = np.zeros((3, 3))
    cov[:2, :2] = fit.cov
    cov[2, 2] = volatility.se_log**2
    if not (fit.k > 0 and volatility.sigma > 0):
        raise ValueError(f"k and sigma must be positive: {fit.k}, {volatility.sigma}")
    at = np.array([math.log(fit.A), fit.k, math.log(volatility.sigma)])
    quantile = fit.uncertainty.quantile
    # As wide as the reported intervals, which few blocks make wider than a normal's.
    drawn = _draws(at, cov * (quantile / _NORMAL) ** 2)
    return OptimalQuotes(
        A=fit.A,
        k=fit.k,
        gamma=gamma,
        volatility=volatility,
        half_spread=_carried(lambda x: quotes(*x).half_spread, at, cov, drawn, quantile),
        skew=_carried(lambda x: quotes(*x).skew, at, cov, drawn, quantile),
        to_the_end=(
            _carried(lambda x: ending(*x).half_spread, at, cov, drawn, quantile),
            _carried(lambda x: ending(*x).skew, at, cov, drawn, quantile),
        ),
        tick_size=tick_size,
        mid=mid,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _known(ends: Pair) -> list[float] | None:
    return list(ends) if all(map(math.isfinite, ends)) else None


def _draws(at: Floats, cov: Floats) -> Floats:
    """Draws of (ln A, k, ln sigma) with positive k, shape (n, 3); none where an error is not
    known."""
    if not np.isfinite(cov).all():
        return np.zeros((0, 3))
    drawn = np.random.default_rng(_SEED).multivariate_normal(at, cov, _DRAWS)
    return np.asarray(drawn[drawn[:, 1] > 0])


def _carried(
    function: Callable[[Floats], float], at: Floats, cov: Floats, drawn: Floats, quantile: float
) -> Carried:
    """var ln f = g' C g with g the gradient of ln f, by central differences."""
    value = function(at)
    unknown = (math.nan, math.nan)
    if not len(drawn):
        return Carried(value, unknown, unknown)
    step = 1e-5 * np.maximum(np.abs(at), 1e-3)
    gradient = np.array(
        [
            (math.log(function(at + h)) - math.log(function(at - h))) / (2.0 * h.max())
            for h in np.diag(step)
        ]
    )
    reach = quantile * math.sqrt(max(float(gradient @ cov @ gradient), 0.0))
    low, high = np.quantile([function(x) for x in drawn], [0.025, 0.975])
    ends = (value * math.exp(-reach), value * math.exp(reach))
    return Carried(value, ends, (float(low), float(high)))
