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
#: Of so many all are multiples of twice the grid once in a million times by chance.
_MIN_DISTINCT = 20
_MOST_LOOKED_AT = 20_000
#: No market has a tick of so small a share of its price (BTCUSDT: 1e-7): such a grid is that of the
#: digits in which computed prices were written.
_FINEST = 1e-9


@dataclass(frozen=True)
class TickSize:
    """``value``: unit of the distance, quote currency. ``grid``: that of the quoted prices, None
    where they show none. ``remark``: what a reader should know, of the given ``level``.
    ``changed``: see `changed_grid`."""

    value: float
    grid: float | None
    level: Literal["none", "note", "warn"]
    remark: str
    changed: tuple[float, float] | None = None


def choose_tick(given: float | None, prices: Floats) -> TickSize:
    """The tick size that was given, held against the grid of the prices, or that grid.

    Raises ValueError if none was given and the prices show no grid.
    """
    grid = price_grid(prices)
    if grid is not None and grid < _FINEST * float(np.nanmax(np.abs(prices))):
        # Only then, as a median takes long.
        grid = None if grid < _FINEST * float(np.nanmedian(np.abs(prices))) else grid
    if given is None:
        if grid is None:
            raise ValueError(
                "the quoted prices show no grid to infer TICK_SIZE from: were they computed, and "
                "not rounded to a tick?"
            )
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


def changed_grid(prices: Floats) -> tuple[float, float] | None:
    """The first and another grid of prices in time order, where a tenth of them shows another than
    the tenth before: the venue may have changed its tick size. None where all show one.

    Tenths with few different prices show no grid of their own.
    """
    tenths = np.array_split(prices[np.isfinite(prices)], 10)
    tenths = [tenth[:_MOST_LOOKED_AT] for tenth in tenths]
    known = [tenth for tenth in tenths if np.unique(tenth).size >= _MIN_DISTINCT]
    grids = [grid for tenth in known if (grid := price_grid(tenth)) is not None]
    other = next((grid for grid in grids if not math.isclose(grid, grids[0])), None)
    return None if other is None else (grids[0], other)


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
