"""Does lambda hold over time? Rescaled time, halves, blocks, and fills that the fit never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from mm.arrays import Floats, Ints, Mask, sums_by
from mm.errors import EstimateError
from mm.fit import Fit
from mm.risk import Risk

_DRAWS = 400
#: Tests that a warning may rest on are two-sided at this level each.
_SMALL = 0.01
#: The fit of the out-of-sample check sees this share of the time.
TRAIN_SHARE = 0.7


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
    """Rescale time by the total intensity of all orders at risk, and test the gaps."""
    gaps = np.concatenate(
        [
            _gaps(risk.where(risk.run == r, risk.event_run == r), fit, rng)
            for r in np.unique(risk.run)
        ]
    )
    if len(gaps) < 3:
        return RescaledTime(gaps, math.nan, math.nan, math.nan, math.nan)
    gaps = gaps / gaps.mean()
    ks = float(_ks(gaps[None, :])[0])
    drawn = rng.exponential(size=(_DRAWS, len(gaps)))
    simulated = _ks(drawn / drawn.mean(axis=1, keepdims=True))
    ks_p = float((1 + np.count_nonzero(simulated >= ks)) / (_DRAWS + 1))
    ranks = np.argsort(np.argsort(gaps, kind="stable"), kind="stable").astype(np.float64)
    spread = ranks - ranks.mean()
    lag1 = float((spread[1:] * spread[:-1]).sum() / (spread * spread).sum())
    lag1_p = float(2.0 * special.ndtr(-abs(lag1) * math.sqrt(len(gaps))))
    return RescaledTime(gaps, ks, ks_p, lag1, lag1_p)


def _gaps(risk: Risk, fit: Fit, rng: np.random.Generator) -> Floats:
    """Gaps of one run's events on the rescaled clock; orders at risk together add up."""
    expected = risk.expected(fit)
    length = (risk.stop_ms - risk.start_ms).astype(np.float64)
    rate = expected / length
    times = np.concatenate([risk.start_ms, risk.stop_ms])
    jumps = np.concatenate([rate, -rate])
    order = np.argsort(times, kind="stable")
    times, jumps = times[order], jumps[order]
    level = np.cumsum(jumps)
    clock = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    events = np.sort(risk.event_ms).astype(np.float64)
    if risk.dt_ms is not None:
        # A draw is one jump of the clock; an event lies anywhere in it (randomised transform).
        events -= rng.random(len(events))
    at = np.interp(events, times, clock) if len(times) else np.zeros(len(events))
    return np.asarray(np.diff(at, prepend=0.0), dtype=np.float64)


def _ks(gaps: Floats) -> Floats:
    """Kolmogorov's distance of each row of gaps, shape (d, n), from Exp(1)."""
    u = np.sort(-np.expm1(-np.maximum(gaps, 0.0)), axis=1)
    n = u.shape[1]
    above = np.arange(1, n + 1) / n - u
    below = u - np.arange(n) / n
    return np.asarray(np.maximum(above.max(axis=1), below.max(axis=1)))


def halves(risk: Risk, delta: float) -> Halves:
    """Fit both halves of each run's time and compare lambda at ``delta`` ticks."""
    first, second = risk.where(*early(risk, 0.5)), risk.where(*_not(early(risk, 0.5)))
    fits = [_fit_or_none(part) for part in (first, second)]
    one, two = fits
    if one is None or two is None:
        return Halves(one, two, delta, math.nan, math.nan, math.inf)
    gap = math.log(two.intensity(delta) / one.intensity(delta))
    se = math.hypot(one.se_log_intensity(delta), two.se_log_intensity(delta))
    dof = max(min(one.n_blocks, two.n_blocks) - 1, 1)
    t_limit = float(special.stdtrit(dof, 1.0 - _SMALL / 2.0))
    return Halves(one, two, delta, math.exp(gap), gap / se if se > 0 else math.nan, t_limit)


def early(risk: Risk, share: float) -> tuple[Mask, Mask]:
    """Pieces and events of the first share of each run's time at risk (by when they start)."""
    pieces = np.zeros(len(risk.run), dtype=bool)
    events = np.zeros(len(risk.event_run), dtype=bool)
    for run in np.unique(risk.run):
        mine, ours = risk.run == run, risk.event_run == run
        low, high = int(risk.start_ms[mine].min()), int(risk.stop_ms[mine].max())
        cut = low + round(share * (high - low))
        pieces |= mine & (risk.start_ms < cut)
        events |= ours & (risk.event_ms <= cut)
    return pieces, events


def _not(masks: tuple[Mask, Mask]) -> tuple[Mask, Mask]:
    return ~masks[0], ~masks[1]


def _fit_or_none(risk: Risk) -> Fit | None:
    try:
        return risk.fit()
    except EstimateError:
        return None


def out_of_sample(risk: Risk) -> OutOfSample | None:
    """Fit the first 70 % of each run's time and predict the rest; None where that has no fit."""
    masks = early(risk, TRAIN_SHARE)
    train, test = risk.where(*masks), risk.where(*_not(masks))
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
    drawn = rng.multinomial(int(observed.sum()), mu / mu.sum(), size=_DRAWS)
    simulated = ((drawn - mu) ** 2 / mu).sum(axis=1)
    p = float((1 + np.count_nonzero(simulated >= x2)) / (_DRAWS + 1))
    return Blocks(observed, expected, x2 / (len(mu) - 1), p)


def by_blocks(risk: Risk, fit: Fit, n: int) -> tuple[Floats, Floats]:
    """Observed and expected events by periods of n blocks of each run's clock, in order."""
    runs, first = np.unique(risk.run), []
    for run in runs:
        mine = risk.block[risk.run == run]
        first.append(int(mine.min()))
    origin = np.array(first, dtype=np.int64)

    def period(run: Ints, block: Ints) -> Ints:
        start = origin[np.minimum(np.searchsorted(runs, run), len(runs) - 1)]
        return np.asarray(start + (block - start) // n * n, dtype=np.int64)

    pieces, events = period(risk.run, risk.block), period(risk.event_run, risk.event_block)
    labels = np.unique(np.concatenate([pieces, events]))
    expected = sums_by(np.searchsorted(labels, pieces), risk.expected(fit), len(labels))
    ones = np.ones(len(events))
    return sums_by(np.searchsorted(labels, events), ones, len(labels)), expected
