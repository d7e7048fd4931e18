"""Distances in ticks: how they are measured, rounded, chosen and bucketed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, Sides

Convention = Literal["absolute", "signed", "both"]

#: Distances are rounded to this many parts of a tick: 4.999999… is 5.
PARTS_PER_TICK = 1_000_000


@dataclass(frozen=True)
class Selection:
    """Which distances are used, and how they are measured.

    ``absolute`` takes |price - mid|, the convention of the original notebook and of the
    consumer; ``signed`` is negative once mid has run through the quote; ``both`` is signed as well,
    with its size in the range. The range, in ticks, includes both ends.
    """

    convention: Convention = "absolute"
    min_ticks: float = 0.0
    max_ticks: float = 50.0

    @property
    def passive(self) -> Selection:
        """Only quotes that are on their own side of mid: signed distance of zero and more."""
        return replace(self, convention="signed", min_ticks=max(self.min_ticks, 0.0))

    @property
    def both(self) -> Selection:
        """The same quotes, told apart by whether mid has run through them; ``signed`` stays."""
        return replace(self, convention="both") if self.convention == "absolute" else self

    def measure(self, signed: Floats) -> Floats:
        """Distances by this convention from signed ones, ticks."""
        return np.abs(signed) if self.convention == "absolute" else signed

    def contains(self, signed: Floats) -> Mask:
        """Which signed distances are in range; unknown ones (NaN) are not."""
        value = signed if self.convention == "signed" else np.abs(signed)
        return np.asarray((value >= self.min_ticks) & (value <= self.max_ticks), dtype=np.bool_)


def signed_ticks(side: Sides, price: Floats, mid: Floats, tick_size: float) -> Floats:
    """(mid - price)/tick for BUY, (price - mid)/tick for SELL, to 1e-6 tick, never floored.

    ``side``: +1 BUY, -1 SELL; ``price``, ``mid``, ``tick_size``: quote currency. All of shape (n,).
    """
    parts = np.rint(side * (mid - price) / tick_size * PARTS_PER_TICK)
    return np.asarray(parts / PARTS_PER_TICK + 0.0, dtype=np.float64)  # + 0.0: no minus zero


def buckets(delta: Floats) -> Ints:
    """Whole-tick bucket [b, b + 1) of each distance (a multiple of 1e-6 tick already)."""
    return np.floor(delta + 0.5 / PARTS_PER_TICK).astype(np.int64)
