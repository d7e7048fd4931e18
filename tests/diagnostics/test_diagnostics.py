"""Uncertainty and diagnostics against known answers, closed forms and independent software."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.sparse import csr_array

import mm
from mm.core.arrays import Floats
from mm.diagnostics.draws import Draws
from mm.diagnostics.replay import replay, seeded_draws
from mm.diagnostics.rescaled_gaps import _comparable, _ks, rescaled_time
from mm.diagnostics.schedule import make_schedule, over_time
from mm.diagnostics.shape import PearsonByDistance, pearson_by_distance, power_law
from mm.diagnostics.stability import (
    Counts,
    blocks,
    halves,
    out_of_sample,
)
from mm.diagnostics.time_at_risk import Risk
from mm.diagnostics.time_rescaling import rescale
from mm.exposure.accounting import Cells, Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.exposure.trials import trial_sums
from mm.fitting.fill_model import PoissonFillModel
from mm.fitting.fit import fit_poisson
from mm.fitting.uncertainty import (
    between_periods,
    block_effects,
    firth,
    predictive,
    profile_interval,
    quasi_interval,
)
from mm.logs.load import log_from_frames
from mm.simulate import Burst, Scenario, simulate

DELTA = np.array([1.0, 2.0, 3.0, 5.0, 8.0])
EVENTS = np.array([62, 45, 38, 22, 9])
RNG_SEED = 7


def cells(
    delta: Floats, seconds: Floats, events: np.ndarray, block: np.ndarray | None = None
) -> Cells:
    n = len(delta)
    return Cells(
        block=np.zeros(n, dtype=np.int64) if block is None else block,
        side=np.ones(n, dtype=np.int8),
        delta=delta,
        exposure_ms=np.round(np.asarray(seconds) * 1000).astype(np.int64),
        events=events.astype(np.int64),
        qty=np.zeros(n),
    )


KNOWN = cells(DELTA, np.full(5, 1000.0), EVENTS)


def exposure_of(scenario: Scenario, seed: int = 3) -> Exposure:
    log = simulate(scenario, seed)
    runs = log_from_frames([(log.orders, log.fills, log.state)]).runs
    return measure_exposure(runs, tick_size=scenario.tick_size, max_state_gap_ms=5000, block_s=60.0)


@pytest.fixture(scope="module")
def clean() -> Exposure:
    return exposure_of(Scenario(duration_s=600.0))


@pytest.fixture(scope="module")
def bursty() -> Exposure:
    scenario = Scenario(A=0.5, duration_s=1200.0, burst=Burst(8.0, 0.1, 15.0))
    return exposure_of(scenario)


def test_profile_interval_is_where_the_likelihood_has_fallen_by_1_92() -> None:
    fit = fit_poisson(KNOWN)
    (low_A, high_A), (low_k, high_k) = profile_interval(KNOWN, fit)

    def loglik(a: float, k: float) -> float:
        return float((EVENTS * (a - k * DELTA)).sum() - (1000 * np.exp(a - k * DELTA)).sum())

    grid = np.linspace(-1.0, 1.0, 20_001)
    best = loglik(math.log(fit.A), fit.k)
    for k in (low_k, high_k):
        profiled = max(loglik(math.log(fit.A) + shift, k) for shift in grid[::50])
        assert best - profiled == pytest.approx(3.841459 / 2, abs=2e-3)
    for A in (low_A, high_A):
        profiled = max(loglik(math.log(A), fit.k + shift) for shift in grid[::50])
        assert best - profiled == pytest.approx(3.841459 / 2, abs=2e-2)
    assert low_A < fit.A < high_A
    assert low_k < fit.k < high_k


@pytest.mark.parametrize("hair", [1e-4, 1e-6, 1e-9])
def test_a_profile_without_an_end_is_open(hair: float) -> None:
    """All fills but for a hair at the nearest distance: any k that is large enough will do."""
    nearly = cells(
        np.array([0.5 - hair, 0.5, 3.0]), np.array([1.0, 50.0, 500.0]), np.array([0, 20, 0])
    )
    (low_A, high_A), (low_k, high_k) = profile_interval(nearly, fit_poisson(nearly))
    assert 0.5 < low_A < 1.0
    assert 1.0 < low_k < 3.0
    assert high_k == math.inf
    assert high_A > 1e6


def test_quasi_interval_is_wald_inflated_and_never_deflated() -> None:
    fit = fit_poisson(KNOWN)
    (_, _), (low, high) = quasi_interval(fit, 4.0)
    assert high - low == pytest.approx(2 * 1.959964 * 2 * 0.04143743, rel=1e-6)
    assert quasi_interval(fit, 0.3) == quasi_interval(fit, 1.0)


def test_pearson_of_the_known_answer() -> None:
    fit = fit_poisson(KNOWN)
    mu = 1000 * fit.rates(DELTA)
    found = pearson_by_distance(DELTA, EVENTS.astype(float), mu, np.random.default_rng(1))
    assert found.x2 == pytest.approx(0.25675, abs=5e-6)
    assert found.dof == 3
    assert found.p > 0.9


def test_the_usable_range_is_the_longest_stretch_that_holds() -> None:
    found = PearsonByDistance(
        low=np.array([0.0, 1.0, 2.0, 3.0, 9.0]),
        high=np.array([1.0, 2.0, 3.0, 9.0, 20.0]),
        observed=np.array([159, 100, 90, 30, 60]),
        expected=np.array([24.0, 105.0, 88.0, 33.0, 20.0]),
        x2=1.0,
        dof=3,
        p=0.001,
    )
    assert found.usable(0.25, 99.0) == (1.0, 9.0)
    assert replace(found, observed=np.array([24, 300, 300, 300, 20])).usable(0.25, 99.0) == (
        0.0,
        1.0,
    )
    assert replace(found, observed=np.full(5, 1000)).usable(0.25, 99.0) is None


def test_firth_adds_half_an_event_to_each_cell_of_a_saturated_table() -> None:
    two = cells(np.array([1.0, 4.0]), np.array([50.0, 80.0]), np.array([7, 0]))
    A, k = firth(two)
    rates = A * np.exp(-k * np.array([1.0, 4.0]))
    assert rates == pytest.approx([7.5 / 50, 0.5 / 80], rel=1e-9)


def test_block_effects_equal_a_glm_with_a_level_for_each_block() -> None:
    rng = np.random.default_rng(RNG_SEED)
    block = np.repeat(np.arange(6), 5)
    delta, seconds = np.tile(DELTA, 6), rng.uniform(20, 60, 30)
    level = np.repeat(rng.uniform(0.2, 2.0, 6), 5)
    events = rng.poisson(seconds * level * np.exp(-0.3 * delta))
    table = cells(delta, np.round(seconds, 3), events, block)
    rested, filled = (csr_array(x.reshape(6, 5)) for x in (table.exposure_s, events))
    found = block_effects(DELTA, rested, filled)
    design = np.column_stack([(block == b).astype(float) for b in range(6)] + [-delta])
    glm = sm.GLM(events, design, family=sm.families.Poisson(), exposure=table.exposure_s).fit(
        tol=1e-12
    )
    assert found.k == pytest.approx(glm.params[-1], rel=1e-8)
    assert found.se_k == pytest.approx(glm.bse[-1], rel=1e-6)
    assert found.A_mean == pytest.approx(np.exp(glm.params[:-1]).mean(), rel=1e-8)


def test_between_periods_finds_a_spread_that_is_there_and_none_that_is_not() -> None:
    rng = np.random.default_rng(RNG_SEED)
    mu = np.full(4000, 30.0)
    assert between_periods(rng.poisson(mu).astype(float), mu) < 0.05
    varied = mu * rng.lognormal(-0.5 * 0.4**2, 0.4, 4000)
    tau = math.sqrt(math.exp(0.4**2) - 1)
    assert between_periods(rng.poisson(varied).astype(float), mu) == pytest.approx(tau, rel=0.1)


def test_predictive_interval_of_constant_windows_is_that_of_counts() -> None:
    mu = np.full(40, 30.0)
    steady = mu + np.tile([4.0, -4.0], 20)
    found = predictive(0.5, 1200, steady, mu, 1, 60.0)
    assert found.tau == 0.0
    law = stats.nbinom(1200.0, 1.0 / (1.0 + 30.0 / 1200.0))
    assert found.interval == pytest.approx(0.5 * law.ppf([0.025, 0.975]) / 30.0)


def test_predictive_interval_holds_the_next_minute_of_a_level_that_wanders() -> None:
    """Log levels of 11 minutes and the one behind them, an AR(1) of sd 0.4."""
    rng = np.random.default_rng(RNG_SEED)
    inside, n = 0, 400
    for _ in range(n):
        level = [rng.normal(0.0, 0.4)]
        for _ in range(11):
            level.append(0.8 * level[-1] + rng.normal(0.0, 0.4 * 0.6))
        counts = rng.poisson(25.0 * np.exp(level)).astype(float)
        seen, ahead = counts[:-1], counts[-1]
        found = predictive(1.0, int(seen.sum()), seen, np.full(11, seen.mean()), 1, 60.0)
        inside += found.interval[0] <= ahead / seen.mean() <= found.interval[1]
    assert 0.90 < inside / n < 0.985


def test_predictive_interval_from_day_to_day() -> None:
    """Five days with levels of sd 0.4, and the sixth."""
    rng = np.random.default_rng(RNG_SEED)
    inside, n = 0, 400
    for _ in range(n):
        days = rng.poisson(400.0 * rng.lognormal(0.0, 0.4, 6)).astype(float)
        seen, mean = days[:5], days[:5].mean()
        found = predictive(1.0, int(seen.sum()), seen, np.full(5, mean), 0, 600.0)
        inside += found.interval[0] <= days[5] / mean <= found.interval[1]
    assert 0.90 < inside / n < 0.985


@pytest.mark.parametrize("seed", [3, 9])
def test_a_period_ahead_is_no_better_known_than_the_level(seed: int) -> None:
    log = simulate(Scenario(duration_s=660.0, A=0.2, burst=Burst(6.0, 0.4, 150.0)), seed)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    found, fit = result.diagnostics, result.estimate.fit
    assert found is not None
    assert fit is not None
    assert fit.se_type == {3: "block", 9: "memory"}[seed]
    low, high = fit.interval(found.halves.delta)
    assert found.predictive.interval[0] < low
    assert found.predictive.interval[1] >= high


def test_power_law_is_found_where_it_is_and_not_where_it_is_not() -> None:
    delta = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])
    seconds = np.full(7, 1e6)
    power = np.round(seconds * 0.7 * (1 + delta) ** -1.5)
    found = power_law(delta, seconds, power)
    assert (found.p, found.delta0) == (pytest.approx(1.5, rel=0.02), pytest.approx(1.0, rel=0.03))
    assert pytest.approx(0.7, rel=0.02) == found.A
    assert found.delta_aic > 1000
    exponential = np.round(seconds * 0.7 * np.exp(-0.3 * delta))
    assert power_law(delta, seconds, exponential).delta_aic < 0


def test_a_power_law_of_prices_on_no_grid_is_that_of_distances_put_together() -> None:
    rng = np.random.default_rng(1)
    delta = np.sort(rng.uniform(0.0, 40.0, 30_000))
    seconds = rng.exponential(0.02, len(delta))
    events = rng.poisson(seconds * 30.0 * (1.0 + delta) ** -1.5).astype(float)
    fine = power_law(delta, seconds, events)
    of = (delta * 500.0).astype(np.int64)  # to 1/500 tick, by hand
    n = np.maximum(np.bincount(of), 1)
    coarse = (np.bincount(of, v)[np.bincount(of) > 0] for v in (delta, seconds, events))
    at, rested, seen = coarse
    merged = power_law(at / n[np.bincount(of) > 0], rested, seen)
    assert fine.delta_aic == pytest.approx(merged.delta_aic, abs=0.02)
    assert fine.p == pytest.approx(merged.p, rel=1e-3)


def test_rescaled_time_passes_a_clean_log_and_sees_bursts(
    clean: Exposure, bursty: Exposure
) -> None:
    for exposure, expected in ((clean, True), (bursty, False)):
        risk = Risk.continuous(exposure, Selection())
        rng = np.random.default_rng(1)
        found = rescaled_time(rescale(risk, risk.fit(), rng), rng)
        assert (found.ks_p > 0.01) is expected
        assert (abs(found.lag1) < 0.1) is expected
        assert found.gaps.mean() == pytest.approx(1.0)
        assert len(found.gaps) == len(np.unique(risk.event_ms))


def test_a_bucket_near_mid_does_not_hide_behind_its_neighbour() -> None:
    """Where 2.7 fills are expected and 24 seen, the check says so and the fit does not hold."""
    delta, seen = np.arange(5) + 0.5, np.array([24.0, 38.0, 26.0, 23.0, 15.0])
    mu = np.array([2.7, 50.0, 36.7, 25.0, 15.0])
    found = pearson_by_distance(delta, seen, mu, np.random.default_rng(1))
    assert (found.low[0], found.high[0], found.observed[0]) == (0.0, 1.0, 24)
    assert found.p < 0.01
    assert found.usable(0.25, 4.5) == (1.0, 5.0)
    assert found.usable(0.25, 3.2) == (1.0, 4.0), "no farther than quotes rested"


def test_a_change_is_seen_in_a_log_of_few_blocks() -> None:
    """Four blocks are too few for a robust error in each half; together they tell enough."""
    exposure = exposure_of(Scenario(duration_s=240.0))
    risk = Risk.continuous(exposure, Selection())
    found = halves(risk, 3.0)
    assert abs(found.z) < found.t_limit
    kept = (risk.event_ms <= risk.begin_ms[0] + 120_000) | (
        np.random.default_rng(RNG_SEED).random(risk.n_events) < 0.4
    )
    changed = halves(risk.where(None, kept), 3.0)
    assert changed.t_limit < 10.0
    assert abs(changed.z) > changed.t_limit


def test_rescaled_clock_ends_at_the_number_of_events(clean: Exposure) -> None:
    risk = Risk.continuous(clean, Selection())
    assert float(risk.expected(risk.fit()).sum()) == pytest.approx(risk.n_events, rel=1e-12)


def test_blocks_and_halves_hold_on_a_clean_log_and_not_on_a_changed_one(clean: Exposure) -> None:
    risk = Risk.continuous(clean, Selection())
    fit = risk.fit()
    assert blocks(risk, Counts.of(risk, fit), np.random.default_rng(1), 1).p > 0.01
    found = halves(risk, fit.delta_star)
    assert abs(found.z) < found.t_limit
    middle = int(0.5 * (risk.begin_ms[0] + risk.end_ms[0]))
    rng = np.random.default_rng(RNG_SEED)
    kept = (risk.event_ms <= middle) | (rng.random(risk.n_events) < 0.4)
    thinned = risk.where(None, kept)
    changed = halves(thinned, fit.delta_star)
    assert changed.ratio == pytest.approx(0.4, abs=0.08)
    assert abs(changed.z) > changed.t_limit
    ahead = out_of_sample(thinned)
    assert ahead is not None
    assert ahead.observed < 0.75 * ahead.predicted


def test_the_replay_balances_and_draws_agree_with_it(clean: Exposure) -> None:
    fit = fit_poisson(clean.cells(Selection()))
    draws = Draws.of_log(clean, trial_sums(clean, drawn=False))
    model = PoissonFillModel(fit.A, fit.k, 100, clean.tick_size)
    replayed = replay(draws, model)
    assert replayed.given == pytest.approx(replayed.observed, rel=0.05)
    for rows in (replayed.by_placement, replayed.by_fill):
        busy = rows.observed >= 100
        assert busy.sum() >= 3
        assert rows.given[busy] == pytest.approx(rows.observed[busy], rel=0.25)
    totals = seeded_draws(draws, model, seeds=30)
    error = math.sqrt(replayed.variance / 30)
    assert abs(totals.mean() - replayed.given) < 4 * error
    assert (totals == seeded_draws(draws, model, seeds=30)).all()


def test_schedule_is_causal_finite_and_in_the_consumers_shape(clean: Exposure) -> None:
    risk = Risk.continuous(clean, Selection())
    schedule = make_schedule(risk, train_min=3.0, step_min=1.0, min_fills=10)
    written = schedule.to_dict(100, 1.0)
    assert set(written) == {"schedule", "dt_ms", "tick_size", "windows"}
    entries = written["schedule"]
    assert len(entries) == 7
    for before, after in pairwise(entries):
        assert before["end_ms"] == after["start_ms"]
    for entry, told in zip(entries, written["windows"], strict=True):
        assert entry["A"] > 0
        assert entry["k"] > 0
        assert told["train_end_ms"] == entry["start_ms"]
        assert told["status"] == "fitted"
    first = schedule.entries[0].window
    segments = clean.segments
    stop_ms = segments.start_ms + segments.duration_ms
    ms = np.minimum(stop_ms, first.stop_ms) - np.maximum(segments.start_ms, first.start_ms)
    inside = ms > 0
    filled = (risk.event_ms > first.start_ms) & (risk.event_ms <= first.stop_ms)
    alone = cells(
        np.concatenate([np.abs(segments.delta[inside]), risk.event_delta[filled]]),
        np.concatenate([ms[inside] / 1000.0, np.zeros(filled.sum())]),
        np.repeat([0, 1], [inside.sum(), filled.sum()]),
    )
    fit = fit_poisson(alone)
    assert (entries[0]["A"], entries[0]["k"]) == (
        pytest.approx(fit.A, rel=1e-12),
        pytest.approx(fit.k, rel=1e-12),
    )


def test_a_schedule_lags_behind_a_level_that_rises() -> None:
    """A window's fit gives that window's fills; what comes later is more, and less if time is
    turned round: the fills missing are the change of one window, and no accounting loses them."""
    exposure = exposure_of(Scenario(duration_s=600.0))
    risk = Risk.continuous(exposure, Selection())
    begin, end = int(risk.begin_ms[0]), int(risk.end_ms[0])
    passed = (risk.event_ms - begin) / (end - begin)
    chance = np.random.default_rng(RNG_SEED).random(risk.n_events)
    found = {
        name: make_schedule(risk.where(None, chance < level), 2.0, 2.0, 10)
        for name, level in (
            ("constant", np.full(len(passed), 0.4)),
            ("rising", 0.15 * 4**passed),
            ("falling", 0.15 * 4 ** (1 - passed)),
        )
    }
    ratio = {name: one.given / one.observed for name, one in found.items()}
    assert ratio["constant"] == pytest.approx(1.0, abs=0.1)
    lag = 4**0.2  # two minutes of ten
    assert ratio["rising"] == pytest.approx(1 / lag, rel=0.12)
    assert ratio["falling"] == pytest.approx(lag, rel=0.12)


def test_schedule_carries_forward_or_leaves_out_what_has_no_fit(clean: Exposure) -> None:
    risk = Risk.continuous(clean, Selection())
    minute = 60_000
    start = int(risk.begin_ms[0])
    quiet = (risk.event_ms < start + 2 * minute) | (risk.event_ms > start + 6 * minute)
    silenced = risk.where(None, quiet)
    status = [e.status for e in make_schedule(silenced, 1.0, 1.0, 10).entries]
    assert status == ["fitted"] * 2 + ["carried"] * 4 + ["fitted"] * (len(status) - 6)
    late = risk.where(None, risk.event_ms > start + 3 * minute)
    entries = make_schedule(late, 1.0, 1.0, 10).entries
    assert entries[0].status == "left_out"
    assert all(
        math.isfinite(e["A"]) for e in make_schedule(late, 1.0, 1.0, 10).to_dict(1, 1.0)["schedule"]
    )


def test_over_time_is_constant_on_a_clean_log(clean: Exposure) -> None:
    found = over_time(Risk.continuous(clean, Selection()))
    assert len(found.windows) == 12
    assert found.p > 0.01


def test_distance_from_the_exponential_is_kolmogorovs() -> None:
    gaps = (
        np.random.default_rng(RNG_SEED).exponential(size=(6, 37))
        * np.linspace(0.5, 2.0, 6)[:, None]
    )
    expected = [stats.kstest(row, "expon").statistic for row in gaps]
    np.testing.assert_allclose(_ks(gaps), expected, rtol=1e-12)


def test_gaps_of_any_number_are_on_one_scale() -> None:
    rng = np.random.default_rng(RNG_SEED)

    def drawn(n: int) -> Floats:
        gaps = rng.exponential(size=(1_500, n))
        return _comparable(_ks(gaps / gaps.mean(axis=1, keepdims=True)), n)

    few, many = (np.quantile(drawn(n), [0.5, 0.9, 0.99]) for n in (60, 2_000))
    # 0.990, 1.094: Stephens (1974), table 1.4, 10 % and 5 % with the mean estimated.
    assert few == pytest.approx(many, rel=0.04)
    assert np.quantile(drawn(500), [0.9, 0.95]) == pytest.approx([0.990, 1.094], rel=0.03)
