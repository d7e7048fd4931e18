"""The fits: A and k of the intensity lambda(delta) = A exp(-k delta), with their covariance.

Notation, everywhere: a = log A; T exposure in seconds, N events, delta in ticks; mu = T lambda;
S_r = sum mu delta^r; D = S0 S2 - S1^2. The model is that of Avellaneda & Stoikov (2008),
"High-frequency trading in a limit order book", eq. (2.11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mm.core.arrays import Floats
from mm.core.display import Table, html
from mm.core.errors import EstimateError
from mm.core.formatting import rounded, span
from mm.exposure.accounting import Cells
from mm.fitting.covariance import (
    LEVEL,
    Covariance,
    Interval,
    SeType,
    Uncertainty,
    as_tuple,
    information_inverse,
    robust_by_block,
)
from mm.fitting.decay import decay_rate, log_weight

Method = Literal["poisson_mle", "trial_mle", "placement", "blend", "log_linear"]

#: log A beyond this is the sign of an extrapolation without meaning.
_LOG_LARGEST = 300.0


@dataclass(frozen=True)
class Fit:
    """A fitted intensity lambda(delta) = A exp(-k delta).

    ``A``: events per second and resting order at delta = 0. ``k``: 1/tick. ``uncertainty``: the
    reported one, of (log A, k); ``wald``: inverse information. ``delta_star``: distance at which
    lambda is best determined. ``n_events``, ``exposure_s``, ``loglik``: as the fit saw them.
    ``through``: lambda of quotes that mid has run through, at signed delta < 0, 1/s; None for a fit
    of |delta|, which knows no sides of mid.
    """

    method: Method
    A: float
    k: float
    uncertainty: Uncertainty
    wald: Covariance
    delta_star: float
    n_events: int
    exposure_s: float
    loglik: float
    through: float | None = None

    @property
    def cov(self) -> Covariance:
        """Reported covariance of (log A, k)."""
        return self.uncertainty.cov

    @property
    def se_type(self) -> SeType:
        """What the reported covariance is robust to."""
        return self.uncertainty.se_type

    @property
    def n_blocks(self) -> int:
        """Blocks of time behind it, or groups of runs, see ``Uncertainty``."""
        return self.uncertainty.n_blocks

    @property
    def ci_A(self) -> Interval:
        """95 % interval of A, 1/s."""
        return self.interval(0.0)

    @property
    def ci_k(self) -> Interval:
        """95 % interval of k, 1/tick."""
        low, high = self.uncertainty.offsets((0.0, 1.0))
        return self.k + low, self.k + high

    @property
    def aic(self) -> float:
        """Akaike's criterion of the two-parameter model."""
        return 4.0 - 2.0 * self.loglik

    def intensity(self, delta: float) -> float:
        """lambda at a distance in ticks, 1/s."""
        return self.A * math.exp(-self.k * delta)

    def rates(self, delta: Floats) -> Floats:
        """lambda at distances in ticks, shape (n,), 1/s."""
        rates = np.asarray(self.A * np.exp(np.minimum(-self.k * delta, 700.0)), dtype=np.float64)
        return rates if self.through is None else np.where(delta < 0, self.through, rates)

    def se_log_intensity(self, delta: float) -> float:
        """Standard error of log lambda(delta): a - k delta has variance Vaa - 2 d Vak + d^2 Vkk."""
        return math.sqrt(self.uncertainty.variance((1.0, -delta)))

    def interval(self, delta: float) -> Interval:
        """95 % interval of lambda at a distance in ticks, 1/s."""
        low, high = self.uncertainty.offsets((1.0, -delta))
        level = self.intensity(delta)
        return level * math.exp(low), level * math.exp(high)

    def _repr_html_(self) -> str:
        rows = [
            ("A", self.A, self.ci_A, "1/s"),
            ("k", self.k, self.ci_k, "1/tick"),
            (
                f"λ at δ* = {self.delta_star:.2f} ticks",
                self.intensity(self.delta_star),
                self.interval(self.delta_star),
                "1/s",
            ),
        ]
        shown = [(n, rounded(x, low, high), span(low, high), u) for n, x, (low, high), u in rows]
        kind = {
            "group": f"robust over {self.n_blocks} runs that do not overlap",
            "block": f"robust over {self.n_blocks} blocks",
            "memory": f"robust over {self.n_blocks} blocks, and wider as the log is shorter than "
            "its own memory",
            "wald": "Wald",
            "none": "none",
        }
        return html(
            Table((self.method, "estimate", "95 % interval", "unit"), shown),
            f"{self.n_events:,} events in {self.exposure_s:,.1f} s of exposure; interval: "
            f"{kind[self.se_type]}.",
        )


def fit_cells(cells: Cells) -> Fit:
    """Maximum likelihood by what the cells hold: draws, or exposure in continuous time."""
    return fit_poisson(cells) if cells.dt_ms is None else fit_trials(cells)


def fit_poisson(cells: Cells) -> Fit:
    """Maximum likelihood of an inhomogeneous Poisson process with exposure T(delta).

    Maximises sum N (a - k d) - sum T exp(a - k d). k is the root of
    sum N d / sum N = sum T d e^(-k d) / sum T e^(-k d), whose right side falls in k; then
    A = sum N / sum T e^(-k d). Equals a Poisson GLM with log link and exposure T.

    Raises EstimateError (``no_events``; ``no_mle``: mean fill distance not strictly inside the
    range of distances with exposure).
    """
    delta, exposure, events = cells.delta, cells.exposure_s, cells.events.astype(np.float64)
    k = decay_rate(delta, exposure, events)
    n = float(events.sum())
    a = math.log(n) - log_weight(k, delta, exposure)
    if abs(a) > _LOG_LARGEST:
        raise EstimateError(
            "no_mle",
            f"A = exp({a:.0f}) is no number that means anything: the distances quoted are too "
            "near each other to extrapolate to mid",
        )
    mu = exposure * np.exp(np.minimum(a - k * delta, 700.0))
    wald, delta_star = information_inverse(mu, delta)
    score = np.column_stack([events - mu, -(events - mu) * delta])
    return Fit(
        method="poisson_mle",
        A=math.exp(a),
        k=k,
        uncertainty=robust_by_block(wald, score, cells.block, cells.group),
        wald=as_tuple(wald),
        delta_star=delta_star,
        n_events=int(n),
        exposure_s=float(cells.exposure_ms.sum()) / 1000.0,
        loglik=float((events * (a - k * delta)).sum() - mu.sum()),
    )


def fit_trials(cells: Cells) -> Fit:
    """Maximum likelihood of per-tick draws, p = 1 - exp(-lambda(delta) dt) in each state row.

    A binomial model with complementary log-log link (McCullagh & Nelder 1989, section 4.3),
    concave in (a, k); Fisher scoring with step halving.

    Raises EstimateError as :func:`fit_poisson`, ValueError for cells in continuous time.
    """
    delta, trials = cells.delta, cells.trials
    dt_s = float(cells.dt_ms or 0.0) / 1000.0
    events = cells.events.astype(np.float64)
    k = decay_rate(delta, trials * dt_s, events)
    start = math.log(float(events.sum())) - log_weight(k, delta, trials * dt_s)
    theta = np.array([start, k])
    design = np.column_stack([np.ones_like(delta), -delta])

    def loglik(parameters: Floats) -> float:
        hazard = np.exp(np.minimum(design @ parameters, 700.0)) * dt_s
        hit = np.log(-np.expm1(-hazard), where=events > 0, out=np.zeros_like(hazard))
        return float((events * hit).sum() - ((trials - events) * hazard).sum())

    best = loglik(theta)
    for _ in range(100):
        score, weight = _trial_score(design @ theta, trials, events, dt_s)
        step = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ score)
        while loglik(theta + step) < best - 1e-9 * abs(best) and np.abs(step).max() > 1e-14:
            step = step / 2.0
        theta = theta + step
        best = loglik(theta)
        if np.abs(step).max() <= 1e-13 * max(1.0, float(np.abs(theta).max())):
            break
    score, weight = _trial_score(design @ theta, trials, events, dt_s)
    wald, delta_star = information_inverse(weight, delta)
    return Fit(
        method="trial_mle",
        A=float(np.exp(theta[0])),
        k=float(theta[1]),
        uncertainty=robust_by_block(wald, score[:, None] * design, cells.block, cells.group),
        wald=as_tuple(wald),
        delta_star=delta_star,
        n_events=int(events.sum()),
        exposure_s=float(trials.sum()) * dt_s,
        loglik=best,
    )


def _trial_score(
    log_intensity: Floats, trials: Floats, events: Floats, dt_s: float
) -> tuple[Floats, Floats]:
    """Derivative of the log-likelihood in log lambda, and its expected information, by cell."""
    hazard = np.exp(log_intensity) * dt_s
    hit = hazard / np.expm1(hazard)
    return events * hit - (trials - events) * hazard, trials * hazard * hit


def upper_limit(exposure_s: float) -> float:
    """One-sided 95 % upper limit of a rate after no event in ``exposure_s``: 2.996/T, 1/s.

    exp(-lambda T) = 0.05.
    """
    return -math.log(1.0 - LEVEL) / exposure_s if exposure_s > 0 else math.inf
