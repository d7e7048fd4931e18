"""The unit of the distance: given, or read off the grid that quoted prices lie on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pandas as pd

from mm.core.arrays import Floats

#: Digits behind the first one, or behind the point, that a grid may need; 10^22 is a float yet.
_DIGITS, _MAX_DECIMALS = 10, 22
#: Fewer distinct prices than this say nothing reliable about their common grid.
_MIN_PRICES = 5


@dataclass(frozen=True)
class TickSize:
    """``value``: unit of the distance, quote currency. ``grid``: that of the quoted prices, None
    where they show none. ``remark``: what a reader should know, of the given ``level``."""

    value: float
    grid: float | None
    level: Literal["none", "note", "warn"]
    remark: str


def choose_tick(given: float | None, prices: Floats) -> TickSize:
    """The tick size that was given, held against the grid of the prices, or that grid.

    Raises ValueError if none was given and the prices show no grid.
    """
    grid = price_grid(prices)
    if given is None:
        if grid is None:
            raise ValueError("the quoted prices show no grid to infer TICK_SIZE from")
        text = f"TICK_SIZE was not given: {grid:g}, the grid of the quoted prices, is used"
        return TickSize(grid, grid, "note", text)
    if grid is None:
        return TickSize(given, None, "none", "")
    ratio = given / grid
    if abs(ratio - 1.0) < 1e-6:
        return TickSize(given, grid, "none", "")
    if ratio > 1.0 and abs(ratio - round(ratio)) < 1e-6 * ratio:
        text = f"TICK_SIZE {given:g} = {round(ratio):,} × the price grid ({grid:g})"
        return TickSize(given, grid, "note", text)
    kind = "finer than" if ratio < 1.0 else "not a multiple of"
    text = f"TICK_SIZE {given:g} is {kind} the grid of the quoted prices ({grid:g})"
    return TickSize(given, grid, "warn", text)


def price_grid(prices: Floats) -> float | None:
    """Largest step of which all prices are multiples; None for prices that share none.

    With few distinct prices their common divisor is an accident, so the last decimal that
    they use is taken instead.
    """
    distinct = np.sort(pd.unique(prices[np.isfinite(prices)]))
    if not distinct.size:
        return None
    largest = float(np.abs(distinct).max())
    leading = max(0, -math.floor(math.log10(largest))) if largest > 0.0 else 0
    for decimals in range(min(_DIGITS + leading, _MAX_DECIMALS) + 1):
        scaled = distinct * 10.0**decimals
        whole = np.rint(scaled)
        # A decimal number times 10^d is off by a few ulp of the product. What is allowed beyond
        # that goes with the number: a coin's price of 6.5e-7 is no 0.
        allowed = np.minimum(1e-6, 1e-9 * np.abs(scaled)) + 4.0 * np.spacing(np.abs(scaled))
        if (np.abs(scaled - whole) <= allowed).all():
            break
    else:
        return None
    if whole.max() >= 2.0**53:
        return None
    step = 1 if distinct.size < _MIN_PRICES else reduce(math.gcd, (int(x) for x in whole))
    return float(step) / 10.0**decimals
