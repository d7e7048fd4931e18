"""The books that state rows keep, by the rows in which they change: most rows repeat the last.

However many rows a second a log holds, inventory, cash and the count of open orders change only
with orders and fills. Kept so, they take no memory that goes with the state rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask

Rows = npt.NDArray[np.int32]

#: The columns that are kept so.
NAMES = ("inventory", "cash", "open_orders")


@dataclass(frozen=True)
class Changes:
    """A column of ``n`` cells: ``value[i]`` stands from row ``row[i]`` to the one before the next.

    ``row``: int32 (m,), increasing from 0; ``value``: float64 (m,), NaN for nothing.
    """

    row: Rows
    value: Floats
    n: int

    @classmethod
    def of(cls, values: npt.NDArray[np.generic]) -> Changes:
        """Those of a whole column."""
        column = np.ascontiguousarray(values, dtype=np.float64)
        row = changed(column, None)
        return cls(row.astype(np.int32), column[row], len(column))

    def at(self, rows: Ints) -> Floats:
        """The cells of some rows, in the shape of these."""
        return self.value[np.searchsorted(self.row, rows, side="right") - 1]

    def cells(self, begin: int, end: int) -> Floats:
        """The cells of the rows from ``begin`` to before ``end``."""
        # Of the rows' own type: for another one numpy would copy them all.
        first = int(np.searchsorted(self.row, np.int32(begin), side="right")) - 1
        last = int(np.searchsorted(self.row, np.int32(end), side="left"))
        borders = np.clip(np.append(self.row[first:last], end), begin, end)
        return np.repeat(self.value[first:last], np.diff(borders))

    def without_nothing(self) -> tuple[Changes, Mask | None]:
        """The column without its empty cells, and which rows that leaves (None for all)."""
        there = np.isfinite(self.value)
        if there.all():
            return self, None
        length = np.diff(np.append(self.row, self.n))
        kept = length[there]
        row = (np.cumsum(kept) - kept).astype(np.int32)
        left = Changes(row, self.value[there], int(kept.sum()))
        return left, np.repeat(there, length)


def changed(values: Floats, before: float | None) -> Ints:
    """Rows that do not hold what the row before them does; ``before``: what stood before the
    first. Compared bit by bit, so that nothing is as nothing."""
    bits = values.view(np.int64)
    new = np.empty(len(bits), dtype=np.bool_)
    np.not_equal(bits[1:], bits[:-1], out=new[1:])
    new[:1] = before is None or bits[:1] != np.array([before]).view(np.int64)
    return np.flatnonzero(new)


@dataclass(frozen=True)
class Ledger:
    """The books of one run's state rows, in time order; None for a column the log has not."""

    inventory: Changes | None = None
    cash: Changes | None = None
    open_orders: Changes | None = None

    @classmethod
    def of(cls, state: pd.DataFrame) -> Ledger:
        """The books that a table of state rows holds."""
        return cls(**{n: Changes.of(state[n].to_numpy()) for n in NAMES if n in state})
