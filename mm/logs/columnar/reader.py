"""The three files of a run in whole columns: for logs without anything odd, which most are.

The rules are those of the careful reader: any doubt (a cell that does not parse, a row that
breaks a rule, a word in small letters) gives None and a line of the log (INFO), and the careful
reader, which knows row numbers, reads the files again. What both accept they read alike, to the
last bit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mm.core.arrays import Ints
from mm.core.concurrency import ahead
from mm.core.errors import InputError
from mm.logs.bookkeeping import NAMES, Ledger
from mm.logs.columnar.ids import FileIds, numbered
from mm.logs.columnar.oddities import check_numbers, check_rows, check_value, numbers
from mm.logs.columnar.packed import Numbers, Repeating, Words
from mm.logs.columnar.stream import Odd, Stream
from mm.logs.files import KINDS, Kind
from mm.logs.order_ids import OrderNames
from mm.logs.rows.columns import TEXT
from mm.logs.rows.reader import Checked

_LOG = logging.getLogger(__name__)
#: Only a repair of missing fills needs it, and that is work for the careful reader.
_LEFT_OUT = frozenset({"remaining_qty"})


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
    try:
        with ThreadPoolExecutor(len(KINDS)) as pool:
            coming = {kind: pool.submit(_read, Stream(paths[kind], kind), stop) for kind in KINDS}
        files = {kind: one.result() for kind, one in coming.items()}
        with_ids = {kind: one.ids for kind, one in files.items() if one.ids is not None}
    except (Odd, InputError, MemoryError):
        return None
    finally:
        stop.set()  # Ctrl-C ends the wait for the threads, not the threads
    try:
        codes, names = numbered(list(with_ids.values()))
    except (Odd, MemoryError) as doubt:
        _LOG.info("%s: order ids: %s: read row by row", paths["orders"], told(doubt))
        return None
    for kind, cells in zip(with_ids, codes, strict=True):
        files[kind].table.insert(1, "order_id", cells)
    return FastRun(
        {kind: _checked(one) for kind, one in files.items()},
        {kind: one.sha256 for kind, one in files.items()},
        names,
    )


def _read(stream: Stream, stop: threading.Event) -> _File:
    """One file, checked by itself. Raises Odd, also once another file was found to be."""
    try:
        return _columns(stream, stop)
    except BaseException as doubt:
        if not stop.is_set():  # else this file is only given up, for a doubt about another
            _LOG.info("%s: %s: read row by row", stream.path, told(doubt))
        stop.set()
        raise


def told(doubt: BaseException) -> str:
    """What sent a run to the careful reader."""
    return " ".join(str(doubt).split()) or type(doubt).__name__


def _columns(stream: Stream, stop: threading.Event) -> _File:
    kept: dict[str, Numbers | Repeating | Words] = {}
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
                values = numbers(column, name)
                check_numbers(values, name, stream.is_text)
                room.add(values)
        check_value(table)
        n += len(table)
    if not n:
        raise Odd("no row")
    told = {name: column.finish() for name, column in kept.items() if isinstance(column, Repeating)}
    frame = pd.DataFrame(
        {name: column.finish() for name, column in kept.items() if name not in told}, copy=False
    )
    if "expire_recv_ms" in frame and frame["expire_recv_ms"].isna().all():
        del frame["expire_recv_ms"]
    check_rows(frame, stream.kind, np.concatenate([np.zeros(0, np.int64), *without_id]))
    return _File(frame, ids, Ledger(**told), stream.sha256)


def _room_for(name: str, rows: int) -> Numbers | Repeating | Words:
    if name in TEXT:
        return Words(rows)
    if name in NAMES:
        return Repeating(rows)
    return Numbers(np.int64 if name == "recv_ms" else np.float64, rows)


def _checked(file: _File) -> Checked:
    n = len(file.table)
    lost = pd.DataFrame(columns=["recv_ms", "side", "price", "action"])
    no_rows = np.broadcast_to(np.int64(0), n)
    blind = np.zeros(0, dtype=np.int64)
    return Checked(file.table, no_rows, n, (), frozenset(), lost, blind, file.ledger)
