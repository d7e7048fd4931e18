"""The clock of mid, and what hangs on it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mm
from mm.calibration import Calibration
from mm.core.formatting import figures
from mm.simulate import Scenario, SimulatedLog, simulate

LOG = Scenario(duration_s=900.0, state_gap_ms=100, volatility=2.0)


@pytest.fixture(scope="module")
def log() -> SimulatedLog:
    return simulate(LOG, 3)


def calibrated(log: SimulatedLog, every: int = 1, **settings: float) -> Calibration:
    state = log.state.iloc[::every]
    return mm.calibrate(log.orders, log.fills, state, tick_size=1.0, **settings)


def test_thinned_rows_are_the_log_that_was_written_so(log: SimulatedLog) -> None:
    result = calibrated(log)
    assert result.diagnostics is not None
    clock = result.diagnostics.clock
    assert clock is not None
    for thinned in clock.thinned:
        again = calibrated(log, thinned.every, MAX_STATE_GAP_MS=5000 * thinned.every)
        assert thinned.fit is not None
        assert again.estimate.fit is not None
        own = (again.estimate.fit.A, again.estimate.fit.k)
        assert (thinned.fit.A, thinned.fit.k) == pytest.approx(own, rel=1e-13)


def test_k_falls_with_the_clock_and_the_intensity_where_quotes_rest_hardly(
    log: SimulatedLog,
) -> None:
    result = calibrated(log)
    assert result.diagnostics is not None
    clock = result.diagnostics.clock
    assert clock is not None
    slow = next(t.fit for t in clock.thinned if t.every == 10)
    assert slow is not None
    assert slow.k < clock.own.k
    star = result.diagnostics.halves.delta
    assert slow.intensity(star) == pytest.approx(clock.own.intensity(star), rel=0.15)


def test_what_the_clock_does_is_told_in_report_and_params(log: SimulatedLog) -> None:
    result = calibrated(log)
    found, params = result.diagnostics, result.params
    assert found is not None
    assert found.clock is not None
    assert params is not None
    assert params.mid_clock_ms is not None
    table = found.clock.table(found.rates.quoted)
    assert table is not None
    assert [row[0] for row in table.rows] == ["100 ms (this log)", "200 ms", "500 ms", "1,000 ms"]
    assert table.rows[0][2] == figures(found.clock.own.k)
    for row, thinned in zip(table.rows[1:], params.mid_clock_ms.thinned, strict=True):
        assert thinned.A is not None
        assert thinned.k is not None
        assert row[1:3] == (figures(thinned.A), figures(thinned.k))
        at = thinned.A * math.exp(-thinned.k * params.mid_clock_ms.at_delta)
        assert thinned.rate == pytest.approx(at, rel=1e-12)


def test_gaps_count_where_orders_rest() -> None:
    # rows every 100 ms while an order rests, every 1000 ms afterwards
    times = [*range(0, 60_000, 100), *range(60_000, 200_000, 1000)]
    mid = 100.0 + np.arange(len(times)) % 3
    state = pd.DataFrame({"recv_ms": times, "mid": mid})
    n = 40
    orders = pd.DataFrame(
        {
            "recv_ms": np.arange(n) * 1000,
            "order_id": np.arange(n),
            "action": "PLACE",
            "side": "BUY",
            "price": 98.0 - np.arange(n) % 5,
            "cancel_effective_ms": np.arange(n) * 1000 + 9_000.0,
        }
    )
    fills = pd.DataFrame({"recv_ms": orders["recv_ms"] + 500 + 7 * orders.index % 900})
    fills["order_id"] = orders["order_id"]
    result = mm.calibrate(orders, fills.iloc[::2], state, tick_size=1.0)
    assert result.diagnostics is not None
    assert result.diagnostics.clock is not None
    assert result.diagnostics.clock.median_ms == 100.0
    assert result.diagnostics.clock.gap95_ms == 100.0


def test_another_clock_of_the_consumer_is_warned_of(log: SimulatedLog) -> None:
    assert "consumer_clock" not in codes(calibrated(log, CONSUMER_CLOCK_MS=120))
    assert "consumer_clock" in codes(calibrated(log, CONSUMER_CLOCK_MS=1000))


def test_a_log_that_was_drawn_row_by_row_has_no_other_clock() -> None:
    drawn = simulate(replace(LOG, fill_mode="per_tick", dt_ms=100), 3)
    result = calibrated(drawn, POISSON_DT_MS=100)
    assert result.diagnostics is not None
    assert result.diagnostics.clock is None


def codes(result: Calibration) -> set[str]:
    return {f.code for f in result.verdict.reasons}
