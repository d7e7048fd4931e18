"""Order ids as small whole numbers: rows are matched by counting, not by comparing text.

A log holds each id many times. Once both tables number their ids alike (a categorical over one
list, or the numbers themselves in a long log), "the first fill of every order" is one pass over
whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import SLICE, Floats, Ints, Mask, never_falls

Codes = npt.NDArray[np.integer]


@dataclass(frozen=True)
class OrderNames:
    """The ids of a long log's orders, by number; ``text`` is an Arrow array of strings."""

    text: Any

    def of(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """The ids as text, shape of the numbers."""
        return np.asarray(self.text.take(numbers).to_numpy(zero_copy_only=False))


def share_ids(orders: pd.DataFrame, fills: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with ``order_id`` as a categorical over one list of ids, order of appearance.

    Numbers stay what they are.
    """
    if _shared(orders["order_id"], fills["order_id"]):
        return orders, fills
    if _numbered(orders["order_id"]) and _numbered(fills["order_id"]):
        return orders, fills
    ids = [table["order_id"].astype("str") for table in (orders, fills)]
    codes, names = pd.factorize(pd.concat(ids, ignore_index=True))
    kind = pd.CategoricalDtype(names)
    cut = len(orders)
    return (
        orders.assign(order_id=pd.Categorical.from_codes(codes[:cut], dtype=kind)),
        fills.assign(order_id=pd.Categorical.from_codes(codes[cut:], dtype=kind)),
    )


def order_codes(orders: pd.DataFrame, fills: pd.DataFrame) -> tuple[Codes, Codes, int]:
    """Number of each row's order in both tables, 0 <= number < n, and n."""
    if _numbered(orders["order_id"]) and _numbered(fills["order_id"]):
        codes = orders["order_id"].to_numpy(), fills["order_id"].to_numpy()
        return *codes, 1 + max(int(c.max(initial=-1)) for c in codes)
    if not _shared(orders["order_id"], fills["order_id"]):
        orders, fills = share_ids(orders, fills)
    of_orders, of_fills = orders["order_id"].cat, fills["order_id"].cat
    return of_orders.codes.to_numpy(), of_fills.codes.to_numpy(), len(of_orders.categories)


def _numbered(ids: pd.Series) -> bool:
    return pd.api.types.is_integer_dtype(ids.dtype)


def _shared(one: pd.Series, other: pd.Series) -> bool:
    return (
        isinstance(one.dtype, pd.CategoricalDtype)
        and isinstance(other.dtype, pd.CategoricalDtype)
        and one.dtype.categories is other.dtype.categories
    )


def accepted_rows(orders: pd.DataFrame, codes: Codes, n: int) -> Ints:
    """Positions of the accepted PLACE rows, the first one of each order, in file order."""
    return first_of_each(np.flatnonzero(is_accepted(orders)), codes, n)


def is_accepted(orders: pd.DataFrame) -> Mask:
    """Which rows placed an order; a rejected one was never in the book."""
    placed = is_one_of(orders["action"], "PLACE")
    if "status" in orders:
        placed &= ~is_one_of(orders["status"], "REJECTED")
    return placed


def first_of_each(rows: Ints, codes: Codes, n: int) -> Ints:
    """Those rows (increasing positions) that are the first of their order."""
    of = codes[rows]
    if (of[1:] > of[:-1]).all():
        return rows  # numbered as they come, each once: so are most logs
    first = np.full(n, -1, dtype=np.int64)
    first[of[::-1]] = rows[::-1]
    kept: Ints = rows[first[of] == rows]
    return kept


def index_of(rows: Ints, codes: Codes, n: int) -> Ints:
    """By order: its index in the given rows, one an order; -1 for the others. Shape (n + 1,),
    so that -1, no order, stays -1."""
    index = np.full(n + 1, -1, dtype=np.int64)
    index[codes[rows]] = np.arange(len(rows))
    return index


def earliest(codes: Codes, time: npt.NDArray[np.generic], n: int) -> Floats:
    """Smallest time of each order, NaN for those without any; NaN times do not count."""
    out = np.full(n, np.nan)
    parts = [slice(start, start + SLICE) for start in range(0, len(time), SLICE)]
    # Of several assignments the last one stands: going backwards, that is the first row, which in
    # a log is mostly the earliest. Then only what is earlier still is compared one by one.
    for some in reversed(parts):
        of, at = _there(codes[some], time[some])
        out[of[::-1]] = at[::-1]
    for some in parts:
        of, at = _there(codes[some], time[some])
        sooner = np.flatnonzero(at < out[of])
        if len(sooner):
            np.fmin.at(out, of[sooner], at[sooner])
    return out


def _there(codes: Codes, time: npt.NDArray[Any]) -> tuple[Codes, npt.NDArray[Any]]:
    if time.dtype.kind != "f":
        return codes, time
    rows = np.flatnonzero(~np.isnan(time))
    return (codes, time) if len(rows) == len(time) else (codes[rows], time[rows])


def latest(codes: Codes, time: Ints, n: int) -> Ints:
    """Largest time of each order, the smallest int64 for those without any."""
    out = np.full(n, np.iinfo(np.int64).min, dtype=np.int64)
    if never_falls(time):
        out[codes] = time
    else:
        np.maximum.at(out, codes, time)
    return out


def is_one_of(column: pd.Series, *words: str) -> Mask:
    """Which cells are one of these words; for a categorical its few words are looked at."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        wanted = [n for n, word in enumerate(column.cat.categories.tolist()) if word in words]
        found = np.zeros(len(codes), dtype=np.bool_) if not wanted else codes == wanted[0]
        for code in wanted[1:]:
            found |= codes == code
        return np.asarray(found, dtype=np.bool_)
    if len(words) == 1:
        return (column == words[0]).to_numpy(dtype=np.bool_, copy=True)
    return column.isin(words).to_numpy(dtype=np.bool_, copy=True)


def words_of(column: pd.Series) -> list[str]:
    """The different words of a column of text, in order of appearance."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(word) for word in column.cat.categories]
    return [str(word) for word in column.unique()]
