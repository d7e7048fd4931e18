"""Does lambda hold over time? Halves, days, blocks, and fills that the fit never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, Mask, sums_by
from mm.core.errors import EstimateError
from mm.diagnostics.time_at_risk import Risk
from mm.diagnostics.time_rescaling import first_in_ms
from mm.exposure.periods import MIN_GROUPS, Periods
from mm.fitting.fit import Fit
from mm.fitting.uncertainty import between_periods

_DRAWS = 400
#: The sum over so many blocks is normal, and need not be drawn.
_MANY = 10_000
#: Numbers that are drawn at a time.
_AT_A_TIME = 1_000_000
#: Tests that a warning may rest on are two-sided at this level each.
_SMALL = 0.01
#: The fit of the out-of-sample check sees this share of the time.
TRAIN_SHARE = 0.7


@dataclass(frozen=True)
class Halves:
    """Fits of the first and second half of the time; None where a half has none.

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
class Trend:
    """Level of the groups of runs, days for example, in their order.

    ``ratio``: of the last over the first on a straight line through log levels; ``z`` its log over
    its standard error, ``t_limit`` the two-sided 1 % point of t. ``n_groups``: how many.
    """

    ratio: float
    z: float
    t_limit: float
    n_groups: int


@dataclass(frozen=True)
class OutOfSample:
    """Fills of the last 30 % of the time, predicted by a fit of the first 70 %.

    ``z``: (observed - predicted) over its standard error: the fit's own, and counting noise as
    over-dispersed as the training blocks, or groups of runs, were. ``t_limit``: its two-sided 1 %
    point. ``gain``: log-likelihood per event over a constant rate, same split.
    """

    predicted: float
    observed: int
    z: float
    t_limit: float
    gain: float


@dataclass(frozen=True)
class Blocks:
    """Events and expected events by time block, in time order. Arrays of shape (b,).

    ``dispersion``: sum (N - mu)^2/mu / (b - 1); 1 under the model, with its p-value. The rest
    counts fills of one ms as one event: ``prints_p`` is that p-value, and ``spread`` the standard
    deviation of log lambda between periods beyond counting noise.
    """

    observed: Floats
    expected: Floats
    dispersion: float
    p: float
    prints_p: float
    spread: float


@dataclass(frozen=True)
class Counts:
    """Observed and expected events by period (of a single run: block), shape (p,); ``rested``:
    whether any order was at risk in it."""

    observed: Floats
    expected: Floats
    rested: Mask
    periods: Periods

    @classmethod
    def of(cls, risk: Risk, fit: Fit) -> Counts:
        """Those of a fit."""
        number = risk.periods.number
        size = 1 + int(number.max(initial=-1))
        of = number[risk.block]
        expected = sums_by(of, risk.expected(fit), size)
        none = np.zeros(size)
        counts = cls(none, expected, np.bincount(of, minlength=size) > 0, risk.periods)
        return counts.of_events(risk.event_block)

    def of_events(self, block: Ints) -> Counts:
        """The same with the events in these blocks."""
        observed = np.bincount(self.periods.number[block], minlength=len(self.expected))
        return replace(self, observed=observed.astype(np.float64))

    def by(self, n: int) -> tuple[Floats, Floats]:
        """Observed and expected by n periods at a time, in order; counted from the first one with
        time at risk in each group of runs that overlap."""
        period, new = self._windows(n)
        return np.add.reduceat(self.observed[period], new), np.add.reduceat(
            self.expected[period], new
        )

    def n_by(self, n: int) -> int:
        """How many windows of n periods there are."""
        return len(self._windows(n)[1])

    def _windows(self, n: int) -> tuple[Ints, Ints]:
        """Periods with time at risk or events, and at which of them each window begins."""
        group_of = np.full(len(self.rested), -1, dtype=np.int64)
        group_of[self.periods.number] = self.periods.group
        period = np.flatnonzero(self.rested | (self.observed > 0))
        groups, first = np.unique(group_of[self.rested], return_index=True)
        origin = np.flatnonzero(self.rested)[first]
        at = np.minimum(np.searchsorted(groups, group_of[period]), len(groups) - 1)
        begin = origin[at] + (period - origin[at]) // n * n
        return period, np.flatnonzero(np.diff(begin, prepend=-n - 1))


def halves(risk: Risk, delta: float) -> Halves:
    """Fit both halves of the time and compare lambda at ``delta`` ticks."""
    parts = split(risk, 0.5)
    one, two = (_fit_or_none(part) for part in parts)
    if one is None or two is None:
        return Halves(one, two, delta, math.nan, math.nan, math.inf)
    gap = math.log(two.intensity(delta) / one.intensity(delta))
    se = math.hypot(one.se_log_intensity(delta), two.se_log_intensity(delta))
    dof = min(one.n_blocks, two.n_blocks) - 1
    unit = independent_unit(risk)
    if unit is not None or "wald" in (one.se_type, two.se_type):
        # Too few blocks or days for a robust error in each: those of both halves tell together
        # how much more than counts they vary.
        wider, dof = _spread_within(parts, (one, two), unit or 1)
        se = wider * math.hypot(_wald_se(one, delta), _wald_se(two, delta))
    t_limit = _t_limit(dof)
    return Halves(one, two, delta, math.exp(gap), gap / se if se > 0 else math.nan, t_limit)


def _t_limit(dof: int) -> float:
    return float(special.stdtrit(max(dof, 1), 1.0 - _SMALL / 2.0))


def _wald_se(fit: Fit, delta: float) -> float:
    (aa, ak), (_, kk) = fit.wald
    return math.sqrt(max(aa - 2.0 * delta * ak + delta * delta * kk, 0.0))


def _spread_within(parts: tuple[Risk, Risk], fits: tuple[Fit, Fit], n: int) -> tuple[float, int]:
    """How much wider than a count's the errors of both parts are, at least 1, by n periods at a
    time about a fit of each part's own; and its degrees of freedom."""
    x2, dof = 0.0, 0
    for part, fit in zip(parts, fits, strict=True):
        seen, expected = Counts.of(part, fit).by(n)
        there = expected > 0
        x2 += float(((seen[there] - expected[there]) ** 2 / expected[there]).sum())
        dof += int(np.count_nonzero(there)) - 1
    return math.sqrt(max(x2 / dof, 1.0)) if dof > 0 else 1.0, dof


def independent_unit(risk: Risk) -> int | None:
    """Periods that stand together: all of a group of runs where there are MIN_GROUPS of them, as in
    the reported interval; None where blocks do."""
    whole = len(risk.groups) >= MIN_GROUPS
    return int(risk.periods.number.max()) + 1 if whole else None


def trend(risk: Risk, counts: Counts) -> Trend | None:
    """Least squares of log(N/mu) of groups of runs on their order, by the quantile of t(G-2); their
    scatter counts as no less than a count's. None below MIN_GROUPS groups."""
    unit = independent_unit(risk)
    if unit is None:
        return None
    seen, expected = counts.by(unit)
    there = expected > 0
    level = np.log((seen[there] + 0.5) / (expected[there] + 0.5))
    n = len(level)
    if n < MIN_GROUPS:
        return None
    x = np.arange(n) - (n - 1) / 2.0
    slope = float((x * level).sum() / (x * x).sum())
    left = float(((level - level.mean() - slope * x) ** 2).sum()) / (n - 2)
    se = math.sqrt(max(left, float((1.0 / (expected[there] + 0.5)).mean())) / float((x * x).sum()))
    return Trend(math.exp(slope * (n - 1)), slope / se, _t_limit(n - 2), n)


def split_ms(risk: Risk, share: float) -> int:
    """When the first share of the time that runs cover has passed, ms."""
    end, own = risk.covered
    passed = np.cumsum(own)
    wanted = round(share * int(passed[-1]))
    at = int(np.searchsorted(passed, wanted))
    return int(end[at] - (passed[at] - wanted))


def split(risk: Risk, share: float) -> tuple[Risk, Risk]:
    """The first share of the time and the rest, at one moment for all runs: what comes before it
    knows nothing of what comes after."""
    time = split_ms(risk, share)
    cut = risk.cut_at(np.array([time]))
    cells, events = cut.since_ms < time, cut.event_ms <= time
    return cut.where(cells, events), cut.where(~cells, ~events)


def _fit_or_none(risk: Risk) -> Fit | None:
    try:
        return risk.fit()
    except EstimateError:
        return None


def out_of_sample(risk: Risk) -> OutOfSample | None:
    """Fit the first 70 % of the time and predict the rest; None where that has no fit."""
    train, test = split(risk, TRAIN_SHARE)
    fit = _fit_or_none(train)
    if fit is None or not len(test.delta):
        return None
    mu = test.expected(fit)
    predicted, observed = float(mu.sum()), test.n_events
    star = float((mu * test.delta).sum()) / predicted if predicted > 0 else 0.0
    n, expected = Counts.of(train, fit).by(independent_unit(risk) or 1)
    dof = max(len(n) - 1, 1)
    spread = float(((n - expected) ** 2).sum()) / float(expected.sum()) * len(n) / dof
    se = math.sqrt(predicted * max(spread, 1.0) + (predicted * fit.se_log_intensity(star)) ** 2)
    t_limit = _t_limit(dof)
    flat = train.n_events / train.exposure_s
    exposure = test.exposure_s
    score = float(np.log(fit.rates(test.event_delta)).sum()) - predicted
    constant = observed * math.log(flat) - flat * exposure
    gain = (score - constant) / observed if observed else math.nan
    return OutOfSample(predicted, observed, (observed - predicted) / se, t_limit, gain)


def blocks(risk: Risk, counts: Counts, rng: np.random.Generator, n: int) -> Blocks:
    """Observed and expected events by time block, and how much more they vary than counts do;
    ``spread`` is by n blocks at a time."""
    observed, expected = counts.by(1)
    prints = counts.of_events(risk.event_block[first_in_ms(risk)])
    seen, _ = prints.by(1)
    fills, p = _dispersion(observed, expected, rng)
    _, prints_p = _dispersion(seen, expected, rng)
    seen, mu = prints.by(n)
    share = float(seen.sum()) / float(mu.sum()) if mu.sum() > 0 else math.nan
    return Blocks(observed, expected, fills, p, prints_p, between_periods(seen, mu * share))


def _dispersion(
    observed: Floats, expected: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    """Pearson's statistic of counts about ``expected``, scaled to their sum, over its degrees of
    freedom; with a bootstrap p-value."""
    total = float(expected.sum())
    if len(expected) < 2 or not total > 0:
        return math.nan, math.nan
    n, b = float(observed.sum()), len(expected)
    mu = np.maximum(expected, 1e-9) * (n / total)
    x2 = float(((observed - mu) ** 2 / mu).sum())
    if b > _MANY:
        # Haldane (1937), "The exact value of the moments of the distribution of chi-squared".
        variance = 2.0 * (b - 1) + float((1.0 / mu).sum()) - (b * b + 2.0 * b - 2.0) / n
        return x2 / (b - 1), float(special.ndtr((b - 1 - x2) / math.sqrt(variance)))
    larger, at_a_time = 0, max(1, _AT_A_TIME // len(mu))
    for done in range(0, _DRAWS, at_a_time):
        size = min(at_a_time, _DRAWS - done)
        drawn = rng.multinomial(int(n), mu / mu.sum(), size=size)
        larger += int(np.count_nonzero(((drawn - mu) ** 2 / mu).sum(axis=1) >= x2))
    return x2 / (len(mu) - 1), (1 + larger) / (_DRAWS + 1)
