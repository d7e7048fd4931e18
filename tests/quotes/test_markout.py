"""Markouts against a plain loop, and what must hold of them."""

from __future__ import annotations

import bisect
from dataclasses import replace

import numpy as np
import pytest

import mm
from mm import plots
from mm.calibration import value
from mm.exposure.accounting import exposure_of
from mm.logs.load import log_from_frames
from mm.quotes.markout import HORIZONS_S, fee_in, markouts, quote_value
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
    run, measure = result.log.runs[0], result.accounts.exposure.measure
    mid = np.random.default_rng(0).permutation(run.state["mid"].to_numpy())
    orders = run.orders.assign(price=float(np.median(mid)))
    still = exposure_of([replace(run, orders=orders, state=run.state.assign(mid=mid))], measure)
    found = quote_value(still)
    inside = (found.low <= 0.0) & (found.high >= 0.0)
    assert inside.mean() >= 0.8


def test_fees_are_the_fills_own_unless_they_are_given(result: mm.Calibration) -> None:
    run = result.log.runs[0]
    notional = (run.fills["price"] * run.fills["qty"]).sum()
    own = 1e4 * run.fills["fee"].sum() / notional
    assert fee_in(result.log.runs) == pytest.approx(own)
    assert value(result.log, result.accounts, result.settings).fee_bps == pytest.approx(own)
    given = result.settings.model_copy(update={"MAKER_FEE_BPS": -1.0})
    assert value(result.log, result.accounts, given).fee_bps == -1.0
    free = [replace(run, fills=run.fills.drop(columns="fee"))]
    assert fee_in(free) == 0.0
    taken = [replace(run, fills=run.fills.assign(liquidity="TAKER"))]
    assert fee_in(taken) == 0.0


def test_a_bad_fee_costs_no_row() -> None:
    log = simulate(Scenario(A=1.5, k=0.3, duration_s=120.0), 7)
    fees = log.fills["fee"].astype(object)
    fees.iloc[0] = "none"
    found = log_from_frames([(log.orders, log.fills.assign(fee=fees), log.state)])
    assert not found.set_aside
    assert fee_in(found.runs) > 0


def test_a_takers_fill_counts_nowhere() -> None:
    log = simulate(Scenario(A=1.5, k=0.3, duration_s=300.0), 7)
    some = log.fills["order_id"].unique()[::4]
    taker = np.where(log.fills["order_id"].isin(some), "TAKER", "MAKER")
    plain = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    told = mm.calibrate(log.orders, log.fills.assign(liquidity=taker), log.state, tick_size=1.0)
    counted = [int(quote_value(one.accounts.exposure).fills.sum()) for one in (plain, told)]
    assert counted[1] <= counted[0] - 0.9 * len(some)


def test_moves_of_mid_that_know_nothing_of_the_fills_leave_the_edge() -> None:
    """The simulator fills by distance alone: a markout is the distance at the fill, and noise."""
    inside = total = 0
    for seed in range(5):
        log = simulate(Scenario(A=1.0, k=0.4, duration_s=900.0), seed)
        exposure = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0).accounts.exposure
        found, events = quote_value(exposure), exposure.events
        edge = [events.delta[events.level == level].mean() for level in found.levels]
        held = (found.low <= np.array(edge)[:, None]) & (np.array(edge)[:, None] <= found.high)
        inside, total = inside + int(held.sum()), total + held.size
    assert total > 80
    assert inside / total >= 0.88


def test_the_figure_marks_the_best_and_says_where_there_is_none(result: mm.Calibration) -> None:
    found = quote_value(result.accounts.exposure)
    picture = plots.value(found)
    assert f"most at {found.levels[found.best]} ticks" in picture.alt
    none = replace(found, best=-1)
    assert "No placement distance" in plots.value(none).alt


def test_no_fill_no_value() -> None:
    log = simulate(Scenario(A=1e-6, k=0.3, duration_s=120.0), 1)
    result = mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0)
    found = quote_value(result.accounts.exposure)
    assert found.best == -1
    assert not len(found.levels)
