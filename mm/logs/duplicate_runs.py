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

from mm.core.arrays import Ints, Mask
from mm.core.errors import InputError
from mm.logs.log import RunLog
from mm.logs.order_ids import OrderNames, is_one_of

#: Share of the rows, in the time that both runs cover, that must be the same, and how many of them
#: at least: runs of one market may begin alike.
_SAME, _LEAST = 0.5, 5
#: As many rows, spread evenly, tell that share as well as all of them would.
_LOOKED_AT = 2_000
#: Spreads times that differ in few bits over all bits.
_MIX = np.uint64(0x9E3779B97F4A7C15)


def check_distinct(logs: Sequence[RunLog]) -> None:
    """Raise InputError for one run that stands twice, whole or in part.

    Runs that replay one market are no such thing, be it with other quotes (other ids or prices)
    or with other draws (other fills).
    """
    marks: dict[int, _Marks] = {}
    spans = [_span(log) for log in logs]
    for i, j in combinations(range(len(logs)), 2):
        one, other = logs[i], logs[j]
        files = [list(log.inputs_sha256.values()) for log in (one, other)]
        if not (files[0] and files[0] == files[1]):
            both = max(spans[i][0], spans[j][0]), min(spans[i][1], spans[j][1])
            if both[0] > both[1]:
                continue
            for n in (i, j):
                if n not in marks:
                    marks[n] = _Marks.of_placements(logs[n])
            same = marks[i].mostly_in(marks[j], both)
            if not same or _other_fills(one, other, both):
                continue
        raise InputError(
            f"is the same run as {one.name!r}, whole or in part: it holds the same orders (ids, "
            "times and prices)",
            where=repr(other.name),
            remedy="take one away: pooled, each of its fills would count twice",
        )


def _span(log: RunLog) -> tuple[int, int]:
    return log.facts.first_ms["orders"], log.facts.last_ms["orders"]


def _other_fills(one: RunLog, other: RunLog, span: tuple[int, int]) -> bool:
    """Whether the same quotes were filled otherwise, as by another seed of a fill model."""
    marks = [_Marks.of_fills(log) for log in (one, other)]
    if not all(len(some.within(span)) for some in marks):
        return False
    return not marks[0].mostly_in(marks[1], span, least=1)


@dataclass(frozen=True)
class _Marks:
    """Distinct marks of a table's rows in order, and of the first row of each its time and id."""

    mark: Ints
    time_ms: Ints
    order_id: pd.Series
    names: OrderNames | None

    @classmethod
    def of(cls, mark: Ints, time_ms: Ints, ids: pd.Series, names: OrderNames | None) -> _Marks:
        mark, row = np.unique(mark, return_index=True)
        return cls(mark, time_ms[row], ids.iloc[row], names)

    @classmethod
    def of_fills(cls, log: RunLog) -> _Marks:
        time = log.fills["recv_ms"].to_numpy(dtype=np.int64)
        return cls.of(time, time, log.fills["order_id"], log.order_names)

    @classmethod
    def of_placements(cls, log: RunLog) -> _Marks:
        orders, rows = log.orders, np.flatnonzero(is_one_of(log.orders["action"], "PLACE"))
        time = orders["recv_ms"].to_numpy(dtype=np.int64)[rows]
        # A file may have been written with fewer digits than the other: prices are taken coarsely.
        price = orders["price"].to_numpy(dtype=np.float32)[rows].view(np.uint32).astype(np.uint64)
        sell = is_one_of(orders["side"], "SELL")[rows].astype(np.uint64)
        mixed = time.view(np.uint64) * _MIX ^ (price << np.uint64(1) | sell)
        return cls.of(mixed.view(np.int64), time, orders["order_id"].iloc[rows], log.order_names)

    def within(self, span: tuple[int, int]) -> Ints:
        """Positions of the marks of a span of time, both ends included."""
        return np.flatnonzero((self.time_ms >= span[0]) & (self.time_ms <= span[1]))

    def ids(self, at: Ints) -> npt.NDArray[np.object_]:
        """The ids as text."""
        some = self.order_id.iloc[at]
        if self.names is not None:
            return np.asarray(self.names.of(some.to_numpy()), dtype=object)
        return some.to_numpy(dtype=object)

    def mostly_in(self, other: _Marks, span: tuple[int, int], least: int = _LEAST) -> bool:
        """Whether the two tables share most rows of a span of time, under the same ids: most of
        those of the one that has fewer there."""
        (rows, small), (_, large) = sorted(
            ((marks.within(span), marks) for marks in (self, other)), key=lambda pair: len(pair[0])
        )
        if len(rows) < least:
            return False
        tried = rows[np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).astype(np.int64)]
        at = np.minimum(np.searchsorted(large.mark, small.mark[tried]), len(large.mark) - 1)
        there: Mask = large.mark[at] == small.mark[tried]
        if np.count_nonzero(there) <= _SAME * len(tried):
            return False
        same = np.count_nonzero(small.ids(tried[there]) == large.ids(at[there]))
        return bool(same > _SAME * len(tried) and same >= least)
