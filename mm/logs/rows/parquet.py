"""Parquet: the used columns, of types that can be what they should be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from mm.core.errors import InputError
from mm.logs.columns import TEXT, TIMES, RawTable, check_header, wanted


def parse_parquet(content: bytes, kind: str, label: str, digest: str = "") -> RawTable:
    """The used columns of a Parquet file; ids are read as text, timestamps kept as they are.

    Raises InputError for bytes that are no Parquet file and for types that make no sense.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        schema = file.schema_arrow
        check_header(list(schema.names), kind, label)
        names = [name for name in wanted(kind) if name in schema.names]
        for name in names:
            _check_type(name, schema.field(name).type, label)
        table = file.read(columns=names)
        columns = {name: _series(table.column(name), name) for name in names}
    except (pa.ArrowException, OSError, ValueError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"not a Parquet file ({text})", where=label, remedy="write it again"
        ) from None
    frame = pd.DataFrame(columns)
    line = np.arange(len(frame), dtype=np.int64) + 2
    return RawTable(frame, line, tuple(schema.names), sha256=digest)


def _series(column: pa.ChunkedArray, name: str) -> pd.Series:
    """One column as pandas holds it. Integer ids go to text here: as floats, which nulls would
    make of them, two long ones may become one."""
    kind = column.type
    if kinds.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if name in TEXT and kinds.is_integer(kind):
        column = column.cast(pa.string())
    elif kinds.is_decimal(kind):
        column = column.cast(pa.float64())
    out: pd.Series = column.to_pandas()
    return out


def _check_type(name: str, kind: pa.DataType, label: str) -> None:
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    text = kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
    number = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
    if name == "order_id":
        fits = text or number
    elif name in TEXT:
        fits = text
    elif name in TIMES:
        fits = text or number or kinds.is_timestamp(kind)
    else:
        fits = text or number
    if not fits and not kinds.is_null(kind):
        wish = "text" if name in TEXT else "integer milliseconds" if name in TIMES else "numbers"
        raise InputError(
            f"is of type {kind}", where=label, column=name, remedy=f"write {wish} there"
        )
