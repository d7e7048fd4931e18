"""Inventory of the state rows against the fills: what is lost is found, a row's delay is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mm.logs.bookkeeping import Ledger, unmatched_moves

N = 400
TIMES = np.arange(1_000, 1_000 + 100 * N, 100)


def fills_at(rows: np.ndarray, seed: int = 1, most: int = 2) -> pd.DataFrame:
    """Fills in the very ms of rows, one to ``most`` each, of either side."""
    rng = np.random.default_rng(seed)
    rows = np.sort(np.repeat(rows, rng.integers(1, most + 1, len(rows))))
    side = np.where(rng.random(len(rows)) < 0.5, "BUY", "SELL")
    qty = rng.integers(1, 9, len(rows)) / 10.0
    return pd.DataFrame({"recv_ms": TIMES[rows], "side": side, "qty": qty, "row": rows})


def booked(fills: pd.DataFrame, late: np.ndarray) -> Ledger:
    """Rows that book each fill at once, or one row late."""
    moves = np.zeros(N)
    signed = np.where(fills["side"] == "SELL", -1.0, 1.0) * fills["qty"]
    np.add.at(moves, np.minimum(fills["row"] + late, N - 1), signed)
    return Ledger.of(pd.DataFrame({"recv_ms": TIMES, "inventory": np.cumsum(moves) + 3.0}))


@pytest.fixture
def fills() -> pd.DataFrame:
    return fills_at(np.random.default_rng(0).choice(np.arange(2, N - 5), 150, replace=False))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_fills_of_a_row_s_own_ms_may_be_booked_in_it_or_in_the_next(
    fills: pd.DataFrame, share: float
) -> None:
    late = (np.random.default_rng(2).random(len(fills)) < share).astype(np.int64)
    moves, wrong = unmatched_moves(fills, TIMES, booked(fills, late))
    assert moves > 100
    assert wrong == 0


@pytest.mark.parametrize("late", [0, 1])
def test_a_lost_fill_is_found(late: int) -> None:
    rows = np.random.default_rng(0).choice(np.arange(2, N - 5), 150, replace=False)
    fills = fills_at(rows, most=1)
    ledger = booked(fills, np.full(len(fills), late))
    some = np.random.default_rng(3).random(len(fills)) < 0.1
    moves, wrong = unmatched_moves(fills[~some], TIMES, ledger)
    # two that no row tells apart show as one
    assert 0.5 * some.sum() < wrong <= some.sum()
    assert wrong / moves > 0.05


def test_the_fills_of_another_run_do_not_match(fills: pd.DataFrame) -> None:
    other = fills_at(np.random.default_rng(9).choice(np.arange(2, N - 5), 150, replace=False), 5)
    moves, wrong = unmatched_moves(other, TIMES, booked(fills, np.zeros(len(fills), dtype=int)))
    assert wrong / moves > 0.3
