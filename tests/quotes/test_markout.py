"""Markouts against a plain loop, and what must hold of them."""

from __future__ import annotations

import bisect
from dataclasses import replace

import numpy as np
import pytest

import mm
from mm.quotes.markout import HORIZONS_S, markouts, quote_value
from mm.simulate import Scenario, simulate


@pytest.fixture(scope="module")
def result() -> mm.Calibration:
    log = simulate(Scenario(A=1.5, k=0.3, duration_s=660.0), 7)
    return mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)


def test_markouts_are_those_of_a_plain_loop(result: mm.Calibration) -> None:
    run, exposure = result.log.runs[0], result.accounts.exposure
    placed = {row.order_id: row for row in run.orders[run.orders["action"] == "PLACE"].itertuples()}
    time, mid = run.state["recv_ms"].tolist(), run.state["mid"].tolist()
    ids = exposure.intervals[0].order_id
    found = markouts(exposure)
    for number in range(0, len(found), 7):
        order = placed[ids[exposure.events.order[number]]]
        sign = 1 if order.side == "BUY" else -1
        for h, seconds in enumerate(HORIZONS_S):
            then = int(exposure.events.time_ms[number] + 1000 * seconds)
            if then > time[-1]:
                assert np.isnan(found[number, h])
            else:
                later = mid[bisect.bisect_right(time, then) - 1]
                assert found[number, h] == pytest.approx(sign * (later - order.price))


def test_value_per_hour_is_rate_times_size_times_gain(result: mm.Calibration) -> None:
    exposure = result.accounts.exposure
    found = quote_value(exposure, fee_bps=1.0)
    assert found.has_qty
    level = int(found.levels[0])
    mine = exposure.events.level == level
    price = exposure.intervals[0].price[exposure.events.order[mine]]
    gain = exposure.events.qty[mine] * (markouts(exposure)[mine, 2] - 1e-4 * price)
    there = exposure.sums.level == level
    hours = exposure.sums.values[there, 0].sum() / 3.6e6
    expected = mine.sum() * np.nanmean(gain) / hours
    assert found.value[0] == pytest.approx(expected)
    assert found.value_low[0] < expected < found.value_high[0]
    dear = quote_value(exposure, fee_bps=2.0)
    assert (dear.value < found.value).all()


def test_where_mid_goes_nowhere_a_markout_is_the_distance(result: mm.Calibration) -> None:
    """Mids drawn anew around their middle say nothing of a fill: what is left is the edge alone."""
    exposure = result.accounts.exposure
    rng = np.random.default_rng(0)
    path = exposure.paths[0]
    centre = float(np.nanmedian(path.mid))
    price = np.full(len(exposure.intervals[0].price), centre)
    still = replace(
        exposure,
        paths=(
            replace(
                path,
                mid=np.where(
                    np.isnan(path.mid),
                    np.nan,
                    rng.permutation(np.where(np.isnan(path.mid), centre, path.mid)),
                ),
            ),
        ),
        intervals=(replace(exposure.intervals[0], price=price),),
    )
    found = quote_value(still)
    inside = (found.low <= 0.0) & (found.high >= 0.0)
    assert inside.mean() >= 0.8


def test_no_fill_no_value() -> None:
    log = simulate(Scenario(A=1e-6, k=0.3, duration_s=120.0), 1)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    found = quote_value(result.accounts.exposure)
    assert found.best == -1
    assert not len(found.levels)
