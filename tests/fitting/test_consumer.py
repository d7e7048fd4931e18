"""The consumer's A and k: the estimating equations, their laws and their covariance."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.core.errors import EstimateError
from mm.exposure.cells import Cells
from mm.exposure.segments import UNKNOWN
from mm.fitting.consumer import BLEND, by_placement, fit_by_placement
from mm.fitting.fit import fit_poisson
from mm.fitting.through import fit_both_sides, through_rate
from mm.simulate import Scenario, simulate


def cells(seed: int = 0, n_blocks: int = 12, A: float = 1.5, k: float = 0.3) -> Cells:
    """Orders placed at 1, 3, 6 and 9 ticks that mid comes nearer to or runs away from."""
    rng = np.random.default_rng(seed)
    level = np.repeat([1, 3, 6, 9], 3 * n_blocks)
    delta = level + np.tile([-0.5, 0.0, 1.5], 4 * n_blocks)
    ms = rng.integers(5_000, 40_000, len(level))
    events = rng.poisson(A * np.exp(-k * delta) * ms / 1000.0)
    block = np.tile(np.repeat(np.arange(n_blocks), 3), 4)
    side = np.ones(len(level), dtype=np.int8)
    return Cells(block, side, delta, ms, events, np.zeros(len(level)), level=level)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [BLEND, 0.7, 1.0])
def test_the_equations_are_zero_at_the_root(seed: int, weight: float) -> None:
    data = cells(seed)
    fit = fit_by_placement(data, weight, "blend")
    rest = data.events - data.exposure_s * fit.rates(data.delta)
    x = (1.0 - weight) * data.delta + weight * data.level
    assert rest.sum() == pytest.approx(0.0, abs=1e-9)
    assert (rest * x).sum() == pytest.approx(0.0, abs=1e-8)


def test_without_weight_they_are_the_maximum_likelihood() -> None:
    data = cells(4)
    fit, mle = fit_by_placement(data, 0.0, "placement"), fit_poisson(data)
    assert (fit.A, fit.k) == pytest.approx((mle.A, mle.k), rel=1e-11)
    np.testing.assert_allclose(fit.cov, mle.cov, rtol=1e-8)
    np.testing.assert_allclose(fit.wald, mle.wald, rtol=1e-8)
    assert fit.loglik == pytest.approx(mle.loglik, rel=1e-12)
    assert fit.delta_star == pytest.approx(mle.delta_star, rel=1e-9)


def test_unknown_levels_count_with_their_distance() -> None:
    data = cells(4)
    assert data.level is not None
    unknown = replace(data, level=np.full_like(data.level, UNKNOWN))
    fit, mle = fit_by_placement(unknown, 1.0, "placement"), fit_poisson(data)
    assert (fit.A, fit.k) == pytest.approx((mle.A, mle.k), rel=1e-11)


def test_the_covariance_is_that_of_the_roots_of_resampled_blocks() -> None:
    """Against a bootstrap of whole blocks, which knows nothing of the sandwich."""
    data = cells(7, n_blocks=40)
    fit = fit_by_placement(data, BLEND, "blend")
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(data.block == b) for b in range(40)]
    found = []
    for _ in range(300):
        some = np.concatenate([rows[b] for b in rng.integers(0, 40, 40)])
        columns: dict[str, Any] = {n: v[some] for n, v in vars(data).items() if v is not None}
        again = fit_by_placement(Cells(**columns), BLEND, "blend")
        found.append((math.log(again.A), again.k))
    spread = np.cov(np.array(found).T)
    assert math.sqrt(fit.cov[0][0]) == pytest.approx(math.sqrt(spread[0][0]), rel=0.25)
    assert math.sqrt(fit.cov[1][1]) == pytest.approx(math.sqrt(spread[1][1]), rel=0.25)


def test_units_scale_as_in_the_likelihood() -> None:
    data = cells(2)
    fit = fit_by_placement(data, BLEND, "blend")
    longer = fit_by_placement(replace(data, exposure_ms=data.exposure_ms * 4), BLEND, "blend")
    assert (longer.A, longer.k) == pytest.approx((fit.A / 4, fit.k), rel=1e-10)
    assert data.level is not None
    finer = replace(data, delta=data.delta * 10, level=data.level * 10)
    scaled = fit_by_placement(finer, BLEND, "blend")
    assert (scaled.A, scaled.k) == pytest.approx((fit.A, fit.k / 10), rel=1e-10)


def test_a_truth_without_misfit_is_found_by_all_alike() -> None:
    data = cells(3, n_blocks=400)
    fits = {**by_placement(data), "absolute_mle": fit_poisson(data)}
    assert set(fits) == {"placement", "blend", "absolute_mle"}
    for fit in fits.values():
        assert abs(math.log(fit.A / 1.5)) < 4.0 * math.sqrt(fit.cov[0][0]) < 0.1
        assert abs(fit.k - 0.3) < 4.0 * math.sqrt(fit.cov[1][1]) < 0.02


def test_no_root_is_an_error_and_no_candidate() -> None:
    data = cells(3)
    far = replace(data, events=np.where(data.delta > 5, 60, 20))
    with pytest.raises(EstimateError, match="no single root with k > 0"):
        fit_by_placement(far, 1.0, "placement")
    assert by_placement(far) == {}


# --- quotes that mid has run through -----------------------------------------------------------


def both_sides() -> Cells:
    data = cells(5)
    n = 12
    return Cells(
        block=np.concatenate([data.block, np.arange(n)]),
        side=np.ones(len(data.block) + n, dtype=np.int8),
        delta=np.concatenate([data.delta, np.linspace(-4.0, -0.1, n)]),
        exposure_ms=np.concatenate([data.exposure_ms, np.full(n, 500)]),
        events=np.concatenate([data.events, np.tile([3, 5], n // 2)]),
        qty=np.zeros(len(data.block) + n),
    )


def test_each_side_of_mid_has_its_own_part_of_the_likelihood() -> None:
    data = both_sides()
    fit, alone, through = fit_both_sides(data), fit_poisson(cells(5)), through_rate(data)
    assert (fit.A, fit.k) == pytest.approx((alone.A, alone.k), rel=1e-12)
    assert (through.n_events, through.exposure_s) == (48, 6.0)
    assert through.rate == 8.0
    assert fit.through == pytest.approx(48.5 / (6.0 + 0.05 / alone.A))
    np.testing.assert_allclose(fit.rates(np.array([-3.0, -0.1])), fit.through)
    assert fit.rates(np.array([0.0]))[0] == pytest.approx(fit.A)


def test_the_interval_of_a_count_is_garwood_s() -> None:
    # 10 events in 5 s: chi2(.025; 20)/2 = 4.795389, chi2(.975; 22)/2 = 18.390356
    ms, n = np.array([5_000]), np.array([10])
    one = Cells(np.array([0]), np.array([1], dtype=np.int8), np.array([-1.0]), ms, n, np.zeros(1))
    found = through_rate(one)
    assert found.exact == pytest.approx((4.795389 / 5, 18.390356 / 5), rel=1e-6)
    assert found.by_block is None
    assert found.interval == found.exact


def test_blocks_widen_the_interval_where_fills_come_together() -> None:
    data = both_sides()
    even = through_rate(data)
    together = np.where(data.delta < 0, np.where(data.block % 4 == 0, 16, 0), data.events)
    bursts = through_rate(replace(data, events=together))
    assert even.by_block is not None
    assert bursts.by_block is not None
    assert bursts.n_events == even.n_events
    assert bursts.by_block[1] / bursts.by_block[0] > 2 * even.by_block[1] / even.by_block[0]


def test_nothing_run_through_leaves_the_rate_unknown() -> None:
    found = through_rate(cells(1))
    assert math.isnan(found.rate)
    assert found.rate_for_forecast(0.5) == pytest.approx(10 * 0.5)


def test_points_give_quotes_that_mid_has_run_through_their_own_rate() -> None:
    log = simulate(Scenario(duration_s=240.0, volatility=3.0), 1)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    assert result.estimate.through is not None
    points = pd.read_csv(io.StringIO(result.points_csv()))
    row = points.set_index("delta_bucket").loc[-1]
    rate = result.estimate.through.rate
    assert row["lambda_fit"] == pytest.approx(rate, rel=1e-12)
    assert row["lambda_events_per_s"] == pytest.approx(rate, rel=1e-12)
    assert ">run through<" in result.intensity._repr_html_()
