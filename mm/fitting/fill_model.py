"""The consumer's rule, and the round trip: do parameters give back the fills they came from?

A backtester with ``FILL_MODEL=poisson`` draws once a state row for each resting order, with
p = 1 - exp(-A exp(-k |price - mid| / tick_size) dt), and fills the whole order.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, sums_by
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Sums
from mm.exposure.distance import PARTS_PER_TICK, buckets


@dataclass(frozen=True)
class PoissonFillModel:
    """Parameters as a backtester loads them: A in 1/s, k in 1/tick, dt_ms, tick_size."""

    A: float
    k: float
    dt_ms: int
    tick_size: float

    def probability(self, delta: Floats) -> Floats:
        """Probability of a fill in one draw at |delta| ticks of ``tick_size``."""
        hazard = self.A * np.exp(np.minimum(-self.k * np.abs(delta), 700.0)) * (self.dt_ms / 1000.0)
        return np.asarray(-np.expm1(-hazard), dtype=np.float64)


@dataclass(frozen=True)
class RoundTrip:
    """First fills that a model predicts on the observed quotes and mid path, and those observed.

    ``bucket``: whole ticks of |delta|; ``predicted``, ``observed``: fills, shape (n,).
    ``variance``: of the predicted total, sum p (1 - p).
    """

    model: PoissonFillModel
    bucket: Ints
    predicted: Floats
    observed: Ints
    variance: float

    @property
    def total_predicted(self) -> float:
        """Predicted first fills, all distances."""
        return float(self.predicted.sum())

    @property
    def total_observed(self) -> int:
        """Observed first fills, all distances."""
        return int(self.observed.sum())

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{b}</td><td>{p:,.1f}</td><td>{o:,}</td></tr>"
            for b, p, o in zip(self.bucket, self.predicted, self.observed, strict=True)
        )
        total = f"<tr><th>all</th><th>{self.total_predicted:,.1f}</th>"
        return (
            "<table><thead><tr><th>δ bucket (ticks)</th><th>predicted</th><th>observed</th></tr>"
            f"</thead><tbody>{body}{total}<th>{self.total_observed:,}</th></tr></tbody></table>"
            f"<p>{html.escape(str(self.model))}</p>"
        )


@dataclass(frozen=True)
class Draws:
    """What any model is judged on: how often it would have drawn at which distance, and what was
    filled.

    ``delta``: distances |price - mid|, ticks of ``tick_size``, shape (n,); ``rows``: state rows of
    resting orders at each. ``bucket``: whole ticks, shape (m,); ``of``: the bucket of each
    distance, ``observed``: first fills in each bucket.
    """

    delta: Floats
    rows: Ints
    bucket: Ints
    of: Ints
    observed: Ints
    tick_size: float

    @classmethod
    def of_log(cls, exposure: Exposure, trials: Sums) -> Draws:
        """From the accounting and its sums of state rows at risk, ``mm.exposure.trials``."""
        parts, of = np.unique(np.abs(trials.parts), return_inverse=True)
        delta = parts / PARTS_PER_TICK
        rows = sums_by(of, trials.values[:, 0], len(parts)).astype(np.int64)
        seen = buckets(np.abs(exposure.events.delta[~np.isnan(exposure.events.delta)]))
        drawn = buckets(delta)
        labels = np.unique(np.concatenate([drawn, seen]))
        observed = np.bincount(np.searchsorted(labels, seen), minlength=len(labels))
        at = np.searchsorted(labels, drawn)
        return cls(delta, rows, labels, at, observed, exposure.tick_size)

    def probability(self, model: PoissonFillModel) -> Floats:
        """Probability of a fill in one draw at each distance; the model's tick size may differ."""
        return model.probability(self.delta * (self.tick_size / model.tick_size))


def seeded_draws(draws: Draws, model: PoissonFillModel, seeds: int = 20) -> Floats:
    """Totals of simulated fills, one a seed: every row drawn once with the emitted dt_ms.

    Orders stay at risk up to their observed fill, as in :func:`round_trip`, so that the mean of
    the totals is its prediction. Rows at one distance have one p: their fills are drawn together,
    as a binomial number. Shape (seeds,).
    """
    p = draws.probability(model)
    totals = [int(np.random.default_rng(s).binomial(draws.rows, p).sum()) for s in range(seeds)]
    return np.array(totals, dtype=np.float64)


def round_trip(draws: Draws, model: PoissonFillModel) -> RoundTrip:
    """Predicted against observed first fills, by distance and in total.

    Each order is at risk in its own state rows up to its observed fill, so the prediction is the
    plain sum of p: stopping at a first simulated success would count each order's risk twice.
    """
    p = draws.probability(model)
    predicted = sums_by(draws.of, draws.rows * p, len(draws.bucket))
    variance = float((draws.rows * (p * (1.0 - p))).sum())
    return RoundTrip(model, draws.bucket, predicted, draws.observed, variance)


def off_by_distance(trip: RoundTrip, ratio: float, share: float, p: float) -> list[int]:
    """Positions of the buckets in which a model is off, the worst first: by more than ``ratio`` of
    what was observed, where at least ``share`` of the fills are or should be, and by more than
    chance gives once in 1/p such tables."""
    total = max(trip.total_observed, 1), max(trip.total_predicted, 1e-12)
    shares = np.maximum(trip.observed / total[0], trip.predicted / total[1])
    looked_at = np.flatnonzero(shares >= share)
    seen, mu = trip.observed[looked_at], trip.predicted[looked_at]
    # Both tails of Poisson counts: draws are less uncertain yet, so this warns too rarely.
    above = np.where(seen > 0, special.pdtrc(np.maximum(seen - 1, 0), mu), 1.0)
    chance = 2.0 * np.minimum(special.pdtr(seen, mu), above) * len(looked_at)
    wrong = (np.abs(mu - seen) > ratio * seen) & (chance < p)
    pulls = np.abs(mu - seen) / np.sqrt(np.maximum(mu, 1e-12))
    order = np.argsort(-pulls[wrong], kind="stable")
    return [int(at) for at in looked_at[wrong][order]]
