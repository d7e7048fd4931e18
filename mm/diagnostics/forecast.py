"""Scores of a forecast of fills, as CSEP defines them for earthquakes.

Counts N_i of bins i are held against expected numbers E_i that were known before. Schorlemmer,
Gerstenberger, Wiemer, Jackson & Rhoades (2007), "Earthquake likelihood model testing", Seismol.
Res. Lett. 78; Zechar, Gerstenberger & Rhoades (2010), "Likelihood-based tests for evaluating
space-rate-magnitude earthquake forecasts", Bull. Seismol. Soc. Am. 100; Rhoades et al. (2011),
"Efficient testing of earthquake forecasting models", Acta Geophys. 59.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints

#: An expected number below is taken for this one: a fill where none was possible costs much, and
#: not everything.
_LEAST = 1e-12
_SIMULATED = 500


def gain(seen: Floats, expected: Floats, reference: Floats) -> float:
    """sum N log(E/R) - (E - R): Poisson log-likelihood above that of a reference, arrays of shape
    (n,). Over sum N it is the information gain per event, Rhoades et al. (2011)."""
    there = seen > 0
    ratio = np.log(np.maximum(expected[there], _LEAST) / np.maximum(reference[there], _LEAST))
    return float((seen[there] * ratio).sum() - expected.sum() + reference.sum())


def number_test(seen: float, expected: float) -> tuple[float, float]:
    """P(X >= N) and P(X <= N) of X ~ Poisson(E): the quantiles delta1 and delta2 of the N-test,
    Zechar et al. (2010). It fails at 5 % where one is below 0.025."""
    at_least = 1.0 - (float(special.pdtr(seen - 1, expected)) if seen > 0 else 0.0)
    return at_least, float(special.pdtr(seen, expected))


def space_test(seen: Floats, expected: Floats, rng: np.random.Generator) -> float:
    """Share of simulated counts that are no likelier than those seen, given their sum: quantile
    zeta of the S-test, Zechar et al. (2010). It fails at 5 % where it is not above 0.05.
    Where bins are of distance only, it is the conditional likelihood test as well."""
    share = np.maximum(expected, _LEAST) / np.maximum(expected, _LEAST).sum()
    drawn = rng.multinomial(int(seen.sum()), share, size=_SIMULATED)

    def loglik(counts: Floats | Ints) -> Floats:
        return np.asarray((counts * np.log(share) - special.gammaln(counts + 1.0)).sum(axis=-1))

    # counts alike in another order of summation must not be told apart
    return float((loglik(drawn) <= loglik(seen) + 1e-9).mean())
