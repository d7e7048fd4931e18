"""Virtual orders against plain loops, and what must hold of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

import mm
from mm.tape.first_print import FirstPrint
from mm.tape.tape import Tape
from mm.tape.virtual import Quoter, virtual_tables
from tests.support.slow_tape import Order, virtual_orders

START_MS = 1_735_689_600_000
QUOTER = Quoter((0.5, 1.0, 2.0, 4.0), 250, 1000, 40, 25, "at")


def small_tape(seed: int, seconds: int = 30, gaps: bool = False) -> Tape:
    """A random walk on ticks of 0.5, spreads of one to three ticks, prints on both sides."""
    rng = np.random.default_rng(seed)
    quote_ms = np.unique(rng.integers(0, seconds * 1000, 20 * seconds))
    bid = 100.0 + 0.5 * np.cumsum(rng.integers(-1, 2, len(quote_ms)))
    ask = bid + 0.5 * rng.integers(1, 4, len(quote_ms))
    trade_ms = np.sort(rng.integers(0, seconds * 1000, 10 * seconds))
    row = np.maximum(np.searchsorted(quote_ms, trade_ms, side="right") - 1, 0)
    sold = rng.random(len(trade_ms)) < 0.5
    reach = 0.5 * rng.integers(0, 6, len(trade_ms))
    price = np.where(sold, bid[row] - reach, ask[row] + reach)
    tape = Tape(trade_ms, price, sold, quote_ms, bid, ask, 0.5)
    if gaps:
        starts = trade_ms[[60, 150]]
        return replace(tape, gap_start_ms=starts, gap_end_ms=starts + np.array([1500, 900]))
    return tape


def made(tape: Tape, quoter: Quoter) -> list[Order]:
    orders, fills, _ = virtual_tables(tape, quoter)
    filled = dict(zip(fills["order_id"], fills["recv_ms"], strict=True))
    return sorted(
        (
            int(row.recv_ms),
            1 if row.side == "BUY" else -1,
            round(row.price / tape.tick),
            filled.get(row.order_id),
            bool(row.status == "REJECTED"),
        )
        for row in orders.itertuples()
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rule", ["at", "through"])
def test_they_are_those_of_plain_loops(seed: int, rule: Literal["at", "through"]) -> None:
    tape = small_tape(seed, gaps=seed % 2 == 1)
    quoter = replace(QUOTER, fill_rule=rule, horizon_ms=(600, 1000, 10_000)[seed % 3])
    found, expected = made(tape, quoter), sorted(virtual_orders(tape, quoter), key=lambda o: o[:3])
    assert [order[:3] for order in found] == [order[:3] for order in expected]
    assert [order[3:] for order in found] == [order[3:] for order in expected]
    assert sum(order[3] is not None for order in found) > 20
    assert any(order[4] for order in found)


def test_the_first_print_is_that_of_a_plain_scan() -> None:
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 3, 64, 1000, 1023):
        price = rng.integers(-20, 20, n)
        begin, end = rng.integers(0, n + 1, (2, 500))
        bound = rng.integers(-40, 10, 500)
        scan = [
            next((i for i in range(b, e) if price[i] <= p), -1)
            for b, e, p in zip(begin.tolist(), end.tolist(), bound.tolist(), strict=True)
        ]
        assert FirstPrint(price)(begin, end, bound).tolist() == scan


def test_the_back_of_the_queue_fills_no_more_than_its_front() -> None:
    tape = small_tape(3, 120)
    front, back = (
        len(virtual_tables(tape, replace(QUOTER, fill_rule=rule))[1]) for rule in ("at", "through")
    )
    assert 0 < back < front


def test_only_the_other_side_fills() -> None:
    tape = small_tape(4, 60)
    silent = replace(tape, sold=np.ones(len(tape.sold), dtype=np.bool_))
    _, fills, _ = virtual_tables(silent, QUOTER)
    assert set(fills["side"]) == {"BUY"}


def test_prices_are_rounded_away_from_mid_and_none_rests_across_the_spread() -> None:
    tape = small_tape(5, 60)
    orders, _, _ = virtual_tables(tape, replace(QUOTER, distances=(0.1, 0.6)))
    row = np.searchsorted(tape.quote_ms, orders["recv_ms"], side="right") - 1
    buy = (orders["side"] == "BUY").to_numpy()
    away = np.where(buy, 1, -1) * (tape.mid[row] - orders["price"].to_numpy())
    assert (away >= 0.1 - 1e-9).all()
    row = np.searchsorted(tape.quote_ms, orders["active_recv_ms"], side="right") - 1
    passive = orders["price"] < tape.ask[row]
    passive[~buy] = orders["price"] > tape.bid[row]
    assert ((orders["status"] == "OPEN") == passive).all()


def test_an_order_that_arrives_across_the_spread_is_rejected() -> None:
    """10.0 is bid for at 1000, and 9.7 offered when it arrives: the print at 9.6 fills nobody."""
    tape = Tape(
        np.array([0, 1100, 2000]),
        np.array([10.0, 9.6, 9.5]),
        np.ones(3, dtype=np.bool_),
        np.array([0, 1010, 2000]),
        np.array([10.0, 9.5, 9.5]),
        np.array([10.2, 9.7, 9.7]),
        0.1,
    )
    quoter = Quoter((0.1,), 1000, 500, 50, 25, "at")
    orders, fills, _ = virtual_tables(tape, quoter)
    bought = orders[orders["side"] == "BUY"]
    assert bought["recv_ms"].tolist() == [0, 1000]
    assert bought["price"].tolist() == [10.0, 10.0]
    assert bought["status"].tolist() == ["OPEN", "REJECTED"]
    assert fills.empty
    _, fills, _ = virtual_tables(tape, replace(quoter, latency_ms=0))
    assert fills["recv_ms"].tolist() == [0, 1100], "it was there before the market fell"


def truth(seed: int, rate: float = 2.0, k: float = 0.5, seconds: int = 1200) -> Tape:
    """Aggressors of each side come at ``rate`` per s and reach an exponential distance from mid, so
    that a quote at delta is hit at rate exp(-k delta) exactly; mid moves by half ticks of 0.1."""
    rng = np.random.default_rng(seed)
    quote_ms = START_MS + np.arange(0, seconds * 1000, 100)
    mid = 1000.0 + 0.1 * np.cumsum(rng.integers(-1, 2, len(quote_ms)))
    n = rng.poisson(2 * rate * seconds)
    trade_ms = START_MS + np.sort(rng.integers(1, seconds * 1000, n))
    sold = rng.random(n) < 0.5
    row = np.searchsorted(quote_ms, trade_ms, side="left") - 1
    reach = rng.exponential(1.0 / k, n)
    price = np.where(sold, mid[row] - reach, mid[row] + reach)
    price = np.where(sold, np.floor(price * 1000) / 1000, np.ceil(price * 1000) / 1000)
    return Tape(trade_ms, price, sold, quote_ms, mid - 0.001, mid + 0.001, 0.001)


def test_the_estimator_finds_the_truth_that_made_the_tape() -> None:
    tape = truth(1)
    quoter = Quoter((1.0, 2.0, 3.0, 5.0), 1000, 1000, 0, 0, "at")
    tables = virtual_tables(tape, quoter)
    result = mm.calibrate(*tables, tick_size=1.0, REQUOTE_MS=1000, HORIZON_MS=1000)
    fit = result.estimate.fit
    assert fit is not None
    assert fit.ci_A[0] < 2.0 < fit.ci_A[1]
    assert fit.ci_k[0] < 0.5 < fit.ci_k[1]
    assert result.log.fill_source == "tape"
    assert result.verdict.status == "ok"
