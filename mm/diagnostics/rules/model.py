"""Rules on the estimate: is there one, and do level and shape hold?

A warning needs both: a size that matters, and more than chance gives. Thresholds are settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mm.core.formatting import p_value
from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.verdict import Finding
from mm.fitting.estimate import Estimate

#: The power law must be this much likelier (AIC) before it counts against the exponential:
#: chance alone gives it in about 1 of 300 logs.
_AIC_LIMIT = 6.0
_LOOK = "Look at the empirical intensity and the passive fit; quote over a wider range"
_NARROW = "Narrow MIN_DELTA_TICKS..MAX_DELTA_TICKS to the distances you will quote"


def of_estimate(estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """What is refused: no estimate, no decay, too few events."""
    if estimate.fit is None:
        yield _no_estimate(estimate)
        return
    if estimate.fit.k <= 0:
        yield Finding(
            "refused",
            "k_not_positive",
            f"k = {estimate.fit.k:.4g} /tick: fills do not get rarer with distance",
            "Quotes were run through by mid, or the distances quoted are too near each other",
            _LOOK,
        )
    if estimate.n_events < settings.MIN_FILLS:
        yield Finding(
            "refused",
            "few_fills",
            f"{estimate.n_events} fills, fewer than MIN_FILLS = {settings.MIN_FILLS}",
            "The log is short or quotes were far from mid",
            "Pool more runs, or quote nearer",
        )


def _no_estimate(estimate: Estimate) -> Finding:
    error = estimate.refusal
    assert error is not None
    if error.code == "dt_unknown":
        return Finding(
            "refused",
            error.code,
            str(error),
            "One draw a state row says nothing about the time it stood for",
            "Set POISSON_DT_MS to the dt_ms of the run that made the log",
        )
    if error.code == "no_events":
        limit = (
            f"; λ ≤ 2.996/ΣT = {estimate.upper_limit:.3g} /s (one-sided 95 %, "
            f"ΣT = {estimate.exposure_s:,.1f} s)"
            if estimate.exposure_s > 0
            else f", and no exposure there: {_where_quoted(estimate)}"
        )
        return Finding(
            "refused",
            error.code,
            f"{error}{limit}",
            "Quotes were too far from mid, or outside MIN_DELTA_TICKS..MAX_DELTA_TICKS",
            "Quote nearer, or widen the range",
        )
    return Finding(
        "refused",
        error.code,
        str(error),
        "Quotes rested at one distance only, or all fills came at its edge",
        "Quote at several distances, or pool runs that did",
    )


def _where_quoted(estimate: Estimate) -> str:
    if estimate.quoted is None:
        return "nothing rested while the mid was known"
    near, middle, far = (f"{ticks:,.4g}" for ticks in estimate.quoted)
    return f"quotes rested {near} to {far} ticks from mid, half of the time beyond {middle}"


def of_level(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Do the parameters, in the consumer's rule, give back as many fills as there were?"""
    trip = found.trip
    if not trip.total_observed:
        return
    ratio = trip.total_predicted / trip.total_observed
    if abs(ratio - 1.0) <= settings.WARN_RATIO:
        return
    what = (
        f"Round trip: {trip.total_predicted:,.0f} fills predicted, {trip.total_observed:,} observed"
    )
    outside = trip.total_observed - estimate.n_events
    if outside > settings.WARN_FILL_SHARE * trip.total_observed:
        yield Finding(
            "warn",
            "level",
            what,
            f"{outside:,} of the fills came outside MIN_DELTA_TICKS..MAX_DELTA_TICKS, where the "
            "parameters are extrapolated",
            "Widen the range, or quote inside it only",
        )
        return
    if estimate.fit is not None and estimate.fit.method == "log_linear":
        cause = "FIT_METHOD=log_linear is the old notebook's fit, whose level does not hold"
        todo = "Leave FIT_METHOD at poisson_mle"
    elif estimate.dt_given:
        cause = "dt_ms is not the time between state rows, or λ·dt is large"
        todo = "Leave POISSON_DT_MS unset; look at the round trip by distance"
    else:
        cause = (
            "λ times the distance of state rows is large: quotes fill before a next row comes, and "
            "one draw a row can't follow"
        )
        todo = "Log state rows more often; look at the round trip by distance"
    yield Finding("warn", "level", what, cause, todo)


def of_shape(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Does λ fall exponentially, and is k known at all?"""
    fit = estimate.fit
    assert fit is not None
    pearson = found.pearson
    share = pearson.observed / max(int(pearson.observed.sum()), 1)
    expected_share = pearson.expected / max(float(pearson.expected.sum()), 1e-12)
    misfits = [
        (abs(pearson.pulls[i]), i)
        for i in range(len(share))
        if abs(pearson.ratio[i] - 1.0) > settings.WARN_RATIO
        and max(share[i], expected_share[i]) >= settings.WARN_FILL_SHARE
    ]
    wrong = bool(misfits) and pearson.p < settings.WARN_P
    if wrong:
        _, i = max(misfits)
        chance = p_value(pearson.p, "= ")
        yield Finding(
            "warn",
            "shape",
            f"At δ {pearson.low[i]:g} to {pearson.high[i]:g} ticks there were "
            f"{pearson.observed[i]:,} fills where the fit expects {pearson.expected[i]:,.0f} "
            f"(Pearson X² = {pearson.x2:.1f} on {pearson.dof}, p {chance})",
            "λ does not fall exponentially over the distances quoted",
            _LOOK if fit.k <= 0 else _narrower(found, float(pearson.low[i])),
        )
    power = found.power
    if power is not None and power.delta_aic > _AIC_LIMIT and not wrong:
        ratio, delta = _power_against_fit(found, estimate)
        if off(ratio, settings):
            yield Finding(
                "warn",
                "power_law",
                f"At {delta:g} ticks a power law, which fits better (AIC by "
                f"{power.delta_aic:.1f}), expects {ratio:.2f} times the fills of this fit",
                "λ falls fast near mid and slowly far from it",
                _NARROW,
            )
    low, _ = fit.ci_k
    if fit.k > 0 and low <= 0:
        yield Finding(
            "warn",
            "k_unknown",
            f"k = {fit.k:.3g} /tick can't be told from 0 (95 % interval from {low:.3g})",
            "Too few fills, too narrow a range of distances, or fills that know no distance",
            "Pool more runs, or quote over a wider range",
        )


def _narrower(found: Diagnostics, wrong_at: float) -> str:
    """What to do about a wrong shape, with the distances over which it is right."""
    if found.usable is None or found.usable[0] <= wrong_at < found.usable[1]:
        return _NARROW
    return f"{_NARROW}; this fit holds from {found.usable[0]:g} to {found.usable[1]:g} ticks"


def _power_against_fit(found: Diagnostics, estimate: Estimate) -> tuple[float, float]:
    """The power law over the fit where they differ most among quoted distances, and where."""
    assert estimate.fit is not None
    assert found.power is not None
    quoted = np.array([row.delta for row in found.rates.rows if row.quoted])
    if not quoted.size:
        return 1.0, 0.0
    ratios = found.power.rates(quoted) / estimate.fit.rates(quoted)
    worst = int(np.argmax(np.abs(np.log(ratios))))
    return float(ratios[worst]), float(quoted[worst])


def of_use(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Where the consumer's rule itself will not do what the log did."""
    fraction = found.fill_fraction
    if fraction.first < settings.WARN_FILL_FRACTION:
        yield Finding(
            "warn",
            "fill_fraction",
            f"Filled orders got {fraction.first:.0%} of their quantity at the first fill "
            f"({fraction.eventual:.0%} in the end); the consumer fills all of it at once: its "
            f"inventory moves {1.0 / fraction.first:.2g} times as far",
            "Orders are large against the trades that fill them",
            f"Scale the consumer's order size by {fraction.first:.2g}, or expect inventory to move "
            "too fast",
        )
    if found.passive_share < settings.WARN_PASSIVE_SHARE:
        yield Finding(
            "warn",
            "passive_share",
            f"{1 - found.passive_share:.0%} of the fills came after mid had run through the quote",
            "At |δ| such quotes look like passive ones, but they fill at once",
            "Compare the passive fit; DISTANCE=signed makes it the headline",
        )
    sides = found.sides
    if off(sides.ratio, settings) and abs(sides.z) > 3.5:
        yield Finding(
            "warn",
            "sides",
            f"BUY quotes filled {sides.ratio:.2f} times as often as SELL quotes at "
            f"{sides.delta:.1f} ticks",
            "The market trended, or one side was quoted differently",
            "Pool logs over both directions; A and k are an average of the sides",
        )
    if found.firth is not None:
        A, k = found.firth
        yield Finding(
            "note",
            "sparse",
            f"{estimate.n_events} fills are few: with Firth's correction A = {A:.3g} /s and "
            f"k = {k:.3g} /tick",
        )


def off(ratio: float, settings: Settings) -> bool:
    """Whether a ratio is off by a size that matters, either way."""
    return bool(ratio > 0 and abs(math.log(ratio)) > math.log1p(settings.WARN_RATIO))
