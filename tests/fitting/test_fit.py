"""The fits of docs/code.md: known answers, statsmodels, plain bisection and their laws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mm
from mm.core.errors import EstimateError
from mm.exposure.accounting import Cells
from mm.fitting.covariance import MIN_BLOCKS, information_inverse
from mm.fitting.fit import (
    fit_poisson,
    fit_trials,
    upper_limit,
)
from mm.fitting.intensity import poisson_interval
from mm.simulate import simulate
from mm.simulate.demo import SCENARIOS
from tests.support import slow

EXAMPLE = ([1.0, 2.0, 3.0, 5.0, 8.0], [1000.0] * 5, [62, 45, 38, 22, 9])


def cells(
    delta: Sequence[float],
    exposure_s: Sequence[float],
    events: Sequence[int],
    block: Sequence[int] | None = None,
) -> Cells:
    """Cells of one side; exposure is kept in whole ms."""
    n = len(delta)
    return Cells(
        block=np.zeros(n, dtype=np.int64) if block is None else np.asarray(block, dtype=np.int64),
        side=np.ones(n, dtype=np.int8),
        delta=np.asarray(delta, dtype=np.float64),
        exposure_ms=np.rint(np.asarray(exposure_s) * 1000).astype(np.int64),
        events=np.asarray(events, dtype=np.int64),
        qty=np.zeros(n),
    )


def random_cells(seed: int, n_blocks: int = 12) -> Cells:
    """Every distance in every block, some without events; blocks differ in activity."""
    rng = np.random.default_rng(seed)
    delta = np.tile([0.5, 1.0, 2.25, 3.0, 6.5], n_blocks)
    block = np.repeat(np.arange(n_blocks), 5)
    exposure = rng.integers(1_000, 60_000, len(delta)) / 1000.0
    activity = rng.uniform(0.3, 2.0, n_blocks)[block]
    events = rng.poisson(exposure * 0.8 * activity * np.exp(-0.4 * delta))
    return cells(delta, exposure, events, block)


def design(delta: Any) -> Any:
    """Columns of the model (log A, k): log lambda = a - k delta."""
    return np.column_stack([np.ones(len(delta)), -np.asarray(delta)])


def poisson_glm(data: Cells) -> Any:
    some = data.exposure_ms > 0
    family = sm.families.Poisson()
    return sm.GLM(
        data.events[some], design(data.delta[some]), family=family, exposure=data.exposure_s[some]
    )


def pearson(data: Cells, A: float, k: float) -> float:
    mu = data.exposure_s * A * np.exp(-k * data.delta)
    return float(((data.events - mu) ** 2 / mu).sum())


# --- known answers -------------------------------------------------------------------------------


def test_first_known_answer() -> None:
    data = cells(*EXAMPLE)
    fit = fit_poisson(data)
    assert (fit.A, fit.k) == pytest.approx((0.0804066663, 0.2657801915), abs=5e-11)
    assert math.sqrt(fit.wald[0][0]) == pytest.approx(0.12964273, abs=5e-9)
    assert math.sqrt(fit.wald[1][1]) == pytest.approx(0.04143743, abs=5e-9)
    assert pearson(data, fit.A, fit.k) == pytest.approx(0.25675, abs=5e-6)
    assert (fit.n_events, fit.exposure_s) == (176, 5000.0)


def test_second_known_answer() -> None:
    fit = fit_poisson(cells([1, 2, 3, 4, 5], [1000.0] * 5, [1227, 666, 453, 273, 177]))
    assert (fit.A, fit.k) == pytest.approx((1.93738, 0.49060), abs=5e-6)
    assert math.sqrt(fit.wald[1][1]) == pytest.approx(0.01545, abs=5e-6)


@pytest.mark.parametrize(("a", "k", "n"), [(2.0, 0.1, 4), (math.log(10.0), 1.5, 5)])
def test_noiseless_intensities_are_recovered(a: float, k: float, n: int) -> None:
    # counts are whole, so exposure is what makes N = T lambda exact
    delta = np.arange(1.0, n + 1)
    data = cells(delta, np.ones(n), [1000] * n)
    exact = replace_exposure(data, 1000.0 / np.exp(a - k * delta))
    fit = fit_poisson(exact)
    assert (fit.A, fit.k) == pytest.approx((math.exp(a), k), rel=1e-10)


def replace_exposure(data: Cells, seconds: Any) -> Cells:
    """The same cells with exposures that are no whole ms."""
    return replace(data, exposure_ms=np.asarray(seconds) * 1000.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.floats(0.0, 20.0),
    st.floats(1.0, 30.0),
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)),
)
def test_two_distances_have_a_closed_form(
    near: float, apart: float, n: tuple[int, int], ms: tuple[int, int]
) -> None:
    far = near + apart
    fit = fit_poisson(cells([near, far], [ms[0] / 1000, ms[1] / 1000], n))
    rates = [n[i] / (ms[i] / 1000) for i in (0, 1)]
    k = math.log(rates[0] / rates[1]) / (far - near)
    assert fit.k == pytest.approx(k, rel=1e-9, abs=1e-9 / apart)
    assert fit.intensity(near) == pytest.approx(rates[0], rel=1e-8)
    assert fit.intensity(far) == pytest.approx(rates[1], rel=1e-8)


def test_an_event_at_a_distance_without_exposure_still_counts() -> None:
    # sum N = 3, sum N delta = 1 + 2 + 1.5, so the mean is 1.5: as with N = 1, 2 and 3/2 each
    fit = fit_poisson(cells([1.0, 2.0, 1.5], [10.0, 10.0, 0.0], [1, 1, 1]))
    assert (fit.A, fit.k) == pytest.approx((3 / 20, 0.0), abs=1e-12)
    shifted = fit_poisson(cells([1.0, 2.0, 4.0], [30.0, 30.0, 0.0], [8, 1, 1]))
    # mean (8 + 2 + 4)/10 = 1.4 = (1 + 2x)/(1 + x) with x = e^-k, so x = 2/3
    A = 10 / (30 * (2 / 3 + 4 / 9))
    assert (shifted.A, shifted.k) == pytest.approx((A, math.log(1.5)), rel=1e-12)


# --- other implementations -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_poisson_glm_of_statsmodels(seed: int) -> None:
    data = random_cells(seed)
    fit = fit_poisson(data)
    glm = poisson_glm(data).fit(tol=1e-15, maxiter=200)
    np.testing.assert_allclose([math.log(fit.A), fit.k], glm.params, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fit.wald, glm.cov_params(), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_equals_plain_bisection(seed: int) -> None:
    data = random_cells(seed)
    A, k = slow.maximum_likelihood(
        data.delta.tolist(), data.exposure_s.tolist(), data.events.tolist()
    )
    fit = fit_poisson(data)
    assert (fit.A, fit.k) == pytest.approx((A, k), rel=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_the_block_covariance_is_statsmodels_cluster_one(seed: int) -> None:
    """statsmodels multiplies the sandwich by B/(B-1) * (n-1)/(n-p); ours is B/(B-1) alone.

    Its second factor depends on how many cells the exposure was cut into; without it
    (use_correction=False, then B/(B-1)) both agree.
    """
    data = random_cells(seed)
    fit = fit_poisson(data)
    n_blocks = len(np.unique(data.block))
    cluster = {"groups": data.block, "use_correction": False}
    glm = poisson_glm(data).fit(tol=1e-15, maxiter=200, cov_type="cluster", cov_kwds=cluster)
    expected = glm.cov_params() * n_blocks / (n_blocks - 1)
    np.testing.assert_allclose(fit.cov, expected, rtol=1e-8)
    corrected = poisson_glm(data).fit(
        tol=1e-15, maxiter=200, cov_type="cluster", cov_kwds={"groups": data.block}
    )
    n = len(data.delta)
    np.testing.assert_allclose(corrected.cov_params(), expected * (n - 1) / (n - 2), rtol=1e-8)
    assert fit.se_type == "block"
    assert fit.n_blocks == n_blocks


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_score_is_zero_and_the_expected_events_add_up(seed: int) -> None:
    data = random_cells(seed)
    fit = fit_poisson(data)
    mu = data.exposure_s * fit.A * np.exp(-fit.k * data.delta)
    n = data.n_events
    assert mu.sum() == pytest.approx(n, rel=1e-12)
    assert (mu * data.delta).sum() == pytest.approx((data.events * data.delta).sum(), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_log_likelihood_is_reported_and_highest_at_the_estimate(seed: int) -> None:
    data = random_cells(seed)
    fit = fit_poisson(data)

    def loglik(A: float, k: float) -> float:
        terms = data.events * (math.log(A) - k * data.delta)
        return float((terms - data.exposure_s * A * np.exp(-k * data.delta)).sum())

    assert fit.loglik == pytest.approx(loglik(fit.A, fit.k), rel=1e-12)
    assert fit.aic == pytest.approx(4.0 - 2.0 * fit.loglik)
    for step_a, step_k in [(1.01, 0.0), (0.99, 0.0), (1.0, 0.01), (1.0, -0.01)]:
        assert loglik(fit.A * step_a, fit.k + step_k) < fit.loglik


@pytest.mark.parametrize("c", [0.01, 0.5, 3.0, 250.0])
def test_another_unit_of_distance_divides_k_and_keeps_A(c: float) -> None:
    data = random_cells(1)
    fit, scaled = fit_poisson(data), fit_poisson(replace(data, delta=data.delta * c))
    assert (scaled.A, scaled.k) == pytest.approx((fit.A, fit.k / c), rel=1e-11)
    assert scaled.delta_star == pytest.approx(fit.delta_star * c, rel=1e-11)
    assert scaled.ci_A == pytest.approx(fit.ci_A, rel=1e-9)
    assert scaled.ci_k == pytest.approx([x / c for x in fit.ci_k], rel=1e-9)


@pytest.mark.parametrize("c", [2, 10, 1000])
def test_more_exposure_divides_A_and_keeps_k(c: int) -> None:
    data = random_cells(2)
    fit = fit_poisson(data)
    scaled = fit_poisson(replace(data, exposure_ms=data.exposure_ms * c))
    assert (scaled.A, scaled.k) == pytest.approx((fit.A / c, fit.k), rel=1e-11)
    np.testing.assert_allclose(scaled.cov, fit.cov, rtol=1e-9)


def test_thousands_of_cells_are_the_few_they_are_made_of() -> None:
    data = random_cells(5)
    n = 3_000 // len(data.delta) + 1
    rng = np.random.default_rng(5)
    order = rng.permutation(n * len(data.delta))
    many = Cells(
        block=np.tile(data.block, n)[order],
        side=np.tile(data.side, n)[order],
        delta=np.tile(data.delta, n)[order],
        exposure_ms=np.tile(data.exposure_ms, n)[order],
        events=np.tile(data.events, n)[order],
        qty=np.tile(data.qty, n)[order],
    )
    fit, other = fit_poisson(data), fit_poisson(many)
    assert len(many.delta) > 2_000
    assert (pytest.approx(fit.A, rel=1e-12), pytest.approx(fit.k, rel=1e-12)) == (other.A, other.k)
    assert np.array(other.wald) * n == pytest.approx(np.array(fit.wald), rel=1e-10)


def test_splitting_a_cell_changes_nothing() -> None:
    data = random_cells(3)
    split = Cells(
        **{
            name: np.concatenate([getattr(data, name), getattr(data, name)])
            for name in ("block", "side", "delta")
        },
        exposure_ms=np.concatenate(
            [data.exposure_ms // 3, data.exposure_ms - data.exposure_ms // 3]
        ),
        events=np.concatenate([data.events, 0 * data.events]),
        qty=np.zeros(2 * len(data.delta)),
    )
    fit, other = fit_poisson(data), fit_poisson(split)
    assert (other.A, other.k) == pytest.approx((fit.A, fit.k), rel=1e-11)
    np.testing.assert_allclose(other.cov, fit.cov, rtol=1e-9)
    np.testing.assert_allclose(other.wald, fit.wald, rtol=1e-9)


def test_distances_where_nothing_was_filled_count() -> None:
    dropped = fit_poisson(cells([1.0, 2.0, 3.0], [100.0] * 3, [40, 20, 10]))
    kept = fit_poisson(cells([1.0, 2.0, 3.0, 9.0], [100.0] * 3 + [4000.0], [40, 20, 10, 0]))
    assert kept.k > dropped.k
    assert kept.intensity(9.0) < dropped.intensity(9.0)


# --- covariance and intervals --------------------------------------------------------------------


def test_the_inverse_information_is_the_one_of_the_design() -> None:
    data = random_cells(0)
    fit = fit_poisson(data)
    mu = data.exposure_s * fit.A * np.exp(-fit.k * data.delta)
    s0, s1, s2 = ((mu * data.delta**r).sum() for r in (0, 1, 2))
    det = s0 * s2 - s1**2
    np.testing.assert_allclose(fit.wald, np.array([[s2, s1], [s1, s0]]) / det, rtol=1e-11)
    assert fit.delta_star == pytest.approx(s1 / s0, rel=1e-12)
    errors = [fit_wald(fit).se_log_intensity(fit.delta_star + d) for d in (-0.1, 0.0, 0.1)]
    assert errors[1] == min(errors)
    assert errors[1] == pytest.approx(1 / math.sqrt(s0))


def fit_wald(fit: Any) -> Any:
    return replace(fit, uncertainty=replace(fit.uncertainty, cov=fit.wald))


def test_a_narrow_range_of_distances_costs_no_digits() -> None:
    weight, delta = np.array([3.0, 2.0]), np.array([40.0, 40.000001])
    cov, star = information_inverse(weight, delta)
    gap = delta[1] - delta[0]
    assert cov[1, 1] == pytest.approx((1 / 3 + 1 / 2) / gap**2, rel=1e-9)
    assert star == pytest.approx(40.0 + 0.4 * gap, rel=1e-15)


@pytest.mark.parametrize("n_blocks", [2, MIN_BLOCKS - 1, MIN_BLOCKS, 11])
def test_the_quantile_is_students_t_and_below_five_blocks_the_interval_is_walds(
    n_blocks: int,
) -> None:
    fit = fit_poisson(random_cells(5, n_blocks))
    assert MIN_BLOCKS == 5
    if n_blocks < 5:
        assert fit.se_type == "wald"
        assert fit.cov == fit.wald
        assert fit.uncertainty.quantile == pytest.approx(scipy.stats.norm.ppf(0.975), rel=1e-12)
    else:
        assert fit.se_type == "block"
        assert fit.cov != fit.wald
        assert fit.uncertainty.quantile == pytest.approx(
            scipy.stats.t.ppf(0.975, n_blocks - 1), rel=1e-10
        )


def test_the_intervals_are_symmetric_in_log_A_and_in_k() -> None:
    fit = fit_poisson(random_cells(0))
    half_a = fit.uncertainty.quantile * math.sqrt(fit.cov[0][0])
    half_k = fit.uncertainty.quantile * math.sqrt(fit.cov[1][1])
    assert fit.ci_A == pytest.approx((fit.A * math.exp(-half_a), fit.A * math.exp(half_a)))
    assert fit.ci_k == pytest.approx((fit.k - half_k, fit.k + half_k))
    (aa, ak), (_, kk) = fit.cov
    half = fit.uncertainty.quantile * math.sqrt(aa - 2 * 2.5 * ak + 2.5**2 * kk)
    level = fit.A * math.exp(-fit.k * 2.5)
    assert fit.interval(2.5) == pytest.approx((level * math.exp(-half), level * math.exp(half)))


# --- where there is no estimate ------------------------------------------------------------------


def code_of(data: Cells) -> str:
    with pytest.raises(EstimateError) as caught:
        fit_poisson(data)
    return caught.value.code


def test_no_event_has_no_estimate() -> None:
    assert code_of(cells([1.0, 2.0], [10.0, 10.0], [0, 0])) == "no_events"
    assert code_of(cells([], [], [])) == "no_events"


@pytest.mark.parametrize(
    ("delta", "exposure", "events"),
    [
        ([1.0, 2.0, 3.0], [10.0] * 3, [5, 0, 0]),  # all at the nearest
        ([1.0, 2.0, 3.0], [10.0] * 3, [0, 0, 5]),  # all at the farthest
        ([2.0], [10.0], [5]),  # one distance only
        ([2.0, 3.0], [10.0, 0.0], [5, 1]),  # one distance with exposure
        ([2.0, 3.0], [0.0, 0.0], [5, 1]),  # none
        ([1.0, 2.0, 0.0], [10.0, 10.0, 0.0], [1, 1, 9]),  # events nearer than any exposure
    ],
)
def test_no_mle_is_a_typed_error(
    delta: list[float], exposure: list[float], events: list[int]
) -> None:
    assert code_of(cells(delta, exposure, events)) == "no_mle"


@pytest.mark.parametrize("at", ["nearest", "farthest"])
@pytest.mark.parametrize("near", [0.1, 1.1, 3.3, 7.81])
def test_all_events_at_one_end_have_no_mle_however_the_time_is_cut(at: str, near: float) -> None:
    """The mean of equal distances is that distance: rounding of its sum is no estimate."""
    for n_blocks in range(1, 40):
        delta = [near] * n_blocks + [near + 1.5] * n_blocks
        some, none = list(range(1, n_blocks + 1)), [0] * n_blocks
        events = some + none if at == "nearest" else none + some
        block = list(range(n_blocks)) * 2
        assert code_of(cells(delta, [10.0] * len(delta), events, block)) == "no_mle"


def test_nothing_filled_leaves_an_upper_limit() -> None:
    assert upper_limit(1000.0) == pytest.approx(2.996e-3, rel=1e-3)
    assert math.exp(-upper_limit(123.0) * 123.0) == pytest.approx(0.05, rel=1e-12)
    assert upper_limit(0.0) == math.inf


def test_an_A_that_no_number_holds_is_a_typed_error() -> None:
    """Rates 10 and 5 at distances 5 and 5.0005: k = 1386 per tick, A = e^6930."""
    assert code_of(cells([5.0, 5.0005], [100.0, 100.0], [10, 5])) == "no_mle"


def test_a_rising_intensity_is_fitted_as_it_is() -> None:
    fit = fit_poisson(cells([1.0, 2.0], [100.0, 100.0], [10, 20]))
    assert fit.k == pytest.approx(-math.log(2.0), rel=1e-12)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 50_000_000), st.integers(0, 10**7), st.integers(0, 2000)),
        min_size=2,
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_whatever_has_an_mle_is_fitted_to_score_zero(rows: list[tuple[int, int, int]]) -> None:
    """Also where events stand at distances without exposure, on any range of distances."""
    delta = [row[0] / 1e6 for row in rows]
    data = cells(delta, [row[1] / 1000 for row in rows], [row[2] for row in rows])
    rested = data.delta[data.exposure_ms > 0]
    n = data.n_events
    assume(n > 0 and len(rested) > 1)
    mean = float((data.events * data.delta).sum()) / n
    assume(rested.min() + 1e-3 < mean < rested.max() - 1e-3)
    fit = fit_poisson(data)
    weight = data.exposure_s[data.exposure_ms > 0] * np.exp(-fit.k * (rested - mean))
    assert (weight * rested).sum() / weight.sum() == pytest.approx(mean, rel=1e-9, abs=1e-9)


def test_an_event_far_from_any_exposure_does_not_overflow() -> None:
    """Quotes at 5 and 5.05 ticks, one fill at 50 in the ms its order became active."""
    data = cells([5.0, 5.05, 50.0], [1000.0, 1000.0, 0.0], [1500, 1000, 1])
    mean = (1500 * 5.0 + 1000 * 5.05 + 50.0) / 2501
    share = (mean - 5.0) / 0.05  # of the weight at 5.05
    fit = fit_poisson(data)
    assert fit.k == pytest.approx(math.log((1 - share) / share) / 0.05, rel=1e-8)


# --- trials --------------------------------------------------------------------------------------


def draws(delta: Any, trials: Any, events: Any, dt_ms: float, block: Any = None) -> Cells:
    n = len(delta)
    return Cells(
        block=np.zeros(n, dtype=np.int64) if block is None else block,
        side=np.ones(n, dtype=np.int8),
        delta=np.asarray(delta, dtype=np.float64),
        exposure_ms=np.rint(np.asarray(trials) * dt_ms).astype(np.int64),
        events=np.asarray(events),
        qty=np.zeros(n),
        dt_ms=dt_ms,
    )


def random_trials(seed: int, dt_s: float, A: float = 1.5, k: float = 0.3) -> Cells:
    rng = np.random.default_rng(seed)
    delta = np.tile([1.0, 2.0, 3.5, 5.0, 8.0, 12.0], 10)
    trials = rng.integers(50, 2000, len(delta))
    events = rng.binomial(trials, -np.expm1(-A * np.exp(-k * delta) * dt_s))
    return draws(delta, trials, events, dt_s * 1000.0, np.repeat(np.arange(10), 6))


def binomial_glm(data: Cells, dt_s: float) -> Any:
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    offset = np.full(len(data.delta), math.log(dt_s))
    counts = np.column_stack([data.events, data.trials - data.events])
    return sm.GLM(counts, design(data.delta), family=family, offset=offset)


@pytest.mark.parametrize("dt_s", [0.015, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_trials_equal_the_binomial_glm_with_complementary_log_log_link(
    seed: int, dt_s: float
) -> None:
    data = random_trials(seed, dt_s)
    fit = fit_trials(data)
    glm = binomial_glm(data, dt_s).fit(tol=1e-15, maxiter=300)
    np.testing.assert_allclose([math.log(fit.A), fit.k], glm.params, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fit.wald, glm.cov_params(), rtol=1e-7)
    assert fit.n_events == data.events.sum()
    assert fit.exposure_s == pytest.approx(data.trials.sum() * dt_s)


def test_the_block_covariance_of_trials_is_the_sandwich_of_statsmodels_scores() -> None:
    """Bread: inverse expected information, the same as Wald's (statsmodels' own cluster
    covariance takes the observed one, which differs by 0.1 % here); times B/(B-1)."""
    data = random_trials(7, 0.1)
    fit = fit_trials(data)
    model = binomial_glm(data, 0.1)
    glm = model.fit(tol=1e-15, maxiter=300)
    score = model.score_obs(glm.params)
    meat = sum(np.outer(u, u) for u in (score[data.block == b].sum(axis=0) for b in range(10)))
    bread = glm.cov_params()
    np.testing.assert_allclose(fit.cov, bread @ meat @ bread * 10 / 9, rtol=1e-6)
    assert fit.uncertainty.quantile == pytest.approx(scipy.stats.t.ppf(0.975, 9), rel=1e-10)


def test_the_log_likelihood_of_trials_is_the_bernoulli_one() -> None:
    data = random_trials(1, 0.1)
    fit = fit_trials(data)
    p = -np.expm1(-0.1 * fit.A * np.exp(-fit.k * data.delta))
    expected = (data.events * np.log(p) + (data.trials - data.events) * np.log1p(-p)).sum()
    assert fit.loglik == pytest.approx(float(expected), rel=1e-12)


def test_short_steps_make_trials_a_poisson_process() -> None:
    # the same events over the same time in steps of 1 µs: p -> lambda dt
    data = cells(*EXAMPLE)
    fine = draws(data.delta, np.full(5, 10**9), data.events, 1e-3)
    fit, limit = fit_trials(fine), fit_poisson(data)
    assert (fit.A, fit.k) == pytest.approx((limit.A, limit.k), rel=1e-6)


def test_trials_that_always_hit_still_converge() -> None:
    # two distances, closed form: hazard = -log(1 - N/n)/dt at each
    fit = fit_trials(draws([1.0, 3.0], [1000, 1000], [990, 500], 500.0))
    near, far = -math.log(0.01) / 0.5, -math.log(0.5) / 0.5
    assert fit.k == pytest.approx(math.log(near / far) / 2.0, rel=1e-9)
    assert fit.intensity(1.0) == pytest.approx(near, rel=1e-9)


@pytest.mark.parametrize("events", [[0, 0], [5, 0], [0, 5]])
def test_trials_without_an_mle_raise_the_same_errors(events: list[int]) -> None:
    with pytest.raises(EstimateError) as caught:
        fit_trials(draws([1.0, 3.0], [100, 100], events, 100.0))
    assert caught.value.code == ("no_mle" if sum(events) else "no_events")


def test_a_truth_drawn_row_by_row_is_recovered_by_the_trials() -> None:
    scenario = SCENARIOS["per_tick"][1]
    log = simulate(scenario, 11)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0, POISSON_DT_MS=100)
    fit = result.estimate.fit
    assert fit is not None
    assert fit.method == "trial_mle"
    assert abs(math.log(fit.A / scenario.A)) < 3.0 * math.sqrt(fit.cov[0][0])
    assert abs(fit.k - scenario.k) < 3.0 * math.sqrt(fit.cov[1][1])
    assert math.sqrt(fit.cov[1][1]) < 0.02


def test_fills_drawn_with_an_unknown_step_are_refused() -> None:
    log = simulate(replace(SCENARIOS["per_tick"][1], duration_s=60.0), 11)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    assert result.estimate.fit is None
    assert result.estimate.refusal is not None
    assert result.estimate.refusal.code == "dt_unknown"
    assert result.params is None


@pytest.mark.parametrize("seed", range(2))
def test_a_truth_in_continuous_time_is_recovered(seed: int) -> None:
    scenario = SCENARIOS["all_at_once"][1]
    log = simulate(scenario, seed)
    fit = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0).estimate.fit
    assert fit is not None
    assert abs(math.log(fit.A / scenario.A)) < 3.0 * math.sqrt(fit.cov[0][0])
    assert abs(fit.k - scenario.k) < 3.0 * math.sqrt(fit.cov[1][1])
    assert math.sqrt(fit.cov[1][1]) < 0.02


# --- the interval of a single rate ---------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_of_a_count_is_garwoods(level: float) -> None:
    n = np.array([0, 1, 2, 5, 30, 1000, 250_000])
    low, high = poisson_interval(n, level)
    tail = (1 - level) / 2
    expected = np.where(n > 0, scipy.stats.chi2.ppf(tail, np.maximum(2 * n, 1)) / 2, 0.0)
    np.testing.assert_allclose(low, expected, rtol=1e-10)
    np.testing.assert_allclose(high, scipy.stats.chi2.ppf(1 - tail, 2 * n + 2) / 2, rtol=1e-10)


def test_the_interval_of_five_events_by_the_table() -> None:
    low, high = poisson_interval(np.array([0, 5]))
    assert low == pytest.approx([0.0, 1.6235], abs=5e-5)
    assert high == pytest.approx([3.6889, 11.6683], abs=5e-5)
