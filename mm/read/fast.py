"""The three files of a run in whole columns: for logs without anything odd, which most are.

The rules are those of the careful reader: any doubt (a cell that does not parse, a row that
breaks a rule, a word in small letters) gives None, and the careful reader, which knows row
numbers, reads the files again. What both accept they read alike, to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds

from mm import books
from mm.arrays import Floats, Ints
from mm.discover import KINDS, Kind
from mm.errors import InputError
from mm.ledger import NAMES, Ledger
from mm.order_ids import OrderNames, is_one_of
from mm.read.columns import TEXT, TIMES
from mm.read.ids import FileIds, numbered
from mm.read.packed import Numbers, Repeating, Words
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
from mm.side_by_side import ahead

#: Rows that are looked at at a time: what that needs beside the columns stays in the cache.
_SLICE = 1 << 16
#: Only a repair of missing fills needs it, and that is work for the careful reader.
_LEFT_OUT = frozenset({"remaining_qty"})
_LARGEST = 1e15


@dataclass(frozen=True)
class FastRun:
    """The checked tables of one run, the names of its orders, and the SHA-256 of each file."""

    checked: Mapping[Kind, Checked]
    sha256: Mapping[Kind, str]
    order_names: OrderNames


@dataclass(frozen=True)
class _File:
    """What is kept of one file: checked columns, but for the order ids, and the books."""

    table: pd.DataFrame
    ids: FileIds | None
    ledger: Ledger
    sha256: str


def read_fast(paths: Mapping[Kind, Path]) -> FastRun | None:
    """All three files, or None where anything at all is odd. Each is read in a thread of its own.

    ``order_id`` holds the numbers of ``order_names``, the other texts are categoricals; the books
    are in the state file's ledger.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(len(KINDS)) as pool:
        coming = {kind: pool.submit(_read, Stream(paths[kind], kind), stop) for kind in KINDS}
    try:
        files = {kind: one.result() for kind, one in coming.items()}
        with_ids = {kind: one.ids for kind, one in files.items() if one.ids is not None}
        codes, names = numbered(list(with_ids.values()))
    except (Odd, InputError, MemoryError):
        return None
    for kind, cells in zip(with_ids, codes, strict=True):
        files[kind].table.insert(1, "order_id", cells)
    pa.default_memory_pool().release_unused()
    return FastRun(
        {kind: _checked(one) for kind, one in files.items()},
        {kind: one.sha256 for kind, one in files.items()},
        names,
    )


def _read(stream: Stream, stop: threading.Event) -> _File:
    """One file, checked by itself. Raises Odd, also once another file was found to be."""
    try:
        return _columns(stream, stop)
    except BaseException:
        stop.set()
        raise


def _columns(stream: Stream, stop: threading.Event) -> _File:
    packed: dict[str, Numbers | Words] = {}
    told: dict[str, Repeating] = {}
    ids: FileIds | None = None
    without_id: list[Ints] = []
    n = 0
    for table in ahead(stream.tables(_LEFT_OUT)):
        if stop.is_set():
            raise Odd("another file is odd")
        for name in stream.names:
            column = table.column(name)
            if name == "order_id":
                ids = ids or FileIds(stream.rows)
                empty = ids.add(column)
                if empty is not None:
                    without_id.append(np.flatnonzero(empty) + n)
            elif name in TEXT:
                packed.setdefault(name, Words(stream.rows)).add(column)
            elif name != "mtm_value":
                values = _numbers(column, name)
                for some in _slices(len(values)):
                    _check_numbers(values[some], name, stream.is_text)
                if name in NAMES:
                    told.setdefault(name, Repeating(stream.rows)).add(values)
                else:
                    kind = np.int64 if name == "recv_ms" else np.float64
                    packed.setdefault(name, Numbers(kind, stream.rows)).add(values)
        if {"inventory", "cash", "mtm_value"} <= set(stream.names):
            _check_value(table)
        n += len(table)
    if not n:
        raise Odd("no row")
    out = {name: packed[name].finish() for name in stream.names if name in packed}
    expire = out.get("expire_recv_ms")
    if isinstance(expire, np.ndarray) and np.isnan(expire).all():
        del out["expire_recv_ms"]
    frame = pd.DataFrame(out, copy=False)
    _check(frame, stream.kind, np.concatenate([np.zeros(0, np.int64), *without_id]))
    ledger = Ledger(**{name: column.finish() for name, column in told.items()})
    return _File(frame, ids, ledger, stream.sha256)


def _slices(n: int, times: int = 1) -> Iterator[slice]:
    for start in range(0, n, times * _SLICE):
        yield slice(start, start + times * _SLICE)


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


def _check_value(table: pa.Table) -> None:
    """Raise Odd where a row's mid is not the one by which its value was counted."""
    names = ("inventory", "cash", "mtm_value", "mid")
    columns = [_numbers(table.column(name), name) for name in names]
    for some in _slices(len(table)):
        tells, off, rounding = books.value_error(*(column[some] for column in columns))
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


def _check(table: pd.DataFrame, kind: str, without_id: Ints) -> None:
    """Raise Odd for any row that breaks a rule."""
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
    for some in _slices(len(table), 4):
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
    for start in range(0, len(mid), _SLICE):
        some = slice(max(start - 1, 0), start + _SLICE)
        if not (mid[some] > 0).all() or (np.diff(time[some]) < 0).any():
            raise Odd("a mid that is none, or time that goes backwards")
        if np.abs(np.diff(np.log(mid[some]))).max(initial=0.0) > SPIKE:
            raise Odd("a mid far from the one before")


def _checked(file: _File) -> Checked:
    n = len(file.table)
    lost = pd.DataFrame(columns=["recv_ms", "side", "price", "action"])
    no_rows = np.broadcast_to(np.int64(0), n)
    blind = np.zeros(0, dtype=np.int64)
    return Checked(file.table, no_rows, n, (), frozenset(), lost, blind, file.ledger)
