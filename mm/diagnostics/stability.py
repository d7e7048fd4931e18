"""Does lambda hold over time? Rescaled time, halves, blocks, and fills that the fit never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, sums_by
from mm.core.errors import EstimateError
from mm.diagnostics.time_at_risk import Risk
from mm.diagnostics.time_rescaling import Clock
from mm.fitting.fit import Fit

_DRAWS = 400
#: Samples that the gaps are compared with are no longer than this.
_MOST_DRAWN = 5_000
#: Numbers that are drawn at a time.
_AT_A_TIME = 1_000_000
#: Tests that a warning may rest on are two-sided at this level each.
_SMALL = 0.01
#: The fit of the out-of-sample check sees this share of the time.
TRAIN_SHARE = 0.7

_Distance = TypeVar("_Distance", float, Floats)


@dataclass(frozen=True)
class RescaledTime:
    """Gaps between events in units of expected events; independent Exp(1) under the model.

    ``gaps``: shape (n,), in time order. ``ks``: largest distance of their distribution from
    Exp(1), with its bootstrap p-value. ``lag1``: correlation of neighbours' ranks, with p.
    Brown et al. (2002), "The time-rescaling theorem".
    """

    gaps: Floats
    ks: float
    ks_p: float
    lag1: float
    lag1_p: float


@dataclass(frozen=True)
class Halves:
    """Fits of the first and second half of the time at risk; None where a half has none.

    ``ratio``: lambda at ``delta`` in the second half over the first; ``z`` its log over its
    standard error, ``t_limit`` the two-sided 1 % point of t that z is held against.
    """

    first: Fit | None
    second: Fit | None
    delta: float
    ratio: float
    z: float
    t_limit: float


@dataclass(frozen=True)
class OutOfSample:
    """Fills of the last 30 % of the time, predicted by a fit of the first 70 %.

    ``z``: (observed - predicted) over its standard error: the fit's own, and counting noise as
    over-dispersed as the training blocks were. ``t_limit``: its two-sided 1 % point. ``gain``:
    log-likelihood per event over a constant rate, same split.
    """

    predicted: float
    observed: int
    z: float
    t_limit: float
    gain: float


@dataclass(frozen=True)
class Blocks:
    """Events and expected events by time block, in time order. Arrays of shape (b,).

    ``dispersion``: sum (N - mu)^2 / sum mu; 1 under the model, shown with its p-value.
    """

    observed: Floats
    expected: Floats
    dispersion: float
    p: float


def rescaled_time(risk: Risk, fit: Fit, rng: np.random.Generator) -> RescaledTime:
    """Rescale time by the total intensity of all orders at risk, and test the gaps.

    Raises ValueError for a part of a log, whose pieces are not known.
    """
    gaps = _gaps(risk, fit, rng)
    if len(gaps) < 3:
        return RescaledTime(gaps, math.nan, math.nan, math.nan, math.nan)
    gaps = gaps / gaps.mean()
    ks = float(_ks(gaps[None, :])[0])
    n = min(len(gaps), _MOST_DRAWN)
    drawn = rng.exponential(size=(_DRAWS, n))
    drawn /= drawn.mean(axis=1, keepdims=True)
    larger = np.count_nonzero(_comparable(_ks(drawn), n) >= _comparable(ks, len(gaps)))
    ks_p = float((1 + larger) / (_DRAWS + 1))
    ranks = np.empty(len(gaps))
    ranks[np.argsort(gaps, kind="stable")] = np.arange(len(gaps))
    spread = ranks - ranks.mean()
    lag1 = float((spread[1:] * spread[:-1]).sum() / (spread * spread).sum())
    lag1_p = float(2.0 * special.ndtr(-abs(lag1) * math.sqrt(len(gaps))))
    return RescaledTime(gaps, ks, ks_p, lag1, lag1_p)


def _gaps(risk: Risk, fit: Fit, rng: np.random.Generator) -> Floats:
    """Gaps of the events on the rescaled clock, run after run; orders at risk together add up."""
    if risk.pieces is None:
        raise ValueError("a part of a log has no clock")
    clocks: dict[int, Clock] = {}
    for run in risk.runs.tolist():
        times = np.sort(risk.event_ms[risk.event_run == run]).astype(np.float64)
        if risk.dt_ms is not None:
            # A draw is one jump of the clock; an event lies anywhere in it (randomised transform).
            times = np.sort(times - rng.random(len(times)))
        clocks[run] = Clock(times)
    for chunk in risk.pieces.chunks():
        rate = fit.rates(chunk.delta) / 1000.0
        if risk.dt_ms is not None:
            rate = -np.expm1(-rate * risk.dt_ms)
        clocks[chunk.run].add(chunk.start_ms, chunk.stop_ms, rate)
    return np.concatenate([np.zeros(0), *(clock.gaps() for clock in clocks.values())])


def _ks(gaps: Floats) -> Floats:
    """Kolmogorov's distance of each row of gaps, shape (d, n), from Exp(1)."""
    n = gaps.shape[1]
    u = np.sort(gaps, axis=1)
    np.maximum(u, 0.0, out=u)
    np.negative(u, out=u)
    np.expm1(u, out=u)
    u += np.arange(1, n + 1) / n  # how far the distribution's steps end above the exponential
    return np.asarray(np.maximum(u.max(axis=1), 1.0 / n - u.min(axis=1)))


def _comparable(ks: _Distance, n: int) -> _Distance:
    """The distance of n gaps from Exp(1) with their own mean, on a scale that does not depend on n.

    Stephens (1974), "EDF statistics for goodness of fit", table 1.
    """
    return (ks - 0.2 / n) * (math.sqrt(n) + 0.26 + 0.5 / math.sqrt(n))


def halves(risk: Risk, delta: float) -> Halves:
    """Fit both halves of each run's time and compare lambda at ``delta`` ticks."""
    parts = split(risk, 0.5)
    one, two = (_fit_or_none(part) for part in parts)
    if one is None or two is None:
        return Halves(one, two, delta, math.nan, math.nan, math.inf)
    gap = math.log(two.intensity(delta) / one.intensity(delta))
    se = math.hypot(one.se_log_intensity(delta), two.se_log_intensity(delta))
    dof = min(one.n_blocks, two.n_blocks) - 1
    if "wald" in (one.se_type, two.se_type):
        # Too few blocks for a robust error in each: both halves' blocks tell together how much
        # more than counts they vary.
        wider, dof = _spread_within(parts, (one, two))
        se *= wider
    t_limit = float(special.stdtrit(max(dof, 1), 1.0 - _SMALL / 2.0))
    return Halves(one, two, delta, math.exp(gap), gap / se if se > 0 else math.nan, t_limit)


def _spread_within(parts: tuple[Risk, Risk], fits: tuple[Fit, Fit]) -> tuple[float, int]:
    """How much wider than a count's the errors of both parts are, at least 1, by their blocks
    about a fit of each part's own; and its degrees of freedom."""
    x2, dof = 0.0, 0
    for part, fit in zip(parts, fits, strict=True):
        seen, expected = by_blocks(part, fit, 1)
        there = expected > 0
        x2 += float(((seen[there] - expected[there]) ** 2 / expected[there]).sum())
        dof += int(np.count_nonzero(there)) - 1
    return math.sqrt(max(x2 / dof, 1.0)) if dof > 0 else 1.0, dof


def split_ms(risk: Risk, share: float) -> Ints:
    """Where the first share of each run's time at risk ends, ms; shape (runs,)."""
    return np.asarray(risk.begin_ms + np.rint(share * (risk.end_ms - risk.begin_ms)), np.int64)


def split(risk: Risk, share: float) -> tuple[Risk, Risk]:
    """The first share of each run's time at risk and the rest."""
    times = split_ms(risk, share)
    cut = risk.cut_at(times)

    def of(run: Ints) -> Ints:
        # A run without time at risk has no first part.
        at = np.minimum(np.searchsorted(risk.runs, run), len(times) - 1)
        return np.where(risk.runs[at] == run, times[at], np.iinfo(np.int64).min)

    cells, events = cut.since_ms < of(cut.run), cut.event_ms <= of(cut.event_run)
    return cut.where(cells, events), cut.where(~cells, ~events)


def _fit_or_none(risk: Risk) -> Fit | None:
    try:
        return risk.fit()
    except EstimateError:
        return None


def out_of_sample(risk: Risk) -> OutOfSample | None:
    """Fit the first 70 % of each run's time and predict the rest; None where that has no fit."""
    train, test = split(risk, TRAIN_SHARE)
    fit = _fit_or_none(train)
    if fit is None or not len(test.delta):
        return None
    mu = test.expected(fit)
    predicted, observed = float(mu.sum()), test.n_events
    star = float((mu * test.delta).sum()) / predicted if predicted > 0 else 0.0
    n, expected = by_blocks(train, fit, 1)
    dof = max(len(n) - 1, 1)
    spread = float(((n - expected) ** 2).sum()) / float(expected.sum()) * len(n) / dof
    se = math.sqrt(predicted * max(spread, 1.0) + (predicted * fit.se_log_intensity(star)) ** 2)
    t_limit = float(special.stdtrit(dof, 1.0 - _SMALL / 2.0))
    flat = train.n_events / train.exposure_s
    exposure = test.exposure_s
    score = float(np.log(fit.rates(test.event_delta)).sum()) - predicted
    constant = observed * math.log(flat) - flat * exposure
    gain = (score - constant) / observed if observed else math.nan
    return OutOfSample(predicted, observed, (observed - predicted) / se, t_limit, gain)


def blocks(risk: Risk, fit: Fit, rng: np.random.Generator) -> Blocks:
    """Observed and expected events by time block, and how much more they vary than counts do."""
    observed, expected = by_blocks(risk, fit, 1)
    total = float(expected.sum())
    if len(expected) < 2 or not total > 0:
        return Blocks(observed, expected, math.nan, math.nan)
    mu = np.maximum(expected, 1e-9) * (float(observed.sum()) / total)
    x2 = float(((observed - mu) ** 2 / mu).sum())
    larger, at_a_time = 0, max(1, _AT_A_TIME // len(mu))
    for done in range(0, _DRAWS, at_a_time):
        size = min(at_a_time, _DRAWS - done)
        drawn = rng.multinomial(int(observed.sum()), mu / mu.sum(), size=size)
        larger += int(np.count_nonzero(((drawn - mu) ** 2 / mu).sum(axis=1) >= x2))
    p = (1 + larger) / (_DRAWS + 1)
    return Blocks(observed, expected, x2 / (len(mu) - 1), p)


def by_blocks(risk: Risk, fit: Fit, n: int) -> tuple[Floats, Floats]:
    """Observed and expected events by n periods (of a single run: blocks) at a time, in order;
    counted from the first one with time at risk in each group of runs that overlap."""
    number = risk.periods.number
    size = 1 + int(number.max(initial=-1))
    expected = sums_by(number[risk.block], risk.expected(fit), size)
    observed = np.bincount(number[risk.event_block], minlength=size).astype(np.float64)
    group_of = np.full(size, -1, dtype=np.int64)
    group_of[number] = risk.periods.group
    rested = np.zeros(size, dtype=np.bool_)
    rested[number[risk.block]] = True
    there = rested.copy()
    there[number[risk.event_block]] = True
    period = np.flatnonzero(there)
    groups, first = np.unique(group_of[rested], return_index=True)
    origin = np.flatnonzero(rested)[first]
    at = np.minimum(np.searchsorted(groups, group_of[period]), len(groups) - 1)
    begin = origin[at] + (period - origin[at]) // n * n
    new = np.flatnonzero(np.diff(begin, prepend=-n - 1))
    return np.add.reduceat(observed[period], new), np.add.reduceat(expected[period], new)
