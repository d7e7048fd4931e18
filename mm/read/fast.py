"""The three files of a run in whole columns: for logs without anything odd, which most are.

The rules are those of the careful reader: any doubt (a cell that does not parse, a row that
breaks a rule, a word in small letters) gives None, and the careful reader, which knows row
numbers, reads the files again. What both accept they read alike, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds

from mm import books
from mm.arrays import Floats
from mm.discover import KINDS, Kind
from mm.errors import InputError
from mm.order_ids import OrderNames, is_one_of
from mm.read.columns import TEXT, TIMES
from mm.read.packed import Ids, Numbers, Words
from mm.read.rows import Checked
from mm.read.rules import (
    ACTIONS,
    FAR_MS,
    NO_REASON,
    SPIKE,
    Findings,
    check_fills,
    check_orders,
)
from mm.read.stream import Odd, Stream

#: Rows that the rules look at at a time: bounds what they need beside the columns.
_SLICE = 1 << 20
#: Only a repair of missing fills needs it, and that is work for the careful reader.
_LEFT_OUT = frozenset({"remaining_qty"})
#: Where each cell is compared with the first row's only, that is all that is kept of it.
_AS_AT_START = "cash"
_LARGEST = 1e15
#: How numbers are kept, where not as doubles; counts of orders are checked to be the same.
_KINDS = {"recv_ms": "i8", "open_orders": "f4"}


@dataclass(frozen=True)
class FastRun:
    """The checked tables of one run, the names of its orders, and the SHA-256 of each file."""

    checked: Mapping[Kind, Checked]
    sha256: Mapping[Kind, str]
    order_names: OrderNames


def read_fast(paths: Mapping[Kind, Path]) -> FastRun | None:
    """All three files, or None where anything at all is odd.

    ``order_id`` holds the numbers of ``order_names``, the other texts are categoricals.
    """
    ids, tables, digests = Ids(), {}, {}
    try:
        for kind in KINDS:
            stream = Stream(paths[kind], kind)
            tables[kind] = _columns(stream, ids)
            digests[kind] = stream.sha256
        names = ids.finish()
        checked = {}
        for kind in KINDS:
            table = pd.DataFrame(tables.pop(kind), copy=False)
            _check(table, kind, ids)
            checked[kind] = _checked(table)
    except (Odd, InputError, MemoryError):
        return None
    return FastRun(checked, digests, names)


def _columns(stream: Stream, ids: Ids) -> dict[str, object]:
    """The columns of one file, packed. Raises Odd."""
    packed: dict[str, Numbers | Words] = {}
    n = 0
    for table in stream.tables(_LEFT_OUT):
        for name in stream.names:
            column = table.column(name)
            if name == "order_id":
                ids.add(column, stream.rows)
            elif name in TEXT:
                packed.setdefault(name, Words(stream.rows)).add(column)
            elif name == "mtm_value":
                continue
            elif name == _AS_AT_START:
                # Whether it is as in the first row is all that is ever asked of it.
                start = packed.setdefault(name, Numbers(np.bool_, stream.rows))
                assert isinstance(start, Numbers)
                start.add(start.as_first(_numbers(column, name)))
            else:
                values = _numbers(column, name)
                _check_numbers(values, name, stream.is_text)
                packed.setdefault(name, Numbers(_KINDS.get(name, "f8"), stream.rows)).add(values)
        if {"inventory", "cash", "mtm_value"} <= set(stream.names):
            _check_value(table)
        n += len(table)
    if not n:
        raise Odd("no row")
    out: dict[str, object] = {name: column.finish() for name, column in packed.items()}
    if "order_id" in stream.names:
        out["order_id"] = ids.cut()
    _without_the_unused(out, packed)
    return {name: out[name] for name in stream.names if name in out}


def _without_the_unused(out: dict[str, object], packed: Mapping[str, Numbers | Words]) -> None:
    """Columns that say nothing are not kept."""
    expire = out.get("expire_recv_ms")
    if isinstance(expire, np.ndarray) and np.isnan(expire).all():
        del out["expire_recv_ms"]
    cash = packed.get(_AS_AT_START)
    if isinstance(cash, Numbers) and not np.isfinite(cash.first or 0.0):
        del out[_AS_AT_START]


def _numbers(column: pa.ChunkedArray, name: str) -> Floats:
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


def _check_numbers(values: Floats, name: str, is_text: bool) -> None:
    """Raise Odd for numbers that can't be what they should, or that parsers may read apart."""
    if name == "inventory":
        return
    if name == "open_orders":
        short = values.astype(np.float32)
        if not np.array_equal(short, values, equal_nan=True):
            raise Odd("no count of orders")
        return
    if name in ("price", "qty", "mid"):
        if np.nanmax(np.abs(values), initial=0.0) > _LARGEST:
            raise Odd(f"{name} is larger than any")
        if is_text:
            few_digits(values)
    elif values.dtype.kind == "f" and not np.array_equal(np.rint(values), values, equal_nan=True):
        raise Odd(f"{name} is no whole ms")


def _check_value(table: pa.Table) -> None:
    """Raise Odd where a row's mid is not the one by which its value was counted."""
    names = ("inventory", "cash", "mtm_value", "mid")
    held, cash, value, mid = (_numbers(table.column(name), name) for name in names)
    tells, off, rounding = books.value_error(held, cash, value, mid)
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


def _check(table: pd.DataFrame, kind: Kind, ids: Ids) -> None:
    """Raise Odd for any row that breaks a rule."""
    _check_times(table)
    _check_words(table, kind)
    if kind == "state":
        _check_mids(table)
        return
    empty = ids.empty_rows(table["order_id"])
    if kind == "fills" and empty.any():
        raise Odd("a fill without an id")
    if kind == "orders" and (empty & is_one_of(table["action"], *ACTIONS, "")).any():
        raise Odd("an order without an id")
    rules = check_orders if kind == "orders" else check_fills
    for start in range(0, len(table), _SLICE):
        some = table.iloc[start : start + _SLICE].copy(deep=False)
        findings = Findings(len(some), np.broadcast_to(np.int64(0), len(some)))
        rules(some, findings)
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


def _check_words(table: pd.DataFrame, kind: Kind) -> None:
    """Words as they should be written; a reason to reject only where a status says so too."""
    for name in (n for n in TEXT if n in table and n != "order_id"):
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
    for start in range(0, len(mid), _SLICE):
        some = slice(max(start - 1, 0), start + _SLICE)
        if not (mid[some] > 0).all() or (np.diff(time[some]) < 0).any():
            raise Odd("a mid that is none, or time that goes backwards")
        if np.abs(np.diff(np.log(mid[some]))).max(initial=0.0) > SPIKE:
            raise Odd("a mid far from the one before")


def _checked(table: pd.DataFrame) -> Checked:
    lost = pd.DataFrame(columns=["recv_ms", "side", "price", "action"])
    no_rows = np.broadcast_to(np.int64(0), len(table))
    blind = np.zeros(0, dtype=np.int64)
    return Checked(table, no_rows, len(table), (), frozenset(), lost, blind)
