"""A level that wanders over times as long as the log, told from bursts that do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from mm.core.arrays import Floats
from mm.fitting.covariance import NO_SKEW, Uncertainty
from mm.fitting.memory import Memory, cosines, memory

SPAN_S = 660.0


def clustered(rng: np.random.Generator, rate: float, branching: float, decay: float) -> Floats:
    """Times of a Hawkes process in [0, 1] of SPAN_S, by its clusters; it began long before."""
    n = rng.poisson(rate * (1 - branching) * (SPAN_S + 2000.0))
    times = rng.uniform(-2000.0, SPAN_S, n)
    out = [times]
    while len(times):
        children = rng.poisson(branching, len(times))
        times = np.repeat(times, children) + rng.exponential(1 / decay, children.sum())
        times = times[times < SPAN_S]
        out.append(times)
    times = np.sort(np.concatenate(out))
    return times[times >= 0] / SPAN_S


def flagged(logs: list[Floats]) -> float:
    found = [memory(log, SPAN_S) for log in logs]
    return float(np.mean([one.outlasts_log for one in found if one is not None]))


def test_cosines_are_those_of_the_positions() -> None:
    u = np.random.default_rng(1).random(50)
    j = np.arange(1, 7)[:, None]
    exact = math.sqrt(2 / 50) * np.cos(np.pi * j * u).sum(axis=1)
    np.testing.assert_allclose(cosines(u, 400)[:6], exact, atol=2e-2)


def test_a_slow_level_is_found_and_sweeps_and_fast_bursts_are_not() -> None:
    rng = np.random.default_rng(4)
    slow = [clustered(rng, 0.5, 0.9, 0.05) for _ in range(300)]
    fast = [clustered(rng, 0.5, 0.5, 2.0) for _ in range(300)]
    constant = [rng.random(rng.poisson(300)) for _ in range(600)]
    sweeps = [np.repeat(log[:150], rng.geometric(0.5, len(log[:150]))) for log in constant]
    assert flagged(slow) > 0.85
    assert flagged(fast) < 0.06
    assert flagged(constant) < 0.04
    assert flagged(sweeps) < 0.04


def test_the_wider_interval_holds_the_level_of_a_slow_process() -> None:
    """11 minutes with branching 0.9 and decay 0.05 /s; robust over minutes alone it is half."""
    rng = np.random.default_rng(5)
    by_block = wider = 0
    for _ in range(300):
        u = clustered(rng, 0.5, 0.9, 0.05)
        counts = np.histogram(u, 11, (0, 1))[0]
        variance = float(((counts - counts.mean()) ** 2).sum()) * 1.1 / len(u) ** 2
        cov = ((variance, 0.0), (0.0, 1.0))
        plain = Uncertainty(cov, NO_SKEW, "block", 11, float(scipy.stats.t.ppf(0.975, 10)))
        found = memory(u, SPAN_S)
        assert found is not None
        error = math.log(len(u) / (0.5 * SPAN_S))
        low, high = plain.offsets((1.0, 0.0))
        by_block += error + low <= 0 <= error + high
        low, high = plain.wider_level(found.half_width).offsets((1.0, 0.0))
        wider += error + low <= 0 <= error + high
    assert by_block < 0.65 * 300
    assert wider > 0.85 * 300


def test_half_widths_add_as_squares_and_k_keeps_its_own() -> None:
    plain = Uncertainty(((0.04, 0.01), (0.01, 0.09)), NO_SKEW, "block", 11, 2.0)
    wider = plain.wider_level(0.3)
    assert wider.se_type == "memory"
    assert wider.offsets((1.0, 0.0)) == pytest.approx((-0.5, 0.5))
    assert wider.offsets((0.0, 1.0)) == plain.offsets((0.0, 1.0))
    assert plain.wider_level(0.0) is plain
    found = Memory(ratio=4.0, p=0.01, phi=10.0, n_events=100)
    assert found.half_width == pytest.approx(1.4 * 4.302653 * 0.3)


def test_a_log_of_two_minutes_or_few_fills_is_not_asked() -> None:
    u = np.random.default_rng(6).random(100)
    assert memory(u, 60.0) is None
    assert memory(u[:11], SPAN_S) is None
