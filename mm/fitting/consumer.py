"""A and k for a consumer that knows only |delta|: the candidates, and which one is emitted.

The consumer draws at A exp(-k |price - mid|) whatever side of mid the quote is on, so no A and k
describe both how fills fall with the distance at the fill and how many orders placed at a distance
fill: what mid runs through, or comes back to, fills otherwise than what rests where it was placed.

- ``absolute_mle``: maximum likelihood on |delta|; right by the distance at the fill.
- ``passive_mle``: maximum likelihood on quotes on their own side of mid.
- ``placement``: sum_i (N_i - Lambda_i) (1, d_i) = 0, d_i the distance at which order i was placed
  and Lambda_i the integral of lambda along its path; right by placement distance.
- ``blend``: the same with x_i(t) = (1 - w) |delta_i(t)| + w d_i in place of d_i, w = 1/3.

All are unbiased martingale estimating equations, integral of x (dN - lambda dt) = 0, of the same
model (Andersen, Borgan, Gill & Keiding 1993, section VI.1.2); they differ in what they get right
where the model does not hold. ``benchmarks/forecast.py`` compares them; docs/trust.md has the
table, and the losses of the one that is emitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, sums_by
from mm.core.errors import EstimateError
from mm.exposure.cells import Cells
from mm.exposure.segments import UNKNOWN
from mm.fitting.covariance import as_tuple, robust_by_block
from mm.fitting.fit import Fit, Method, fit_poisson

#: Weight of the placement distance. From held-out fifths, halves and order policies of real logs:
#: the largest third that loses nothing by the distance at the fill (0.4 does, on 60 s dwells).
BLEND = 1.0 / 3.0
#: k is looked for between these multiples of the maximum likelihood's.
_SCAN = np.concatenate([np.linspace(0.02, 4.0, 100), np.linspace(4.5, 20.0, 32)])


def fit_by_placement(cells: Cells, weight: float, method: Method) -> Fit:
    """Solve sum_cells (N - T A e^(-k delta)) (1, x) = 0 for x = (1 - weight) delta + weight level.

    k is the root of sum N x / sum N = sum T x e^(-k delta) / sum T e^(-k delta), then
    A = sum N / sum T e^(-k delta). With mu = T A e^(-k delta), H = sum mu (1, x)(1, -delta)' and
    block scores U_b = sum (N - mu) (1, x), the covariance is H^-1 (sum U_b U_b') H^-T B/(B-1).
    ``weight`` 0 is the maximum likelihood of |delta|.

    Parameters
    ----------
    cells : |delta| with the levels at which orders were placed. Orders of unknown level count
        with their distance.
    weight : between 0 and 1.
    method : name that the fit carries.

    Raises EstimateError (``no_events``, ``no_mle``) where the maximum likelihood does not exist,
    or no single root with k > 0 does.
    """
    start = fit_poisson(cells)
    delta, exposure, events = cells.delta, cells.exposure_s, cells.events.astype(np.float64)
    level = delta if cells.level is None else cells.level.astype(np.float64)
    placed = np.where(level == UNKNOWN, delta, level)
    x = (1.0 - weight) * delta + weight * placed
    n = float(events.sum())
    target = float((events * x).sum()) / n
    # The sums over all blocks and sides are enough to look for k.
    pooled_delta, pooled_x, pooled = _by_pair(delta, x, exposure)

    def gap(k: float) -> float:
        w = _weights(k, pooled_delta, pooled)
        return float((w * pooled_x).sum() / w.sum()) - target

    scale = abs(start.k) if start.k else 1.0 / max(float(delta.max()), 1e-9)
    k = _only_root(gap, scale * _SCAN)
    if k is None:
        raise EstimateError("no_mle", f"the {method} equation has no single root with k > 0")
    w = _weights(k, delta, exposure)
    log_a = math.log(n) - math.log(float(w.sum())) + k * float(delta[exposure > 0].min())
    mu = n * w / w.sum()
    score = np.column_stack([events - mu, (events - mu) * x])
    slope = np.array([[mu.sum(), -(mu * delta).sum()], [(mu * x).sum(), -(mu * delta * x).sum()]])
    inverse = np.linalg.inv(slope)
    second = np.array([[mu.sum(), (mu * x).sum()], [(mu * x).sum(), (mu * x * x).sum()]])
    model_based = inverse @ second @ inverse.T
    return Fit(
        method=method,
        A=math.exp(log_a),
        k=k,
        uncertainty=robust_by_block(model_based, score, cells.block, cells.group, inverse.T),
        wald=as_tuple(model_based),
        delta_star=float((mu * delta).sum() / mu.sum()),
        n_events=int(n),
        exposure_s=float(cells.exposure_ms.sum()) / 1000.0,
        loglik=float((events * (log_a - k * delta)).sum() - mu.sum()),
    )


def _by_pair(one: Floats, other: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """The pairs that there are, and the sum of values in each."""
    # Hashed: of millions of values a few are different.
    (i, first), (j, second) = (pd.factorize(column, sort=True) for column in (one, other))
    of, pairs = pd.factorize(i.astype(np.int64) * len(second) + j, sort=True)
    at, beside = np.divmod(pairs, len(second))
    return first[at], second[beside], sums_by(of, values, len(pairs))


def _weights(k: float, delta: Floats, exposure: Floats) -> Floats:
    """T exp(-k (delta - nearest)): proportional to expected events, without overflow."""
    nearest = float(delta[exposure > 0].min())
    return np.asarray(exposure * np.exp(np.minimum(-k * (delta - nearest), 700.0)))


def _only_root(gap: Callable[[float], float], at: Floats) -> float | None:
    """The root of a falling function between these points, None where it has none or several."""
    values = np.array([gap(float(k)) for k in at])
    falls = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    crosses = np.count_nonzero(np.diff(values > 0))
    if len(falls) != 1 or crosses != 1:
        return None
    # Halved to the last digit: scipy.optimize takes longer to import.
    low, high = float(at[falls[0]]), float(at[falls[0] + 1])
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return high


def by_placement(cells: Cells) -> dict[str, Fit]:
    """``placement`` and ``blend`` where they exist; ``cells`` as :func:`fit_by_placement`."""
    found: dict[str, Fit] = {}
    methods: dict[Method, float] = {"placement": 1.0, "blend": BLEND}
    for name, weight in methods.items():
        with suppress(EstimateError):  # on this log it does not exist
            found[name] = fit_by_placement(cells, weight, name)
    return found
