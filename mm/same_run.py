"""One run that stands twice among those to be pooled: each of its fills would count twice.

Files need not be alike for that: one is packed, or Parquet, or has a row more, or holds a part of
the other. So runs are compared by what they did: orders of one id, placed in one ms at one price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.arrays import Ints, Mask
from mm.errors import InputError
from mm.log import RunLog
from mm.order_ids import OrderNames, is_one_of

#: Share of the smaller run's rows that must stand in the other, and how many of them at least:
#: runs of one market may begin alike.
_SAME, _LEAST = 0.5, 5
#: As many rows, spread evenly, tell that share as well as all of them would.
_LOOKED_AT = 2_000


def check_distinct(logs: Sequence[RunLog]) -> None:
    """Raise InputError for one run that stands twice.

    Runs that replay one market are no such thing, be it with other quotes (other ids or prices)
    or with other draws (other fills).
    """
    marks: dict[int, _Marks] = {}
    spans = [_span(log) for log in logs]
    for i, j in combinations(range(len(logs)), 2):
        one, other = logs[i], logs[j]
        files = [list(log.inputs_sha256.values()) for log in (one, other)]
        if not (files[0] and files[0] == files[1]):
            if spans[i][0] > spans[j][1] or spans[j][0] > spans[i][1]:
                continue
            for n in (i, j):
                if n not in marks:
                    marks[n] = _Marks.of_placements(logs[n])
            if not marks[i].mostly_in(marks[j]) or _other_fills(one, other):
                continue
        raise InputError(
            f"is the same run as {one.name!r}, by the ids, times and prices of its orders",
            where=repr(other.name),
            remedy="take one away: pooled, each of its fills would count twice",
        )


def _span(log: RunLog) -> tuple[int, int]:
    time = log.orders["recv_ms"]
    return int(time.min()), int(time.max())


def _other_fills(one: RunLog, other: RunLog) -> bool:
    """Whether the same quotes were filled otherwise, as by another seed of a fill model."""
    if one.fills.empty or other.fills.empty:
        return False
    marks = [_Marks.of(log.fills["recv_ms"].to_numpy(), log.fills, log) for log in (one, other)]
    return not marks[0].mostly_in(marks[1], least=1)


@dataclass(frozen=True)
class _Marks:
    """Distinct marks of a table's rows in order, and the id in the first row of each."""

    mark: Ints
    row: Ints
    order_id: pd.Series
    names: OrderNames | None

    @classmethod
    def of(cls, mark: Ints, table: pd.DataFrame, log: RunLog) -> _Marks:
        return cls(*np.unique(mark, return_index=True), table["order_id"], log.order_names)

    @classmethod
    def of_placements(cls, log: RunLog) -> _Marks:
        rows = np.flatnonzero(is_one_of(log.orders["action"], "PLACE"))
        placed = log.orders.iloc[rows]
        # A file may have been written with fewer digits than the other: prices are taken coarsely.
        price = placed["price"].to_numpy(dtype=np.float32).view(np.uint32).astype(np.uint64)
        sell = is_one_of(placed["side"], "SELL").astype(np.uint64)
        time = placed["recv_ms"].to_numpy(dtype=np.int64).view(np.uint64)
        mixed = (time * np.uint64(0x9E3779B97F4A7C15)) ^ (price << np.uint64(1) | sell)
        return cls.of(mixed.view(np.int64), placed, log)

    def ids(self, at: Ints) -> npt.NDArray[np.object_]:
        """The ids as text."""
        some = self.order_id.iloc[self.row[at]]
        if self.names is not None:
            return np.asarray(self.names.of(some.to_numpy()), dtype=object)
        return some.to_numpy(dtype=object)

    def mostly_in(self, other: _Marks, least: int = _LEAST) -> bool:
        """Whether most rows of the smaller table stand in the larger one, under the same ids."""
        small, large = sorted((self, other), key=lambda marks: len(marks.mark))
        n = len(small.mark)
        if n < least:
            return False
        tried = np.unique(np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(np.int64))
        at = np.minimum(np.searchsorted(large.mark, small.mark[tried]), len(large.mark) - 1)
        there: Mask = large.mark[at] == small.mark[tried]
        if np.count_nonzero(there) <= _SAME * len(tried):
            return False
        same = np.count_nonzero(small.ids(tried[there]) == large.ids(at[there]))
        return bool(same > _SAME * len(tried) and same >= least)
