"""The consumer's rule and the replay by it, against plain loops."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import mm
from mm.diagnostics.draws import Draws
from mm.diagnostics.replay import Replay, ReplayRows, replay, seeded_draws
from mm.explain import main as explain
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection, buckets
from mm.exposure.segments import joined
from mm.exposure.trials import RowsAtRisk, rows_at_risk, trial_sums
from mm.fitting.fill_model import PoissonFillModel
from mm.logs.load import log_from_frames
from mm.simulate import Scenario, SimulatedLog, simulate
from mm.simulate.demo import SCENARIOS
from tests.support import slow

MODEL = PoissonFillModel(A=1.5, k=0.3, dt_ms=100, tick_size=1.0)
EVERYWHERE = slow.Rules(max_ticks=1e6)


def exposure_of(log: SimulatedLog) -> Exposure:
    runs = log_from_frames([(log.orders, log.fills, log.state)]).runs
    return measure_exposure(runs, tick_size=1.0, max_state_gap_ms=5000, block_s=60.0)


@pytest.fixture(scope="module")
def log() -> SimulatedLog:
    scenario = SCENARIOS["all_at_once"][1]
    return simulate(replace(scenario, duration_s=120.0, outages=((50.0, 12.0),)), 8)


@pytest.fixture(scope="module")
def sums(log: SimulatedLog) -> slow.Sums:
    return slow.account([(log.orders, log.fills, log.state)], EVERYWHERE)


@pytest.fixture(scope="module")
def exposure(log: SimulatedLog) -> Exposure:
    return exposure_of(log)


def rows_of(exposure: Exposure, *, drawn: bool) -> RowsAtRisk:
    return RowsAtRisk(**joined(list(rows_at_risk(exposure, drawn=drawn))))


def draws_of(exposure: Exposure, *, drawn: bool) -> Draws:
    return Draws.of_log(exposure, trial_sums(exposure, drawn=drawn), drawn=True)


@pytest.fixture(scope="module")
def draws(exposure: Exposure) -> Draws:
    return draws_of(exposure, drawn=False)


@pytest.fixture(scope="module")
def replayed(draws: Draws) -> Replay:
    return replay(draws, MODEL)


def chance(model: PoissonFillModel, delta: float) -> float:
    """p = 1 - exp(-A exp(-k |delta|) dt), as the consumer writes it."""
    return -math.expm1(-model.A * math.exp(-model.k * abs(delta)) * model.dt_ms / 1000.0)


@pytest.mark.parametrize("model", [MODEL, replace(MODEL, k=-0.1), replace(MODEL, dt_ms=5000)])
def test_the_probability_of_one_draw(model: PoissonFillModel) -> None:
    delta = np.array([-3.0, -0.5, 0.0, 0.5, 1.0, 7.25, 50.0])
    expected = [chance(model, d) for d in delta]
    np.testing.assert_allclose(model.probability(delta), expected, rtol=1e-9)


def test_the_probability_by_hand() -> None:
    # lambda = 2 exp(-ln 2) = 1 /s, dt = 0.5 s: 1 - exp(-0.5)
    model = PoissonFillModel(A=2.0, k=math.log(2.0), dt_ms=500, tick_size=1.0)
    assert model.probability(np.array([1.0, -1.0])) == pytest.approx([0.3934693402873666] * 2)


def test_probabilities_stay_between_0_and_1_at_any_distance() -> None:
    far = np.array([0.0, 1e3, 1e6])
    for k in (-5.0, 0.0, 5.0):
        p = replace(MODEL, k=k).probability(far)
        assert ((p >= 0.0) & (p <= 1.0)).all()


def test_tiny_probabilities_keep_their_digits() -> None:
    p = replace(MODEL, k=1.0).probability(np.array([40.0]))
    assert p == pytest.approx([0.15 * math.exp(-40.0)], rel=1e-12)


def test_what_is_given_is_the_sum_of_p_over_the_rows_at_risk(
    replayed: Replay, sums: slow.Sums
) -> None:
    by_fill: Counter[int] = Counter()
    by_level: Counter[int] = Counter()
    variance = 0.0
    for (_, _, _, micro, level), n in sums.at_risk.items():
        p = chance(MODEL, micro / 1e6)
        by_fill[micro // 1_000_000] += n * p  # type: ignore[assignment]
        by_level[level] += n * p  # type: ignore[assignment]
        variance += n * p * (1.0 - p)
    for rows, expected in ((replayed.by_fill, by_fill), (replayed.by_placement, by_level)):
        given = dict(zip(rows.low.tolist(), rows.given.tolist(), strict=True))
        assert {b: p for b, p in given.items() if p} == pytest.approx(dict(expected), rel=1e-10)
    assert replayed.given == pytest.approx(sum(by_fill.values()), rel=1e-10)
    assert replayed.variance == pytest.approx(variance, rel=1e-10)


def test_the_observed_fills_are_all_first_fills_that_are_events(
    replayed: Replay, exposure: Exposure, sums: slow.Sums
) -> None:
    by_fill: Counter[int] = Counter()
    by_level: Counter[int] = Counter()
    for (_, _, _, micro, level), n in sums.events.items():
        by_fill[micro // 1_000_000] += n
        by_level[level] += n
    market = Draws.of_log(exposure, trial_sums(exposure, drawn=False))
    assert Counter(buckets(market.event_delta).tolist()) == by_fill
    for found in (replayed, replay(market, MODEL)):
        rows = found.by_placement
        observed = dict(zip(rows.low.tolist(), rows.observed.tolist(), strict=True))
        assert {level: n for level, n in observed.items() if n} == dict(by_level)
        assert found.observed == sums.fill_rows["event"] > 100


def test_orders_and_their_time_stand_at_the_distance_of_placement(
    draws: Draws, sums: slow.Sums
) -> None:
    rested: Counter[int] = Counter()
    for key, ms in sums.exposure_ms.items():
        rested[key[4]] += ms
    found = dict(zip(draws.levels.tolist(), (draws.rest_s * 1000).round().tolist(), strict=True))
    assert {level: ms for level, ms in found.items() if ms} == dict(rested)
    empty = sums.orders["of these with an empty interval"]
    assert draws.orders.sum() == sums.orders["accepted"] - empty


def test_quotes_that_mid_has_run_through_are_told_apart(
    log: SimulatedLog, exposure: Exposure
) -> None:
    signed = slow.account(
        [(log.orders, log.fills, log.state)], replace(EVERYWHERE, min_ticks=-1e6, signed=True)
    )
    sides = Draws.of_log(exposure, trial_sums(exposure, drawn=False))
    told = replay(sides, MODEL)
    through = sum(n for key, n in signed.events.items() if key[3] < 0)
    assert told.through.observed.sum() == through > 0
    assert told.by_fill.observed.sum() == told.observed - through
    # by the distance at the fill in time: T lambda
    in_time = sum(
        ms / 1000.0 * MODEL.A * math.exp(-MODEL.k * key[3] / 1e6)
        for key, ms in signed.exposure_ms.items()
        if key[3] >= 0
    )
    assert told.by_fill.given.sum() == pytest.approx(in_time, rel=1e-9)
    run_through = sum(
        ms / 1000.0 * MODEL.A * math.exp(-MODEL.k * -key[3] / 1e6)
        for key, ms in signed.exposure_ms.items()
        if key[3] < 0
    )
    assert told.through.given.sum() == pytest.approx(run_through, rel=1e-9)


def rows(observed: list[int], given: list[float], dispersion: float = 1.0) -> ReplayRows:
    n = len(observed)
    low = np.arange(n)
    none = np.zeros(n, dtype=np.int64)
    return ReplayRows(
        "placement", low, low + 1, none, none * 1.0, np.array(observed), np.array(given), dispersion
    )


@pytest.mark.parametrize("dispersion", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("mean", [0.5, 5.0, 40.0, 3000.0])
def test_intervals_are_quantiles_of_scipy_s_distributions(mean: float, dispersion: float) -> None:
    low, high = rows([0], [mean], dispersion).interval
    if dispersion == 1.0:
        known = scipy.stats.poisson(mean)
    else:
        known = scipy.stats.nbinom(mean / (dispersion - 1.0), 1.0 / dispersion)
    assert (low[0], high[0]) == (known.ppf(0.025), known.ppf(0.975))


def test_rows_with_few_fills_are_merged_and_none_is_lost() -> None:
    table = rows([40, 3, 1, 0, 2], [30.0, 2.0, 4.0, 1.0, 2.0]).merged()
    assert table.low.tolist() == [0, 1]
    assert table.high.tolist() == [1, 5]
    assert table.observed.tolist() == [40, 6]
    assert table.given.tolist() == [30.0, 9.0]


def test_a_row_is_off_by_size_and_by_more_than_chance() -> None:
    limits = (0.25, 0.1, 0.01, 0)
    assert rows([100, 100], [60.0, 140.0]).off(*limits) == [0, 1]
    assert rows([100, 100], [90.0, 110.0]).off(*limits) == []  # the size does not matter
    assert rows([8, 8], [5.0, 11.0]).off(*limits) == []  # chance gives it
    assert rows([100, 100], [60.0, 140.0], 9.0).off(*limits) == []  # bursts give it
    assert rows([1000, 20], [1000.0, 60.0]).off(*limits) == []  # few fills are there
    many = replace(rows([1000, 20], [1000.0, 60.0]), orders=np.array([500, 500]))
    assert many.off(*limits) == [1]  # but many orders


def test_rows_are_held_to_chance_together() -> None:
    table = rows([110, 90, 30, 12], [100.0, 100.0, 25.0, 10.0])
    x2 = 1.0 + 1.0 + 1.0 + 0.4
    assert table.chi2_p(2) == pytest.approx(scipy.stats.chi2(2).sf(x2))
    assert replace(table, dispersion=2.0).chi2_p(0) == pytest.approx(scipy.stats.chi2(4).sf(x2 / 2))


def test_another_tick_size_gives_the_same_answer_if_k_is_rescaled(
    draws: Draws, replayed: Replay
) -> None:
    other = replace(MODEL, k=MODEL.k * 0.25, tick_size=0.25)  # 0.3 per 1.0 = 0.075 per 0.25
    again = replay(draws, other)
    np.testing.assert_allclose(again.by_fill.given, replayed.by_fill.given, rtol=1e-12)
    assert again.by_fill.observed.tolist() == replayed.by_fill.observed.tolist()
    not_rescaled = replay(draws, replace(MODEL, tick_size=0.25))
    assert not_rescaled.given < 0.6 * replayed.given


def test_draws_without_fills_and_fills_without_draws_both_show() -> None:
    # BUY at 98 under 100; a fill in the ms "b" became active, one tick away and never at risk
    state = pd.DataFrame({"recv_ms": range(1000, 6000, 1000), "mid": 100.0})
    orders = pd.DataFrame(
        {
            "recv_ms": [1500, 2500],
            "order_id": ["a", "b"],
            "action": "PLACE",
            "side": "BUY",
            "price": [98.0, 99.0],
        }
    )
    fills = pd.DataFrame({"recv_ms": [2500], "order_id": ["b"]})
    runs = log_from_frames([(orders, fills, state)]).runs
    exposure = measure_exposure(runs, tick_size=1.0, max_state_gap_ms=5000, block_s=60.0)
    table = replay(draws_of(exposure, drawn=False), MODEL).by_fill
    # the run ends at 5000: "a" is at risk in the rows of 2000, 3000 and 4000
    assert table.low.tolist() == [1, 2]
    assert table.given == pytest.approx([0.0, 3 * chance(MODEL, 2.0)])
    assert table.observed.tolist() == [1, 0]


def test_drawing_every_row_gives_back_the_prediction(
    exposure: Exposure, draws: Draws, replayed: Replay
) -> None:
    p = MODEL.probability(rows_of(exposure, drawn=False).delta)
    rng = np.random.default_rng(1)
    row_by_row = np.array([(rng.random(len(p)) < p).sum() for _ in range(200)])
    for totals in (row_by_row, seeded_draws(draws, MODEL, seeds=200)):
        error = np.std(totals) / math.sqrt(len(totals))
        assert abs(np.mean(totals) - replayed.given) < 4.0 * error
        assert np.var(totals) == pytest.approx(replayed.variance, rel=0.35)


def test_a_log_drawn_row_by_row_is_predicted_from_its_truth() -> None:
    """Its trials end with the fill's own row, which is where those of a market's log end too."""
    scenario = replace(SCENARIOS["per_tick"][1], duration_s=300.0)
    log = simulate(scenario, 3)
    exposure = exposure_of(log)
    truth = PoissonFillModel(scenario.A, scenario.k, scenario.dt_ms, 1.0)
    full = rows_of(exposure, drawn=True)
    replayed = replay(draws_of(exposure, drawn=True), truth)
    n = int(full.event.sum())
    assert n == log.fills["order_id"].nunique()
    assert abs(replayed.given - n) < 4.0 * math.sqrt(replayed.variance)
    as_of_market = rows_of(exposure, drawn=False)
    for name in ("order", "time_ms", "delta"):
        np.testing.assert_array_equal(getattr(as_of_market, name), getattr(full, name))


@pytest.mark.parametrize("activate_ms", [1, 370])
def test_slow_rows_give_the_market_s_fills_too(activate_ms: int) -> None:
    """lambda dt is 0.5 at one tick: without the draw that stands for a fill a fifth was missing."""
    scenario = Scenario(
        A=0.7, k=0.3, duration_s=8000.0, state_gap_ms=1000, dwell_ms=8000, activate_ms=activate_ms
    )
    exposure = exposure_of(simulate(scenario, 5))
    truth = PoissonFillModel(scenario.A, scenario.k, 1000, 1.0)
    draws = Draws.of_log(exposure, trial_sums(exposure, drawn=False))
    found = replay(draws, truth)
    assert found.observed > 4000
    # Mid moves in the second that a draw waits for: a small difference is no fault of the rule.
    assert found.given == pytest.approx(found.observed, rel=0.03)


def test_fills_of_a_drawn_log_stand_at_the_mid_that_drew_them() -> None:
    """Mid moves on between rows: at the mid before, fills stand at other distances than draws."""
    scenario = Scenario(A=1.5, fill_mode="per_tick", deltas_ticks=(2.0,), duration_s=3000.0)
    log = simulate(scenario, 1)
    exposure = exposure_of(log)
    truth = PoissonFillModel(scenario.A, scenario.k, scenario.dt_ms, 1.0)
    draws = draws_of(exposure, drawn=True)
    rows = rows_of(exposure, drawn=True)
    drew = np.sort(np.abs(rows.delta[rows.event]))
    np.testing.assert_array_equal(np.sort(draws.event_delta), drew)
    table = replay(draws, truth).by_fill.merged()
    assert table.chi2_p(0) > 0.01
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0, POISSON_DT_MS=100)
    points = dict(zip(result.intensity.bucket, result.intensity.events, strict=True))
    assert {b: n for b, n in points.items() if n} == Counter(buckets(drew).tolist())


def test_rows_in_time_and_rows_drawn_agree_where_nothing_was_filled(log: SimulatedLog) -> None:
    quiet = replace_fills(log)
    exposure = exposure_of(quiet)
    in_time = rows_of(exposure, drawn=False)
    drawn = rows_of(exposure, drawn=True)
    for name in ("run", "order", "side", "block", "delta", "event"):
        np.testing.assert_array_equal(getattr(in_time, name), getattr(drawn, name))
    assert not drawn.event.any()
    assert Selection().contains(drawn.delta).any()


def replace_fills(log: SimulatedLog) -> SimulatedLog:
    told = log.orders["action"].isin(["FILL", "CLOSE_FILLED"])
    return replace(log, orders=log.orders[~told], fills=log.fills.iloc[:0])


# --- python -m mm.explain ----------------------------------------------------------------------


def page_of(
    folder: Path, model: dict[str, float], capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, str]:
    (folder / "today.json").write_text(json.dumps(model))
    code = explain([str(folder / "today.json"), str(folder), *more])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_parameters_are_judged_in_total_and_by_distance(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    log = simulate(Scenario(duration_s=600.0), 11)
    tables = {"orders": log.orders, "fills": log.fills, "state": log.state}
    write_run(tmp_path, tables)
    result = mm.calibrate(**tables, tick_size=1.0)
    fit, dt_ms = result.estimate.fit, result.estimate.dt_ms
    assert fit is not None
    own = {"A": fit.A, "k": fit.k, "dt_ms": dt_ms, "tick_size": 1.0}
    code, told = page_of(tmp_path, own, capsys)
    assert code == 0
    assert told.endswith("These parameters give back this log's fills.\n")

    code, told = page_of(tmp_path, own | {"A": 2 * fit.A}, capsys)
    assert code == 1
    assert "These parameters do NOT give back this log's fills." in told

    # half the k, and the A that gives back the total all the same
    draws = Draws.of_log(result.accounts.exposure, result.estimate.trials, result.estimate.drawn)
    level = fit.A
    for _ in range(20):
        replayed = replay(draws, PoissonFillModel(level, fit.k / 2, dt_ms, 1.0))
        level *= replayed.observed / replayed.given
    code, told = page_of(tmp_path, own | {"A": level, "k": fit.k / 2}, capsys)
    assert code == 1
    assert "(ratio 1.00)" in told
    assert re.search(r"\d+ to \d+ ticks: they give [\d,]+ where the log has", told)
    assert "in total, but NOT at the distances" in told


def test_the_log_s_own_parameters_are_judged_as_its_report_judges_them(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = Scenario(duration_s=300.0, A=0.5, shape="power", power_p=1.5, power_delta0=1.0)
    log = simulate(scenario, 1)  # a misfit that is chance but for the two that were fitted
    tables = {"orders": log.orders, "fills": log.fills, "state": log.state}
    write_run(tmp_path, tables)
    result = mm.calibrate(**tables, tick_size=1.0)
    assert [f.code for f in result.verdict.findings if f.level == "warn"] == ["shape"]
    params = result.params
    assert params is not None
    for digits in (17, 3):
        model = {"A": float(f"{params.A:.{digits}g}"), "k": float(f"{params.k:.{digits}g}")}
        code, told = page_of(tmp_path, model | {"dt_ms": params.dt_ms, "tick_size": 1.0}, capsys)
        assert code == 1
        assert "NOT at the distances" in told


def test_the_unit_and_the_time_step_are_those_of_the_parameters(
    tmp_path: Path, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    log = simulate(Scenario(duration_s=240.0, fill_mode="per_tick"), 3)
    write_run(tmp_path, {"orders": log.orders, "fills": log.fills, "state": log.state})
    model = {"A": 1.0, "k": 0.5, "dt_ms": 100, "tick_size": 2.0}
    _, told = page_of(tmp_path, model, capsys)
    assert "were placed, in ticks of 2:" in told
    assert "/tick of 2   dt_ms = 100\nstate rows" in told, "the log's own fit has them too"
    (tmp_path / "other.yaml").write_text("defaults: {TICK_SIZE: 4}\n")
    _, told = page_of(tmp_path, model, capsys, "--config", str(tmp_path / "other.yaml"))
    assert "were placed, in ticks of 4:" in told
    _, told = page_of(tmp_path, model, capsys, "-p", "TICK_SIZE", "1", "-p", "POISSON_DT_MS", "50")
    assert "/tick of 1   dt_ms = 50\nstate rows" in told
    code, told = page_of(tmp_path, model, capsys, "-p", "TICKS", "1")
    assert code == 2
    assert "TICKS is not a setting" in told
