"""The tick size: read off the grid of the prices, or given and held against it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mm
from mm.logs.tick import changed_grid, choose_tick, price_grid


def on_grid(step: float, start: int, n: int = 400, seed: int = 0, decimals: int = 10) -> np.ndarray:
    """Prices as a log holds them: decimal numbers, multiples of the step."""
    numbers = start + np.random.default_rng(seed).integers(0, 300, n)
    return np.array([round(int(i) * step, decimals) for i in numbers])


@pytest.mark.parametrize(
    ("step", "start"),
    [
        (0.1, 600_000),
        (0.25, 20_000),
        (0.01, 6_000_000),
        (0.5, 8_000),
        (5.0, 12_000),
        (1.0, 60_000),
        (1e-4, 23_000),
        (1e-8, 4_000),
        (1e-6, 27_000),
        (0.05, 3),
        (1e-10, 6_500),
    ],
)
def test_the_grid_is_the_largest_step_of_which_all_prices_are_multiples(
    step: float, start: int
) -> None:
    assert price_grid(on_grid(step, start)) == pytest.approx(step, rel=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(1, 1000),
    st.integers(0, 8),
    st.lists(st.integers(1, 100_000), min_size=5, max_size=30, unique=True),
)
def test_the_grid_divides_every_price_and_nothing_larger_does(
    unit: int, decimals: int, numbers: list[int]
) -> None:
    prices = np.array([n * unit / 10**decimals for n in numbers])
    grid = price_grid(prices)
    assert grid is not None
    whole = round(grid * 10**decimals)
    assert grid == pytest.approx(whole / 10**decimals, rel=1e-12)
    assert whole == np.gcd.reduce([n * unit for n in numbers])


def test_one_price_off_a_coarse_grid_makes_the_grid_fine() -> None:
    prices = np.append(on_grid(5.0, 12_000), 60_000.01)
    assert price_grid(prices) == pytest.approx(0.01)


def test_few_distinct_prices_give_their_last_decimal_and_not_an_accidental_divisor() -> None:
    # 100.5 and 103.5 have a common divisor of 1.5, which is no price grid
    assert price_grid(np.array([100.5, 103.5] * 50)) == pytest.approx(0.1)
    assert price_grid(np.array([250.0] * 50)) == 1.0


def test_prices_that_are_not_finite_do_not_count() -> None:
    prices = np.concatenate([on_grid(0.25, 20_000), [np.nan, np.inf, -np.inf]])
    assert price_grid(prices) == 0.25


def test_prices_without_a_grid_have_none() -> None:
    assert price_grid(np.random.default_rng(0).uniform(1.0, 2.0, 50)) is None
    assert price_grid(np.array([])) is None
    assert price_grid(np.array([np.nan])) is None


def test_without_a_tick_size_the_grid_is_used_and_that_is_said() -> None:
    tick = choose_tick(None, on_grid(0.25, 20_000))
    assert (tick.value, tick.grid, tick.level) == (0.25, 0.25, "note")
    assert "TICK_SIZE was not given" in tick.remark
    assert "0.25" in tick.remark


def test_without_a_tick_size_and_without_a_grid_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="TICK_SIZE"):
        choose_tick(None, np.random.default_rng(0).uniform(1.0, 2.0, 50))


def test_the_grid_itself_needs_no_remark() -> None:
    tick = choose_tick(0.01, on_grid(0.01, 6_000_000))
    assert (tick.value, tick.level, tick.remark) == (0.01, "none", "")


@pytest.mark.parametrize(
    ("given_", "step", "start", "times"),
    [(1.0, 0.01, 6_000_000, "100"), (0.1, 0.01, 300_000, "10"), (0.0003, 1e-4, 23_000, "3")],
)
def test_a_multiple_of_the_grid_is_a_note(
    given_: float, step: float, start: int, times: str
) -> None:
    tick = choose_tick(given_, on_grid(step, start))
    assert (tick.value, tick.level) == (given_, "note")
    assert f"= {times} ×" in tick.remark


@pytest.mark.parametrize(
    ("given_", "text"), [(0.05, "finer"), (0.25, "not a multiple"), (0.0999, "finer")]
)
def test_a_tick_finer_than_the_grid_or_off_it_is_a_warning(given_: float, text: str) -> None:
    tick = choose_tick(given_, on_grid(0.1, 600_000))
    assert (tick.value, tick.level) == (given_, "warn")
    assert text in tick.remark


def test_a_given_tick_is_used_where_the_prices_show_no_grid() -> None:
    tick = choose_tick(0.5, np.random.default_rng(0).uniform(1.0, 2.0, 50))
    assert (tick.value, tick.grid, tick.level) == (0.5, None, "none")


@pytest.mark.parametrize(("tick_size", "used"), [(1.0, 1e-10), (None, 1e-11)])
def test_a_coin_of_a_millionth_is_calibrated_as_one_of_any_price(
    tables: dict[str, pd.DataFrame], tick_size: float | None, used: float
) -> None:
    def scaled(table: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in ("price", "mid") if name in table]
        return table.assign(**{name: (table[name] * 1e-10).round(12) for name in names})

    tiny = {kind: scaled(table) for kind, table in tables.items()}
    result = mm.calibrate(**tiny, tick_size=tick_size and tick_size * 1e-10)
    same = mm.calibrate(**tables, tick_size=tick_size).estimate.fit
    fit = result.estimate.fit
    assert fit is not None
    assert same is not None
    assert (fit.A, fit.k) == (pytest.approx(same.A, rel=1e-9), pytest.approx(same.k, rel=1e-9))
    assert result.accounts.tick.value == pytest.approx(used)
    assert result.accounts.tick.grid == pytest.approx(1e-11)


def test_a_tick_size_that_changes_is_seen_and_few_prices_are_none() -> None:
    fine, coarse = on_grid(0.1, 600_000), on_grid(0.5, 120_000)
    assert changed_grid(np.concatenate([fine] * 3)) is None
    assert changed_grid(np.concatenate([fine, fine, coarse])) == (0.1, 0.5)
    assert changed_grid(np.concatenate([fine, np.full(50, 60_000.0)])) is None


def test_digits_of_computed_prices_are_no_grid() -> None:
    prices = np.round(np.random.default_rng(0).uniform(60_000.0, 60_100.0, 500), 7)
    with pytest.raises(ValueError, match="computed, and not rounded"):
        choose_tick(None, prices)
    assert choose_tick(0.1, prices).grid is None
