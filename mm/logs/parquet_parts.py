"""How converted logs are laid out in Parquet files: row groups, dictionaries, a part a day."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mm.core.errors import InputError
from mm.logs.rows.columns import TEXT

_DAY_MS = 86_400_000
#: Few different values each, in a row group at least: a number stands for them in the file.
_CODED = (*sorted(TEXT), "price", "qty", "remaining_qty", "mid", "open_orders")
#: Room for the ids of a row group.
_DICTIONARY_BYTES = 1 << 26
#: Rows that are compressed and can be skipped together.
_GROUP_ROWS = 1 << 19


def write_parts(tables: Iterator[pa.Table], target: Path, by_day: bool, label: str) -> None:
    """Write a log's tables as one file, or as a folder with a part for each day (UTC).

    Raises InputError if a log by day goes back to an earlier one.
    """
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
