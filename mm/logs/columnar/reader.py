"""The three files of a run in whole columns: for long logs that break no rule, as most do.

What it accepts is what the row reader would make of it, to the last bit. Any doubt (a cell that
does not parse, a row that breaks a rule, a word in small letters) raises NeedsRowReader: the row
reader, which knows row numbers, then reads the files again.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds

from mm.core.arrays import Floats, Ints, never_falls
from mm.core.concurrency import ahead
from mm.core.errors import InputError, one_line
from mm.logs import bookkeeping
from mm.logs.bookkeeping import NAMES, Ledger
from mm.logs.columnar.ids import FileIds, numbered
from mm.logs.columnar.packed import Numbers, Repeating, Words
from mm.logs.columnar.stream import NeedsRowReader, Stream
from mm.logs.columns import CAPITALS, LARGEST, TEXT, Checked
from mm.logs.files import KINDS, Kind
from mm.logs.order_ids import OrderNames, is_accepted, is_one_of, words_of
from mm.logs.rules import check_file, first_broken, rejected_by_reason
from mm.logs.words import is_plain

#: Only a repair of missing fills needs it, and that is work for the row reader.
_LEFT_OUT = frozenset({"remaining_qty"})
_VALUED = ("inventory", "cash", "mtm_value", "mid")


@dataclass(frozen=True)
class LongRun:
    """The checked tables of one run, the names of its orders, and the SHA-256 of each file.

    ``order_id`` holds the numbers of ``order_names``, the other texts are categoricals; the books
    are in the state file's ledger.
    """

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


def read_columns(paths: Mapping[Kind, Path]) -> LongRun:
    """All three files, each read in a thread of its own.

    Raises NeedsRowReader, with the path and the first doubt.
    """
    doubts: list[str] = []
    try:
        with ThreadPoolExecutor(len(KINDS)) as pool:
            coming = {kind: pool.submit(_read, Stream(paths[kind], kind), doubts) for kind in KINDS}
        files = {kind: one.result() for kind, one in coming.items()}
        with_ids = {kind: one.ids for kind, one in files.items() if one.ids is not None}
        codes, names = numbered(list(with_ids.values()))
    except (NeedsRowReader, InputError, MemoryError) as doubt:
        doubts.append(f"{paths['orders']}: order ids: {one_line(doubt)}")
        raise NeedsRowReader(doubts[0]) from None
    finally:
        doubts.append("interrupted")  # Ctrl-C ends the wait for the threads, not the threads
    for kind, cells in zip(with_ids, codes, strict=True):
        files[kind].table.insert(1, "order_id", cells)
    if _placed_and_rejected(files["orders"].table):
        raise NeedsRowReader(f"{paths['orders']}: orders that were placed, and rejected")
    return LongRun(
        {
            k: Checked(f.table, _no_lines(f.table), len(f.table), ledger=f.ledger)
            for k, f in files.items()
        },
        {kind: one.sha256 for kind, one in files.items()},
        names,
    )


def _placed_and_rejected(orders: pd.DataFrame) -> bool:
    if "status" not in orders or "REJECTED" not in words_of(orders["status"]):
        return False
    placed, accepted = is_one_of(orders["action"], "PLACE"), is_accepted(orders)
    codes = orders["order_id"].to_numpy()
    return bool(np.isin(codes[placed & ~accepted], codes[accepted]).any())


def _no_lines(table: pd.DataFrame) -> Ints:
    return np.broadcast_to(np.int64(0), len(table))


def _read(stream: Stream, doubts: list[str]) -> _File:
    """One file, checked by itself; given up once there is a doubt about any of the three."""
    try:
        return _columns(stream, doubts)
    except Exception as doubt:
        doubts.append(f"{stream.path}: {one_line(doubt)}")
        raise


def _columns(stream: Stream, doubts: list[str]) -> _File:
    kept: dict[str, Numbers | Repeating | Words] = {}
    ids: FileIds | None = None
    without_id: list[Ints] = []
    n = 0
    for table in ahead(stream.tables(_LEFT_OUT)):
        if doubts:
            raise NeedsRowReader("given up")
        for name in stream.names:
            column = table.column(name)
            if name == "order_id":
                ids = ids or FileIds(stream.rows)
                empty = ids.add(column)
                if empty is not None:
                    without_id.append(np.flatnonzero(empty) + n)
            if name in ("order_id", "mtm_value"):
                continue
            if name == "expire_recv_ms" and name not in kept and column.null_count == len(column):
                continue  # in most logs no order expires
            if name not in kept:
                kept[name] = _room_for(name, stream.rows)
                if n:
                    kept[name].add(np.full(n, np.nan))
            room = kept[name]
            if isinstance(room, Words):
                room.add(column)
            else:
                room.add(_numbers(column, name))
        _check_value(table)
        n += len(table)
    if not n:
        raise NeedsRowReader("no row")
    books = {name: one.finish() for name, one in kept.items() if isinstance(one, Repeating)}
    frame = pd.DataFrame(
        {name: one.finish() for name, one in kept.items() if name not in books}, copy=False
    )
    if "expire_recv_ms" in frame and frame["expire_recv_ms"].isna().all():
        del frame["expire_recv_ms"]
    _check_words(frame)
    _check_rows(frame, stream, without_id)
    return _File(frame, ids, Ledger(**books), stream.sha256)


def _room_for(name: str, rows: int) -> Numbers | Repeating | Words:
    if name in TEXT:
        return Words(rows)
    if name in NAMES:
        return Repeating(rows)
    return Numbers(np.int64 if name == "recv_ms" else np.float64, rows)


def _numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """The cells as numbers, NaN for nothing. Raises NeedsRowReader for types that are none."""
    kind = column.type
    if kinds.is_null(kind):
        return np.full(len(column), np.nan)
    whole = kinds.is_integer(kind)
    if not (whole or kind == pa.float64()):
        raise NeedsRowReader(f"{name} is of type {kind}")
    values = column.to_numpy()
    if name == "recv_ms":
        if column.null_count or not whole:
            raise NeedsRowReader("a row without a time")
        return np.asarray(values)
    if name in NAMES and np.fmax.reduce(np.abs(values), initial=0.0) >= LARGEST:
        raise NeedsRowReader(f"{name} is larger than any")
    return np.asarray(values, dtype=np.float64)


def _check_value(table: pa.Table) -> None:
    """Raise NeedsRowReader where a row's mid is not the one by which its value was counted."""
    if set(_VALUED) <= set(table.column_names):
        columns = (_numbers(table.column(name), name) for name in _VALUED)
        tells, off, rounding = bookkeeping.value_error(*columns)
        if (tells & (np.abs(off) > rounding)).any():
            raise NeedsRowReader("a value that was counted by another mid")


def _check_words(table: pd.DataFrame) -> None:
    """Raise NeedsRowReader for words that are not as the row reader would make them."""
    for name in TEXT.intersection(table.columns):
        words = words_of(table[name])
        if any(w != w.strip() or (name in CAPITALS and w != w.upper()) for w in words):
            raise NeedsRowReader(f"{name} in small letters or with blanks")
    if not is_plain(table):
        raise NeedsRowReader("words that stand for others")
    if "reject_reason" in table:
        if rejected_by_reason(table).any():
            raise NeedsRowReader("rejected without a status")
        del table["reject_reason"]


def _check_rows(table: pd.DataFrame, stream: Stream, without_id: list[Ints]) -> None:
    """Raise NeedsRowReader, or InputError, for any row that breaks a rule."""
    if stream.kind == "state" and not never_falls(table["recv_ms"].to_numpy()):
        raise NeedsRowReader("time that goes backwards")
    check_file(table, _no_lines(table), stream.path.name)
    rule = first_broken(table, stream.kind)
    if without_id and not rule:
        some = table.iloc[np.concatenate(without_id)]
        rule = first_broken(some.assign(order_id=""), stream.kind)
    if rule:
        raise NeedsRowReader(f"column {rule.column}: {rule.what}")
