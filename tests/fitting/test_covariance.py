"""The covariance robust by block and the intervals made of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from mm.exposure.accounting import Cells
from mm.fitting.covariance import MIN_BLOCKS, MIN_SKEW_BLOCKS, NO_SKEW, Uncertainty, robust_by_block
from mm.fitting.fit import fit_poisson


def bursty_cells(n_blocks: int, seed: int = 3, scale: float = 1.0) -> Cells:
    """Cells of blocks whose common level is skew: a few are much busier than the rest."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(n_blocks), 4)
    delta = np.tile([1.0, 2.0, 4.0, 7.0], n_blocks)
    ms = rng.integers(5_000, 20_000, len(delta))
    level = rng.gamma(0.5, 2.0, n_blocks)[block]
    return Cells(
        block=block,
        side=np.ones(len(delta), dtype=np.int8),
        delta=delta * scale,
        exposure_ms=ms,
        events=rng.poisson(ms / 1000.0 * 0.6 * level * np.exp(-0.3 * delta)),
        qty=np.zeros(len(delta)),
    )


def blocks_of(psi: np.ndarray, numbers: np.ndarray | None = None) -> Uncertainty:
    """The uncertainty of contributions given outright."""
    blocks = np.arange(len(psi)) if numbers is None else numbers
    return robust_by_block(np.eye(2), psi, blocks)


def test_the_block_covariance_by_hand() -> None:
    # five blocks with the scores (1, 0), (-1, 0), (0, 2), (0, -1) + (0, -1) and (0, 0)
    score = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -1.0], [0.0, -1.0], [0.0, 0.0]])
    found = robust_by_block(np.eye(2), score, np.array([3, 4, 6, 9, 9, 11]))
    assert (found.se_type, found.n_blocks) == ("block", 5)
    # sum u u' = diag(2, 8), times 5/4
    assert found.cov == ((2.5, 0.0), (0.0, 10.0))
    assert found.third == NO_SKEW


def test_from_three_groups_on_they_are_what_is_independent() -> None:
    score = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -1.0], [0.0, -1.0], [0.0, 0.0]])
    block, group = np.array([3, 4, 6, 9, 9, 11]), np.array([0, 0, 1, 1, 2, 2])
    found = robust_by_block(np.eye(2), score, block, group)
    assert (found.se_type, found.n_blocks) == ("group", 3)
    # sums by group: (0, 0), (0, 1), (0, -1); times 3/2
    assert found.cov == ((0.0, 0.0), (0.0, 3.0))
    assert found.quantile == pytest.approx(scipy.stats.t.ppf(0.975, 2))
    two = robust_by_block(np.eye(2), score, block, np.minimum(group, 1))
    assert two == robust_by_block(np.eye(2), score, block)


def test_days_with_a_level_of_their_own_are_covered() -> None:
    """lambda(3) of five days whose levels have sd 0.4; as one sequence of minutes it is 53 %."""
    rng = np.random.default_rng(12)
    delta = np.tile([1.0, 2.0, 3.0, 5.0, 8.0, 12.0], 55)
    block = np.repeat(np.arange(55), 6)
    mu = 30.0 * np.exp(-0.3 * delta)
    by_day = by_minute = 0
    for _ in range(200):
        level = rng.lognormal(-0.08, 0.4, 5)[block // 11]
        cells = Cells(
            block=block + block // 11,
            side=np.ones(330, dtype=np.int8),
            delta=delta,
            exposure_ms=np.full(330, 60_000),
            events=rng.poisson(mu * level),
            qty=np.zeros(330),
            group=block // 11,
        )
        days, minutes = fit_poisson(cells), fit_poisson(replace(cells, group=None))
        truth = 0.5 * math.exp(-0.9)
        by_day += days.interval(3.0)[0] <= truth <= days.interval(3.0)[1]
        by_minute += minutes.interval(3.0)[0] <= truth <= minutes.interval(3.0)[1]
    assert by_day >= 180
    assert by_minute < 130


def test_few_blocks_give_the_textbook_interval() -> None:
    fit = fit_poisson(bursty_cells(MIN_SKEW_BLOCKS - 1))
    assert MIN_BLOCKS < 6 < 11 < MIN_SKEW_BLOCKS
    half = scipy.stats.t.ppf(0.975, MIN_SKEW_BLOCKS - 2) * math.sqrt(fit.cov[1][1])
    assert fit.ci_k == pytest.approx((fit.k - half, fit.k + half), rel=1e-10)


def test_offsets_are_halls_transform_turned_round() -> None:
    fit = fit_poisson(bursty_cells(40))
    found = fit.uncertainty
    t = scipy.stats.t.ppf(0.975, 39)
    for along in ((1.0, 0.0), (0.0, 1.0), (1.0, -2.5)):
        x, y = along
        sd = math.sqrt(found.variance(along))
        aaa, aak, akk, kkk = found.third
        c = (x**3 * aaa + 3 * x * x * y * aak + 3 * x * y * y * akk + y**3 * kkk) / sd**3
        low, high = found.offsets(along)
        for end, point in ((-low / sd, t), (-high / sd, -t)):
            assert end + c * end**2 / 3 + c**2 * end**3 / 27 + c / 6 == pytest.approx(point)


def test_an_interval_leans_to_the_side_that_bursts_were_missed_on() -> None:
    fit = fit_poisson(bursty_cells(40))
    low, high = fit.uncertainty.offsets((1.0, 0.0))
    assert high > -low > 0


def test_intervals_scale_with_the_unit_of_distance() -> None:
    fine, coarse = fit_poisson(bursty_cells(30)), fit_poisson(bursty_cells(30, scale=10.0))
    assert coarse.ci_A == pytest.approx(fine.ci_A, rel=1e-9)
    assert coarse.ci_k == pytest.approx([end / 10.0 for end in fine.ci_k], rel=1e-9)
    assert coarse.interval(25.0) == pytest.approx(fine.interval(2.5), rel=1e-9)


def test_what_neighbours_share_widens_and_never_narrows() -> None:
    rng = np.random.default_rng(8)
    psi = rng.standard_normal((30, 2))
    apart = blocks_of(psi, 2 * np.arange(30)).cov  # no two of these are neighbours
    np.testing.assert_allclose(apart, psi.T @ psi * 30 / 29)
    pairs = np.repeat(psi[:15], 2, axis=0)
    together = blocks_of(pairs).cov
    alone = blocks_of(pairs, 2 * np.arange(30)).cov
    assert together[0][0] > 1.3 * alone[0][0]
    assert together[1][1] > 1.3 * alone[1][1]
    swinging = pairs * np.tile([1.0, -1.0], 15)[:, None]
    np.testing.assert_allclose(
        blocks_of(swinging).cov, blocks_of(swinging, 2 * np.arange(30)).cov, rtol=0.2
    )
    assert blocks_of(swinging).cov[0][0] >= blocks_of(swinging, 2 * np.arange(30)).cov[0][0]


def test_the_mean_of_skew_blocks_is_covered_better_than_by_t() -> None:
    """Mean of 20 exponential totals (skewness 2)."""
    rng = np.random.default_rng(21)
    draws = rng.gamma(1.0, 1.0, size=(1500, 20))
    above = below = plain = 0
    for sample in draws:
        psi = (sample - sample.mean()) / 20
        low, high = blocks_of(np.column_stack([psi, rng.standard_normal(20)])).offsets((1.0, 0.0))
        above += sample.mean() + high < 1.0
        below += sample.mean() + low > 1.0
        half = scipy.stats.t.ppf(0.975, 19) * sample.std(ddof=1) / math.sqrt(20)
        plain += abs(sample.mean() - 1.0) > half
    assert plain / 1500 > 0.07
    assert (above + below) / 1500 < 0.065
