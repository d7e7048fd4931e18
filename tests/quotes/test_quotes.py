"""Optimal quotes: known answers, laws, and what a desk finds beside its params."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mm
from mm.fitting.covariance import NO_SKEW, Uncertainty
from mm.fitting.fit import Fit
from mm.logs.log import Run
from mm.pipeline.cli import main
from mm.quotes.models import (
    avellaneda_stoikov,
    coefficients,
    distance_for,
    gueant_lehalle_fernandez_tapia,
)
from mm.quotes.optimal import TAU_S, optimal_quotes
from mm.quotes.volatility import Volatility, volatility
from mm.simulate import Scenario, simulate

A, K, SIGMA, GAMMA = 2.986162360812285, 0.04235741115084049, 10.69, 0.05


def test_the_known_answer_of_another_library() -> None:
    """hftbacktest's tutorial on market making with the closed form."""
    quotes = gueant_lehalle_fernandez_tapia(A, K, SIGMA, GAMMA)
    assert quotes.half_spread == pytest.approx(20.47208533844371, rel=1e-12)
    assert quotes.skew == pytest.approx(9.76326865029227, rel=1e-12)
    c1, c2 = coefficients(A, K, GAMMA)
    assert c1 + 0.5 * c2 * SIGMA == quotes.half_spread


def test_quotes_lean_against_inventory() -> None:
    quotes = gueant_lehalle_fernandez_tapia(A, K, SIGMA, GAMMA)
    bid, ask = quotes.distances(2.0)
    assert bid - ask == pytest.approx(4.0 * quotes.skew)
    assert quotes.distances() == (quotes.half_spread, quotes.half_spread)


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_quotes_do_not_depend_on_the_unit_of_distance(scale: float) -> None:
    """In ticks ``scale`` times as small, distances are as many times as long."""
    one = gueant_lehalle_fernandez_tapia(A, K, SIGMA, GAMMA)
    other = gueant_lehalle_fernandez_tapia(A, K / scale, SIGMA * scale, GAMMA / scale)
    assert other == pytest.approx((one.half_spread * scale, one.skew * scale))


def test_without_risk_the_spread_is_that_of_a_monopolist() -> None:
    """gamma to 0: each side at 1/k from mid, in both models."""
    assert gueant_lehalle_fernandez_tapia(A, K, SIGMA, 1e-9).half_spread == pytest.approx(
        1.0 / K, rel=1e-3
    )
    assert avellaneda_stoikov(K, SIGMA, 1e-9, 1.0).half_spread == pytest.approx(1.0 / K, rel=1e-4)
    tau = avellaneda_stoikov(K, SIGMA, GAMMA, 10.0)
    assert tau.skew == GAMMA * SIGMA**2 * 10.0
    expected = 0.5 * tau.skew + math.log(1.0 + GAMMA / K) / GAMMA
    assert tau.half_spread == pytest.approx(expected, rel=1e-12)


def test_the_distance_of_a_rate_is_its_inverse() -> None:
    assert A * math.exp(-K * distance_for(A, K, 0.7)) == pytest.approx(0.7)
    assert distance_for(A, K, 2 * A) < 0
    for wrong in ((0.0, K, 1.0), (A, -K, 1.0), (A, K, 0.0)):
        with pytest.raises(ValueError, match="positive"):
            distance_for(*wrong)
    with pytest.raises(ValueError, match="positive"):
        coefficients(A, 0.0, GAMMA)


def walk(seed: int, seconds: int = 3600, per_s: float = 4.0, sd: float = 0.5) -> Run:
    rng = np.random.default_rng(seed)
    n = int(per_s * seconds)
    time = 1_735_689_600_000 + np.arange(n) * round(1000 / per_s)
    mid = 100.0 + np.cumsum(rng.normal(0.0, sd / math.sqrt(per_s), n))
    state = pd.DataFrame({"recv_ms": time, "mid": mid})
    return Run(state[:0], state[:0], state, int(time[-1]))


def test_sigma_of_a_random_walk_is_held() -> None:
    held = 0
    for seed in range(100):
        found = volatility([walk(seed)], 0.1, 5000)
        held += found.interval[0] < 5.0 < found.interval[1]
    assert 88 <= held <= 100


def test_sigma_skips_what_nobody_saw() -> None:
    run = walk(1)
    state = run.state.copy()
    state.loc[len(state) // 2 :, "recv_ms"] += 3_600_000
    state.loc[len(state) // 2 :, "mid"] += 500.0
    jumped = Run(run.orders, run.fills, state, int(state["recv_ms"].iloc[-1]))
    whole = volatility([run], 0.1, 5000).sigma
    assert volatility([jumped], 0.1, 5000).sigma == pytest.approx(whole, rel=0.01)


@pytest.fixture(scope="module")
def result() -> mm.Calibration:
    log = simulate(Scenario(A=1.5, k=0.3, duration_s=660.0), 5)
    return mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0, GAMMA=0.05)


def test_what_is_not_sure_is_carried_over(result: mm.Calibration) -> None:
    quotes, fit = result.quotes, result.estimate.fit
    assert quotes is not None
    assert fit is not None
    plain = gueant_lehalle_fernandez_tapia(fit.A, fit.k, quotes.volatility.sigma, 0.05)
    assert (quotes.half_spread.value, quotes.skew.value) == pytest.approx(plain, rel=1e-12)
    for one in (quotes.half_spread, quotes.skew):
        assert one.interval[0] < one.value < one.interval[1]
        # Two ways to carry errors over: alike where errors are small.
        np.testing.assert_allclose(one.interval, one.by_draws, rtol=0.05)
    assert quotes.kappa == fit.k / 1.0
    to_the_end = avellaneda_stoikov(fit.k, quotes.volatility.sigma, 0.05, TAU_S)
    assert [one.value for one in quotes.to_the_end] == pytest.approx(to_the_end, rel=1e-12)
    held = quotes.to_dict("X")["distances_ticks"]
    assert held["0"]["bid"] == held["0"]["ask"] == quotes.half_spread.value
    assert held["2"]["bid"] == pytest.approx(quotes.half_spread.value + 2 * quotes.skew.value)


def test_the_interval_covers_the_quote_of_the_truth() -> None:
    """Estimates drawn around a truth by the covariance that they report."""
    rng = np.random.default_rng(3)
    cov = ((0.01, 0.002), (0.002, 0.0016))
    truth = gueant_lehalle_fernandez_tapia(1.0, 0.3, 2.0, 0.1)
    hit = np.zeros((2, 2))
    for _ in range(200):
        a, k = rng.multivariate_normal([0.0, 0.3], cov)
        sigma = 2.0 * math.exp(rng.normal(0.0, 0.05))
        known = Uncertainty(cov, NO_SKEW, "block", 400, 1.96)
        fit = Fit("poisson_mle", math.exp(a), k, known, cov, 1.0, 100, 1000.0, 0.0)
        found = optimal_quotes(fit, Volatility(sigma, (sigma, sigma), 0.05), 0.1, 1.0, 100.0)
        for nth, one in enumerate((found.half_spread, found.skew)):
            hit[nth, 0] += one.interval[0] <= truth[nth] <= one.interval[1]
            hit[nth, 1] += one.by_draws[0] <= truth[nth] <= one.by_draws[1]
    assert (np.abs(hit / 200 - 0.95) < 0.05).all()


def test_no_risk_aversion_no_quotes(result: mm.Calibration) -> None:
    log = result.log.runs[0]
    frames = (log.orders, log.fills, log.state)
    assert mm.calibrate(*frames, tick_size=1.0).quotes is None


@pytest.mark.usefixtures("shared_kernels")
def test_a_desk_finds_quotes_beside_the_params(tmp_path: Path, root: Path) -> None:
    given = ["--symbols", "BTCUSDT", "--out-dir", str(tmp_path)]
    given = ["--data-dir", str(root / "data"), *given]
    done = CliRunner().invoke(main, [*given, "-p", "GAMMA", "0.05"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "BTCUSDT"
    quotes = json.loads((folder / "quotes_BTCUSDT.json").read_text())
    params = json.loads((folder / "params_BTCUSDT.json").read_text())
    assert quotes["tick_size"] == params["tick_size"]
    low, high = quotes["half_spread"]["ci95"]
    assert low < quotes["half_spread"]["ticks"] < high
    page = (folder / "report_BTCUSDT.html").read_text()
    assert "half spread" in page
    assert CliRunner().invoke(main, given).exit_code == 0
    assert not (folder / "quotes_BTCUSDT.json").exists(), "none are left where none are asked for"
