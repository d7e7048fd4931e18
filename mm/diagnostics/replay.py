"""The proof: do parameters give back the fills, at the distances at which a desk places orders?

The consumer's rule draws once a state row for each resting order, with
p = 1 - exp(-A e^(-k |delta|) dt). Each order is at risk in its own state rows up to the draw that
stands for its observed first fill (``mm.exposure.trials``), so the number given is the plain sum of
p: stopping at a first simulated success would count an order's risk twice. Tables are by placement
distance, which is what is set, and by the distance at the fill, which is what the model speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, Mask, Numbers, sums_by
from mm.diagnostics.draws import Draws
from mm.exposure.distance import buckets
from mm.fitting.covariance import LEVEL
from mm.fitting.fill_model import PoissonFillModel

By = Literal["placement", "fill"]
#: Neighbouring rows are merged until so many fills are given: counts below tell too little.
MIN_GIVEN = 5.0
#: From so many cells on, those of one distance are drawn as one.
_WORTH_MERGING = 100_000


@dataclass(frozen=True)
class ReplayRows:
    """Fills by whole ticks, nearest first. Arrays of shape (r,).

    ``low`` <= distance < ``high``, ticks. ``orders``, ``rest_s``: that were placed there, and how
    long they rested; zero by distance at the fill. ``observed``, ``given``: first fills in the log,
    and by the parameters in the consumer's rule. ``dispersion``: how many times a count's variance
    fills vary from period to period, at least 1.
    """

    by: By
    low: Ints
    high: Ints
    orders: Ints
    rest_s: Floats
    observed: Ints
    given: Floats
    dispersion: float

    @property
    def interval(self) -> tuple[Ints, Ints]:
        """95 % interval of what the log should have if the parameters were right: quantiles of a
        negative binomial of mean ``given`` and variance ``dispersion`` times it."""
        tail = (1.0 - LEVEL) / 2.0
        return self._quantile(tail), self._quantile(1.0 - tail)

    @property
    def inside(self) -> Mask:
        """Whether what was observed lies in the interval."""
        low, high = self.interval
        return np.asarray((self.observed >= low) & (self.observed <= high))

    @property
    def ratio(self) -> Floats:
        """Given over observed; infinite where nothing was."""
        seen = self.observed.astype(np.float64)
        out: Floats = np.full(len(seen), np.inf)
        np.divide(self.given, seen, out=out, where=seen > 0)
        return out

    def _below(self, n: Ints) -> Floats:
        """Chance of at most n fills, n >= 0."""
        mean = np.maximum(self.given, 1e-9)
        if self.dispersion < 1.0 + 1e-6:
            return np.asarray(special.pdtr(n, mean), dtype=np.float64)
        size = mean / (self.dispersion - 1.0)
        return np.asarray(special.betainc(size, n + 1.0, 1.0 / self.dispersion), dtype=np.float64)

    def _quantile(self, p: float) -> Ints:
        low = np.full(len(self.given), -1, dtype=np.int64)
        high = np.ceil(10.0 + self.given + 20.0 * np.sqrt(self.dispersion * (self.given + 1.0)))
        high = high.astype(np.int64)
        while (high - low > 1).any():  # the chance is below p at ``low`` and not at ``high``
            middle = np.maximum((low + high) // 2, 0)
            enough = self._below(middle) >= p
            high = np.where(enough, middle, high)
            low = np.where(enough, low, np.maximum(middle, low))
        return high

    def chi2_p(self, fitted: int) -> float:
        """p of sum (N - given)^2 / (dispersion given) over rows, ``fitted`` degrees of freedom less
        than rows, at least one: whether the rows together are more than chance."""
        given = np.maximum(self.given, 1e-9)
        x2 = float(((self.observed - given) ** 2 / (self.dispersion * given)).sum())
        return float(special.chdtrc(max(len(given) - fitted, 1), x2))

    def off(self, ratio: float, share: float, p: float, fitted: int = 2) -> list[int]:
        """Rows in which the parameters are off, the worst first.

        Only where all rows together are off by more than chance gives once in 1/p tables; then
        those outside their interval, by more than ``ratio`` of what was observed, in which at least
        ``share`` of the fills or of the orders are.
        """
        if not len(self.given) or self.chi2_p(fitted) >= p:
            return []
        seen = self.observed
        shares = np.stack([n / max(float(n.sum()), 1e-12) for n in (seen, self.given, self.orders)])
        large = np.abs(self.given - seen) > ratio * seen
        wrong = large & ~self.inside & (shares.max(axis=0) >= share)
        residual = np.abs(seen - self.given) / np.sqrt(np.maximum(self.given, 1e-9))
        order = np.argsort(-residual, kind="stable")
        return [int(i) for i in order if wrong[i]]

    def given_between(self, rows: ReplayRows) -> Floats:
        """What is given here between the ends of each of other rows, shape (r,)."""
        before: Floats = np.append(0.0, np.cumsum(self.given))
        begin, end = np.searchsorted(self.low, rows.low), np.searchsorted(self.low, rows.high)
        return np.asarray(before[end] - before[begin], dtype=np.float64)

    def merged(self) -> ReplayRows:
        """Neighbours put together until MIN_GIVEN are given in each; a rest joins the last."""
        group, number, total = np.zeros(len(self.given), dtype=np.int64), 0, 0.0
        for i, value in enumerate(self.given):
            group[i] = number
            total += value
            if total >= MIN_GIVEN:
                number, total = number + 1, 0.0
        if 0.0 < total < MIN_GIVEN and number > 0:
            group[group == number] = number - 1
        n = int(group.max(initial=-1)) + 1
        first = np.searchsorted(group, np.arange(n))
        last = np.searchsorted(group, np.arange(n), side="right") - 1

        def summed(values: Ints | Floats) -> Floats:
            return sums_by(group, values, n)

        return ReplayRows(
            by=self.by,
            low=self.low[first],
            high=self.high[last],
            orders=summed(self.orders).astype(np.int64),
            rest_s=summed(self.rest_s),
            observed=summed(self.observed).astype(np.int64),
            given=summed(self.given),
            dispersion=self.dispersion,
        )


@dataclass(frozen=True)
class Replay:
    """First fills that parameters give on the log's own quotes and mid path, and those observed.

    ``by_placement``: rows of whole ticks. ``by_fill``: the same of quotes on their own side of mid,
    in continuous time, sum T lambda: orders are placed at few distances, and state rows come more
    or less often there than time goes by, which is no matter of how lambda falls;
    ``through``: of those that mid had run through, which |delta| takes for passive ones. ``total``:
    all of them as one row. ``variance``: of the number given, sum p (1 - p) rows.
    """

    model: PoissonFillModel
    by_placement: ReplayRows
    by_fill: ReplayRows
    through: ReplayRows
    total: ReplayRows
    variance: float

    def by(self, by: By) -> ReplayRows:
        """The rows of one of the two distances."""
        return self.by_placement if by == "placement" else self.by_fill

    @property
    def given(self) -> float:
        """First fills that the parameters give, all distances."""
        return float(self.total.given[0])

    @property
    def observed(self) -> int:
        """First fills in the log, all distances."""
        return int(self.total.observed[0])

    @property
    def ratio(self) -> float:
        """Given over observed; infinite where nothing was."""
        return float(self.total.ratio[0])


def replay(draws: Draws, model: PoissonFillModel) -> Replay:
    """What the parameters give, row by row, against what was observed."""
    p = draws.probability(model)
    periods = [draws.period, draws.event_period]
    periods += [] if draws.time_period is None else [draws.time_period]
    n_periods = 1 + max(int(period.max(initial=0)) for period in periods)

    def rows(by: By, risk: _Amounts, events: _Amounts) -> ReplayRows:
        labels = np.union1d(risk.labels, events.labels)
        expected, seen = (part.table(labels, n_periods) for part in (risk, events))
        placed = by == "placement"
        there = np.searchsorted(draws.levels, labels if placed else labels[:0])
        none = np.zeros(len(labels), dtype=np.int64)
        return ReplayRows(
            by=by,
            low=labels,
            high=labels + 1,
            orders=draws.orders[there] if placed else none,
            rest_s=draws.rest_s[there] if placed else none.astype(np.float64),
            observed=np.rint(seen.sum(axis=1)).astype(np.int64),
            given=expected.sum(axis=1),
            dispersion=_dispersion(seen, expected),
        )

    own_row = np.arange(len(draws.event_period), dtype=np.int32)
    drawn = _Amounts(draws.level, draws.place, draws.period, draws.rows * p[draws.place])
    filled = _Amounts(draws.event_level, own_row, draws.event_period, np.ones(len(own_row)))
    in_time, through = replace(drawn, label=buckets(draws.delta)), np.zeros_like(draws.level, bool)
    if draws.time_period is not None:
        rate = model.rate(draws.time_delta * (draws.tick_size / model.tick_size))
        given = rate[draws.time_place] * draws.time_s
        at_risk = buckets(np.abs(draws.time_delta))
        in_time = _Amounts(at_risk, draws.time_place, draws.time_period, given)
        through = draws.time_delta < 0
    filled_at = replace(filled, label=buckets(draws.event_delta))
    return Replay(
        model=model,
        by_placement=rows("placement", drawn, filled),
        by_fill=rows("fill", in_time.where(~through), filled_at.where(~draws.event_through)),
        through=rows(
            "fill",
            in_time.as_one().where(through),
            filled.as_one().where(draws.event_through),
        ),
        total=rows("fill", drawn.as_one(), filled.as_one()),
        variance=float((draws.rows * (p * (1.0 - p))[draws.place]).sum()),
    )


#: Label of places of which nothing counts.
_LEFT_OUT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class _Amounts:
    """Amounts in periods of time, shape (n,), at places, each of which has a whole-tick label."""

    label: Ints
    place: Numbers
    period: Numbers
    amount: Floats

    def where(self, places: Mask) -> _Amounts:
        return replace(self, label=np.where(places, self.label, _LEFT_OUT))

    def as_one(self) -> _Amounts:
        """All distances as one."""
        return replace(self, label=np.zeros_like(self.label))

    @property
    def labels(self) -> Ints:
        """Those that have an amount, in order."""
        there = np.bincount(self.place, minlength=len(self.label)) > 0
        return np.unique(self.label[there & (self.label != _LEFT_OUT)])

    def table(self, labels: Ints, n_periods: int) -> Floats:
        """Sums by label and period."""
        row = np.searchsorted(labels, self.label)
        row[self.label == _LEFT_OUT] = len(labels)
        cell = (row * n_periods)[self.place] + self.period
        sums = sums_by(cell, self.amount, (len(labels) + 1) * n_periods)
        return sums.reshape(-1, n_periods)[:-1]


def _dispersion(seen: Floats, expected: Floats) -> float:
    """Pearson's statistic over its degrees of freedom, of cells (row, period), shape (r, b), that
    expect one fill at least; each row's expectation scaled to its total first, so that what the
    parameters get wrong about distance is not taken for variation in time."""
    total = expected.sum(axis=1, keepdims=True)
    there = np.where(total > 0, total, 1.0)
    mu = expected * (seen.sum(axis=1, keepdims=True) / there)
    used = mu >= 1.0
    dof = int(used.sum()) - int(used.any(axis=1).sum())
    if dof < 1:
        return 1.0
    return max(1.0, float(((seen - mu)[used] ** 2 / mu[used]).sum()) / dof)


def seeded_draws(draws: Draws, model: PoissonFillModel, seeds: int = 20) -> Floats:
    """Totals of simulated fills, one a seed: every row drawn once with the emitted dt_ms.

    Orders stay at risk up to their observed fill, as in :func:`replay`, so that the mean of the
    totals is what it gives. Rows at one distance have one p: their fills are drawn together, as a
    binomial number. Shape (seeds,).
    """
    p, rows = draws.probability(model), draws.rows
    if len(rows) > _WORTH_MERGING:
        p, same = np.unique(p, return_inverse=True)
        rows = sums_by(same[draws.place], rows, len(p)).astype(np.int64)
    else:
        p = p[draws.place]
    totals = [int(np.random.default_rng(s).binomial(rows, p).sum()) for s in range(seeds)]
    return np.array(totals, dtype=np.float64)
