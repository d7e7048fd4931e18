"""Where quotes rest, and whole-number sums by time block and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask, Numbers, Sides
from mm.exposure.distance import PARTS_PER_TICK

#: Places as one number: 44 bits hold distances up to nine million ticks, 17 more the levels.
_SPAN, _BUY = 1 << 44, 1 << 62


@dataclass(frozen=True)
class Places:
    """Where quotes rest, shape (p,): sides, levels (whole ticks from mid at placement), distances.

    ``code``: all three as one number. A log has far fewer places than cells: what depends on a
    cell's place alone is found out once for each.
    """

    code: Ints

    @classmethod
    def of(cls, side: Sides, level: Ints, parts: Ints) -> Places:
        """Places of these sides, levels, and distances in millionths of a tick."""
        return cls((side > 0) * _BUY + level * _SPAN + parts)

    @cached_property
    def side(self) -> Sides:
        """+1 BUY, -1 SELL."""
        return np.where(self.code > _BUY // 2, 1, -1).astype(np.int8)

    @cached_property
    def _beside(self) -> Ints:
        """Level and distance."""
        return self.code - (self.side > 0) * _BUY

    @cached_property
    def level(self) -> Ints:
        """Whole ticks from mid at placement."""
        return (self._beside + _SPAN // 2) // _SPAN

    @cached_property
    def parts(self) -> Ints:
        """Distance in millionths of a tick."""
        return self._beside - self.level * _SPAN

    @cached_property
    def delta(self) -> Floats:
        """Distance in ticks."""
        return self.parts / PARTS_PER_TICK


@dataclass(frozen=True)
class Sums:
    """Whole-number sums by block and place, of each run by block in order. Shape (n,).

    ``place``: number of the cell's place among ``places``. ``values``: shape (n, columns), int64.
    """

    block: Ints
    place: Numbers
    places: Places
    values: Ints

    @property
    def side(self) -> Sides:
        """+1 BUY, -1 SELL."""
        return self.places.side[self.place]

    @property
    def level(self) -> Ints:
        """Whole ticks from mid at placement."""
        return self.places.level[self.place]

    @property
    def parts(self) -> Ints:
        """Distance in millionths of a tick."""
        return self.places.parts[self.place]

    @property
    def delta(self) -> Floats:
        """Distance in ticks."""
        return self.places.delta[self.place]

    @property
    def occupied(self) -> Mask:
        """Which places have a cell, shape (p,)."""
        return np.bincount(self.place, minlength=len(self.places.code)) > 0

    def where(self, some: Mask) -> Sums:
        """Those of some cells."""
        at = np.flatnonzero(some)  # taking is four times faster than choosing by a mask
        return replace(
            self,
            block=self.block.take(at),
            place=self.place.take(at),
            values=self.values.take(at, axis=0),
        )


def one_after_another(sums: Sequence[Sums], first_blocks: Ints) -> Sums:
    """Sums of runs as those of all, by the number of each one's first block."""
    if len(sums) == 1:
        return sums[0]
    codes = [own.places.code for own in sums]
    number, distinct = pd.factorize(np.concatenate(codes))
    numbers = np.split(number.astype(np.int32), np.cumsum([len(code) for code in codes])[:-1])
    runs = list(zip(sums, numbers, first_blocks.tolist(), strict=True))
    return Sums(
        np.concatenate([own.block + first for own, _, first in runs]),
        np.concatenate([of[own.place] for own, of, _ in runs]),
        Places(distinct),
        np.concatenate([own.values for own in sums]),
    )


def no_sums(columns: int) -> Sums:
    """Those of nothing."""
    nothing = np.zeros(0, dtype=np.int64)
    none = np.zeros((0, columns), dtype=np.int64)
    return Sums(nothing, nothing.astype(np.int32), Places(nothing), none)
