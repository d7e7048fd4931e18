"""The consumer's rule, and the round trip: do parameters give back the fills they came from?

A backtester with ``FILL_MODEL=poisson`` draws once a state row for each resting order, with
p = 1 - exp(-A exp(-k |price - mid| / tick_size) dt), and fills the whole order.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np

from mm.arrays import Floats, Ints, sums_by
from mm.distance import buckets
from mm.exposure import Exposure
from mm.trials import RowsAtRisk


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


def seeded_draws(
    exposure: Exposure, rows: RowsAtRisk, model: PoissonFillModel, seeds: int = 20
) -> Floats:
    """Totals of simulated fills, one a seed: every row drawn once with the emitted dt_ms.

    Orders stay at risk up to their observed fill, as in :func:`round_trip`, so that the mean of
    the totals is its prediction. Shape (seeds,).
    """
    p = model.probability(rows.delta * (exposure.tick_size / model.tick_size))
    totals = [
        int(np.count_nonzero(np.random.default_rng(seed).random(len(p)) < p))
        for seed in range(seeds)
    ]
    return np.array(totals, dtype=np.float64)


def round_trip(exposure: Exposure, rows: RowsAtRisk, model: PoissonFillModel) -> RoundTrip:
    """Predicted against observed first fills, by distance and in total.

    Each order is at risk in its own state rows up to its observed fill, so the prediction is the
    plain sum of p: stopping at a first simulated success would count each order's risk twice.

    Parameters
    ----------
    exposure : the accounting the rows come from.
    rows : state rows at risk.
    model : the parameters to judge; their tick size may differ from the accounting's.
    """
    scale = exposure.tick_size / model.tick_size
    p = model.probability(rows.delta * scale)
    seen = np.abs(exposure.events.delta[~np.isnan(exposure.events.delta)])
    of_row, of_event = buckets(np.abs(rows.delta)), buckets(seen)
    labels = np.unique(np.concatenate([of_row, of_event]))
    at = np.searchsorted(labels, of_row)
    predicted = sums_by(at, p, len(labels))
    observed = np.bincount(np.searchsorted(labels, of_event), minlength=len(labels))
    return RoundTrip(model, labels, predicted, observed, float((p * (1.0 - p)).sum()))
