"""One log as Parquet: its used columns, every row in its order and every number as it was read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mm.core.errors import InputError
from mm.logs.columnar.stream import NeedsRowReader, Stream
from mm.logs.columns import TEXT, TIMES
from mm.logs.files import Kind
from mm.logs.rows.raw import read_table
from mm.logs.rows.reader import check_table

_DAY_MS = 86_400_000
#: Few different values each, in a row group at least: a number stands for them in the file.
_CODED = (*sorted(TEXT), "price", "qty", "remaining_qty", "mid", "open_orders")
#: Room for the ids of a row group.
_DICTIONARY_BYTES = 1 << 26
#: Rows that are compressed and can be skipped together.
_GROUP_ROWS = 1 << 19


def write_parquet(path: Path, kind: Kind, target: Path, by_day: bool) -> None:
    """Write one log as a file, or as a folder with a part for each day (UTC).

    Raises InputError for a log that can't be read, holds a malformed row, or by day goes back.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(_in_columns(path, kind), target, by_day, path.name)
    except NeedsRowReader:
        if target.is_dir():
            shutil.rmtree(target)
        _write(_by_row(path, kind), target, by_day, path.name)


def _in_columns(path: Path, kind: Kind) -> Iterator[pa.Table]:
    any_row = False
    for table in Stream(path, kind).tables():
        any_row = any_row or len(table) > 0
        yield _typed(table)
    if not any_row:
        raise NeedsRowReader("no row")


def _by_row(path: Path, kind: Kind) -> Iterator[pa.Table]:
    checked = check_table(read_table(path, kind, path.name), kind, path.name)
    if checked.set_aside:
        raise InputError(
            f"{checked.first_cause}: a malformed row",
            where=path.name,
            remedy="mend it, or calibrate the log as it is: only there rows are known by number",
        )
    table = checked.table
    for name in (n for n in TIMES if n in table):
        table[name] = table[name].astype("Int64")
    yield _typed(pa.Table.from_pandas(table, preserve_index=False))


def _typed(table: pa.Table) -> pa.Table:
    """Text as text, times as whole ms, the rest as doubles."""
    kinds = [
        pa.string() if n in TEXT else pa.int64() if n in TIMES else pa.float64()
        for n in table.column_names
    ]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _write(tables: Iterator[pa.Table], target: Path, by_day: bool, label: str) -> None:
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    last: int | None = None

    def flush(least: int = 1) -> None:
        if writer is not None and sum(len(table) for table in waiting) >= least:
            writer.write_table(pa.concat_tables(waiting))
            waiting.clear()

    try:
        for table in tables:
            for day, part in _by_day(table) if by_day else [(None, table)]:
                if writer is None or day != last:
                    flush()
                    if writer is not None:
                        writer.close()
                    if day is not None and last is not None and day < last:
                        raise InputError(
                            "time goes back to the day before",
                            where=label,
                            remedy="convert it without --partition",
                        )
                    writer, last = _writer(target, day, part.schema), day
                waiting.append(part)
                flush(_GROUP_ROWS)
        flush()
    finally:
        if writer is not None:
            writer.close()


def _writer(target: Path, day: int | None, schema: pa.Schema) -> pq.ParquetWriter:
    if day is not None:
        date = pd.Timestamp(day * _DAY_MS, unit="ms").date().isoformat()
        target = target / f"date={date}" / "part-0.parquet"
        target.parent.mkdir(parents=True)
    return pq.ParquetWriter(
        target,
        schema,
        use_dictionary=[name for name in schema.names if name in _CODED],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    )


def _by_day(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Stretches of rows of one day (UTC), in order. A table without rows counts as day 0."""
    if not len(table):
        yield 0, table
    day = table.column("recv_ms").to_numpy() // _DAY_MS
    cuts = [0, *(np.flatnonzero(day[1:] != day[:-1]) + 1).tolist(), len(day)]
    for low, high in pairwise(cuts):
        if high > low:
            yield int(day[low]), table.slice(low, high - low)
