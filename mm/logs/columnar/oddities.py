"""What sends a log to the careful reader: the rules of ``mm.logs.rows.reader``, of whole columns.

Each raises Odd at the first doubt and says nothing of rows: that is the careful reader's work.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds

from mm.core.arrays import Floats, Ints, slices
from mm.logs import bookkeeping
from mm.logs.bookkeeping import NAMES
from mm.logs.columnar.stream import Odd
from mm.logs.order_ids import is_one_of
from mm.logs.rows.columns import TEXT, TIMES
from mm.logs.rows.rules import (
    ACTIONS,
    FAR_MS,
    NO_REASON,
    SPIKE,
    Findings,
    check_fills,
    check_orders,
)

_LARGEST = 1e15
_BOOKS = ("inventory", "cash", "mtm_value", "mid")


def numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """The cells as numbers, NaN for nothing. Raises Odd for types that are none."""
    kind = column.type
    if kinds.is_null(kind):
        return np.full(len(column), np.nan)
    whole = kinds.is_integer(kind)
    if not (whole or kind == pa.float64()):
        raise Odd(f"{name} is of type {kind}")
    values = column.to_numpy()
    if name == "recv_ms":
        if column.null_count or not whole:
            raise Odd("a row without a time")
        return np.asarray(values)
    return np.asarray(values, dtype=np.float64)


def check_numbers(values: Floats, name: str, is_text: bool) -> None:
    """Raise Odd for numbers that can't be what they should, or that parsers may read apart."""
    for some in slices(len(values)):
        _check_numbers(values[some], name, is_text)


def _check_numbers(values: Floats, name: str, is_text: bool) -> None:
    if name in NAMES:
        if np.fmax.reduce(np.abs(values)) >= _LARGEST:
            raise Odd(f"{name} is larger than any")
    elif name in ("price", "qty", "mid"):
        if np.nanmax(np.abs(values), initial=0.0) > _LARGEST:
            raise Odd(f"{name} is larger than any")
        if is_text:
            few_digits(values)
    elif values.dtype.kind == "f" and not np.array_equal(np.rint(values), values, equal_nan=True):
        raise Odd(f"{name} is no whole ms")


def check_value(table: pa.Table) -> None:
    """Raise Odd where a row's mid is not the one by which its value was counted."""
    if not set(_BOOKS) <= set(table.column_names):
        return
    columns = [numbers(table.column(name), name) for name in _BOOKS]
    for some in slices(len(table)):
        tells, off, rounding = bookkeeping.value_error(*(column[some] for column in columns))
        if (tells & (np.abs(off) > rounding)).any():
            raise Odd("a value that was counted by another mid")


def few_digits(values: Floats) -> None:
    """Raise Odd for numbers of many digits: of those parsers may differ in the last bit."""
    there = values[~np.isnan(values)]
    if not len(there):
        return
    largest = float(np.abs(there).max())
    scale = 1e8
    while largest * scale >= 2.0**53 and scale > 1:
        scale /= 100.0
    if largest * scale >= 2.0**53 or not np.array_equal(np.rint(there * scale) / scale, there):
        raise Odd("numbers of more than 15 digits")


def check_rows(table: pd.DataFrame, kind: str, without_id: Ints) -> None:
    """Raise Odd for any row that breaks a rule. ``without_id``: positions of those without one."""
    _check_times(table)
    _check_words(table, kind)
    if kind == "state":
        _check_mids(table)
        return
    if len(without_id):
        told = kind == "fills" or is_one_of(table["action"], *ACTIONS, "")[without_id].any()
        if told:
            raise Odd("a row without an id")
    rules = check_orders if kind == "orders" else check_fills
    for some in slices(len(table), 4):
        part = table.iloc[some].copy(deep=False)
        findings = Findings(len(part), np.broadcast_to(np.int64(0), len(part)))
        rules(part, findings)
        if findings.bad.any():
            raise Odd("a row that breaks a rule")


def _check_times(table: pd.DataFrame) -> None:
    """Positive milliseconds, all of one year: then no rule on times can be broken."""
    for name in (n for n in TIMES if n in table):
        values = table[name].to_numpy()
        low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        if np.isnan(high):
            continue
        small = high <= 5e8
        if not low > 0 or not (small or (low > 1e11 and high < 1e14)):
            raise Odd(f"{name} is in another unit")
        if name == "recv_ms" and high - low > FAR_MS:
            raise Odd("a row far from the others")


def _check_words(table: pd.DataFrame, kind: str) -> None:
    """Words as they should be written; a reason to reject only where a status says so too."""
    for name in TEXT.intersection(table.columns):
        words = [str(word) for word in table[name].cat.categories]
        capital = name in ("action", "side", "status")
        if any(w != w.strip() or (capital and w != w.upper()) for w in words):
            raise Odd(f"{name} in small letters or with blanks")
        if name == "symbol" and len([w for w in words if w]) > 1:
            raise Odd("several symbols")
    if kind == "orders" and "reject_reason" in table:
        words = [str(word) for word in table["reject_reason"].cat.categories]
        if any(word.upper() not in NO_REASON for word in words) and (
            "status" not in table or is_one_of(table["status"], "").any()
        ):
            raise Odd("rejected without a status")
        del table["reject_reason"]


def _check_mids(table: pd.DataFrame) -> None:
    time, mid = table["recv_ms"].to_numpy(), table["mid"].to_numpy()
    for rows in slices(len(mid)):
        some = slice(max(rows.start - 1, 0), rows.stop)  # with the row before
        if not (mid[some] > 0).all() or (np.diff(time[some]) < 0).any():
            raise Odd("a mid that is none, or time that goes backwards")
        if np.abs(np.diff(np.log(mid[some]))).max(initial=0.0) > SPIKE:
            raise Odd("a mid far from the one before")
