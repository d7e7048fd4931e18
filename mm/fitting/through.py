"""Once mid has run through a quote, another process fills it: its rate is one number of its own.

lambda(delta) = A exp(-k delta) for signed delta >= 0, and the constant lambda_through below. Two
marks of one point process with separate parameters: the likelihood is the product of both parts,
so A and k are those of the quotes on their own side of mid, and lambda_through = N/T of the others
(Daley & Vere-Jones 2003, section 7.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scipy import special

from mm.core.arrays import Mask, sums_by
from mm.exposure.cells import Cells
from mm.fitting.covariance import LEVEL, Interval, independent
from mm.fitting.fit import Fit, fit_poisson


@dataclass(frozen=True)
class ThroughRate:
    """lambda_through = N/T, 1/s, of quotes that mid has run through.

    ``n_events``: first fills there. ``exposure_s``: rested there, seconds. ``exact``: Garwood's
    95 % interval of a Poisson count. ``by_block``: robust over blocks or groups with any such
    exposure, on the log scale; None where there are too few or without a fill.
    """

    n_events: int
    exposure_s: float
    exact: Interval
    by_block: Interval | None

    @property
    def rate(self) -> float:
        """lambda_through; NaN without exposure."""
        return self.n_events / self.exposure_s if self.exposure_s > 0 else math.nan

    @property
    def interval(self) -> Interval:
        """The wider of the two intervals, 1/s."""
        if self.by_block is None:
            return self.exact
        (low, high), (a, b) = self.exact, self.by_block
        return min(low, a), max(high, b)

    def rate_for_forecast(self, passive_A: float) -> float:
        """(N + 1/2)/(T + 1/(20 A)): defined where nothing was filled or nothing rested, and then
        ten times the passive rate at mid, the middle of what real logs show (2 to 32)."""
        return (self.n_events + 0.5) / (self.exposure_s + 0.05 / passive_A)


def through_rate(cells: Cells) -> ThroughRate:
    """The rate over cells with negative distance; others are passed over.

    ``cells``: signed distances, as ``Selection.both`` measures them.
    """
    there = cells.delta < 0
    n, t = int(cells.events[there].sum()), float(cells.exposure_ms[there].sum()) / 1000.0
    tail = (1.0 - LEVEL) / 2.0
    if t <= 0:
        return ThroughRate(n, t, (0.0, math.inf), None)
    low = float(special.gammaincinv(n, tail)) / t if n else 0.0
    high = float(special.gammaincinv(n + 1.0, 1.0 - tail)) / t
    group = None if cells.group is None else cells.group[there]
    numbers, of, kind = independent(cells.block[there], group)
    b = len(numbers)
    by_block = None
    if n and kind != "wald":
        seen = sums_by(of, cells.events[there], b)
        rested = sums_by(of, cells.exposure_ms[there] / 1000.0, b)
        # Var log(N/T) = sum_b (N_b - lambda T_b)^2 / N^2 * B/(B-1), at least a count's 1/N.
        spread = float(((seen - n / t * rested) ** 2).sum()) / n**2 * b / (b - 1)
        half = float(special.stdtrit(b - 1, 1.0 - tail)) * math.sqrt(max(spread, 1.0 / n))
        by_block = (n / t * math.exp(-half), n / t * math.exp(half))
    return ThroughRate(n, t, (low, high), by_block)


def fit_both_sides(cells: Cells) -> Fit:
    """A and k of cells at delta >= 0, with ``through`` of those below.

    ``cells``: signed distances, in continuous time. Raises EstimateError as ``fit_poisson``.
    """
    fit = fit_poisson(_chosen(cells, cells.delta >= 0))
    return replace(fit, through=through_rate(cells).rate_for_forecast(fit.A))


def _chosen(cells: Cells, some: Mask) -> Cells:
    columns = {name: getattr(cells, name) for name in ("block", "side", "delta", "exposure_ms")}
    columns |= {"events": cells.events, "qty": cells.qty}
    columns |= {} if cells.group is None else {"group": cells.group}
    return Cells(**{name: values[some] for name, values in columns.items()})
