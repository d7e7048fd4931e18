"""Rules on the estimate: is there one, and do level and shape hold?

A warning needs both: a size that matters, and more than chance gives. Thresholds are settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.replay import ReplayRows
from mm.diagnostics.verdict import Finding
from mm.fitting.estimate import Estimate


def of_estimate(estimate: Estimate, fill_rows: int, settings: Settings) -> Iterator[Finding]:
    """What is refused: no estimate, no decay, too few events. ``fill_rows``: of the log, used or
    not."""
    if estimate.fit is None:
        yield _no_estimate(estimate, fill_rows)
        return
    k = (estimate.emitted or estimate.fit).k
    if k <= 0:
        yield Finding(
            "refused",
            "k_not_positive",
            f"k = {k:.4g} /tick: fills do not get rarer with distance",
            "The distances quoted are too near each other, or mid ran through most quotes",
            "Quote over a wider range",
            k,
            "above 0",
        )
    if estimate.n_events < settings.MIN_FILLS:
        yield Finding(
            "refused",
            "few_fills",
            f"{estimate.n_events} fills, fewer than MIN_FILLS = {settings.MIN_FILLS}",
            "The log is short or quotes were far from mid",
            "Pool more runs, or quote nearer",
            float(estimate.n_events),
            f"at least {settings.MIN_FILLS}",
        )


def _no_estimate(estimate: Estimate, fill_rows: int) -> Finding:
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
            else f", and no exposure in range: {_where_quoted(estimate)}"
        )
        if not fill_rows:
            return Finding(
                "refused",
                error.code,
                f"no order was filled{limit}",
                "Quotes were too far from mid, or the log is short",
                "Quote nearer, or pool more runs",
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
    ours = found.replay
    if not ours.observed or not ours.total.off(settings.WARN_RATIO, 0.0, settings.WARN_P, 0):
        return
    what = f"Replay: the parameters give {ours.given:,.0f} fills, {ours.observed:,} were observed"
    outside = ours.observed - estimate.n_events
    if outside > settings.WARN_FILL_SHARE * ours.observed:
        cause = (
            f"{outside:,} of the fills came outside MIN_DELTA_TICKS..MAX_DELTA_TICKS, where the "
            "parameters are extrapolated"
        )
        todo = "Widen the range, or quote inside it only"
    elif estimate.emitted is not None and estimate.emitted.method == "log_linear":
        cause = "FIT_METHOD=log_linear is the old notebook's fit, whose level does not hold"
        todo = "Leave FIT_METHOD at blend"
    elif estimate.dt_given:
        cause = "dt_ms is not the time between state rows, or λ·dt is large"
        todo = "Leave POISSON_DT_MS unset; look at the replay by distance"
    else:
        cause = (
            "λ times the distance of state rows is large: quotes fill before a next row comes, and "
            "one draw a row can't follow"
        )
        todo = "Log state rows more often; look at the replay by distance"
    threshold = f"off by more than {settings.WARN_RATIO:.0%}"
    yield Finding("warn", "level", what, cause, todo, ours.ratio, threshold)


def of_shape(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Do the parameters give back the fills at each distance, and is k known at all?"""
    fit = estimate.emitted
    assert fit is not None
    limits = (settings.WARN_RATIO, settings.WARN_FILL_SHARE, settings.WARN_P)
    tables = [rows.merged() for rows in (found.replay.by_placement, found.replay.by_fill)]
    wrong = [(rows, rows.off(*limits)) for rows in tables]
    told = next(((rows, at[0]) for rows, at in wrong if at), None)
    if told is not None:
        yield _misfit(*told, sum(len(at) for _, at in wrong), settings)
    else:
        yield from _of_exponential(found, settings)
    low, _ = fit.ci_k
    if fit.k > 0 and low <= 0:
        yield Finding(
            "warn",
            "k_unknown",
            f"k = {fit.k:.3g} /tick can't be told from 0 (95 % interval from {low:.3g})",
            "Too few fills, too narrow a range of distances, or fills that know no distance",
            "Pool more runs, or quote over a wider range",
            low,
            "interval of k above 0",
        )


def _misfit(rows: ReplayRows, i: int, n: int, settings: Settings) -> Finding:
    low, high = (int(end[i]) for end in rows.interval)
    where = f"{rows.low[i]:g} to {rows.high[i]:g} ticks"
    of = "orders placed at" if rows.by == "placement" else "fills at δ of"
    more = f"; {n - 1} more row{'s are' if n > 2 else ' is'} off" if n > 1 else ""
    return Finding(
        "warn",
        "shape",
        f"Replay, {of} {where}: {rows.observed[i]:,} filled, the parameters give "
        f"{rows.given[i]:,.0f} ({low} to {high} would be chance){more}",
        "One A and k of |δ| can't follow how fills fall with distance on this log",
        "Read the replay by distance: a backtester fills what was given, the market what was "
        "observed",
        float(rows.ratio[i]),
        f"given over observed off by more than {settings.WARN_RATIO:.0%}",
    )


def _of_exponential(found: Diagnostics, settings: Settings) -> Iterator[Finding]:
    """The intensity that is shown, where the parameters hold all the same."""
    pearson = found.pearson
    if pearson.p >= settings.WARN_P or not len(pearson.residuals):
        return
    i = int(np.argmax(np.abs(pearson.residuals)))
    yield Finding(
        "note",
        "exponential",
        f"At δ {pearson.low[i]:g} to {pearson.high[i]:g} ticks there were {pearson.observed[i]:,} "
        f"fills where A·e^(−kδ) expects {pearson.expected[i]:,.0f} (Pearson X² = "
        f"{pearson.x2:.1f} on {pearson.dof}); the parameters hold in the replay",
        number=pearson.p,
        threshold=f"p below {settings.WARN_P:g}",
    )


def of_use(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Where the consumer's rule itself will not do what the log did."""
    fraction = found.fill_fraction
    if fraction.eventual < settings.WARN_FILL_FRACTION or fraction.first < fraction.eventual - 0.1:
        yield Finding(
            "note",
            "fill_fraction",
            f"Filled orders got {fraction.first:.0%} of their quantity at the first fill, "
            f"{fraction.eventual:.0%} in the end; the consumer fills all of it at once, so that "
            f"its filled quantity is {1.0 / fraction.eventual - 1.0:.0%} too high",
            "Orders are large against the trades that fill them",
            f"Scale the consumer's order size by {fraction.eventual:.2f}",
            fraction.eventual,
            f"below {settings.WARN_FILL_FRACTION:.0%}",
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
            sides.ratio,
            f"off by more than {settings.WARN_RATIO:.0%} and 3.5 standard errors",
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
