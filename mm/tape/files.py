"""The columns of a file of prints or quotes: .csv, .csv.gz, .zip or .parquet, read by Arrow."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mm.core.arrays import Floats, Ints, Mask, Sides
from mm.core.errors import InputError, one_line
from mm.logs.files import parts_of
from mm.tape.columns import Clock, Contents, Layout, layout_of

#: The smallest median time in each unit: the year 5138 of the unit below it. Its part of a ms.
_TIMES = ((1e17, "ns", 1e-6), (1e14, "µs", 1e-3), (1e11, "ms", 1.0), (1e8, "s", 1e3))
_SIDE = {"buy": 1, "b": 1, "bid": 1, "1": 1, "sell": -1, "s": -1, "ask": -1, "-1": -1}
_MAKER = {"true": -1, "1": -1, "false": 1, "0": 1}
_REMEDY = "take the file as the venue or the recorder wrote it"


@dataclass(frozen=True)
class Columns:
    """What a file holds, shape (n,) each: ``time_ms``, rounded down, 0 where there is none;
    ``numbers`` by what they are, NaN where there is none; ``aggressor`` +1 bought, -1 sold, 0 not
    said (None of quotes); ``ids``, -1 where there is none (None without). ``unit``: of its times.
    ``uneven``: a word on each row of another number of cells, which is left out."""

    time_ms: Ints
    numbers: Mapping[str, Floats]
    aggressor: Sides | None = None
    ids: Ints | None = None
    unit: str = ""
    uneven: tuple[str, ...] = ()

    def unusable(self) -> Mask:
        """Rows without a time, an aggressor or a price above 0."""
        bad = self.time_ms <= 0
        for values in self.numbers.values():
            bad |= ~(values > 0) | np.isinf(values)
        return bad if self.aggressor is None else bad | (self.aggressor == 0)


def peek(path: Path, contents: Contents) -> Layout:
    """The layout of a file, by its first rows. Raises InputError."""
    with _readable(path):
        if path.name.endswith(".parquet"):
            parts = parts_of(path)
            if not parts:
                raise InputError("a folder without Parquet files", where=path.name, remedy=_REMEDY)
            return layout_of(pq.read_schema(parts[0]).names, (), contents, path.name)
        with _opened(path) as file:
            rows = list(islice(csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline="")), 2))
    if not rows or not any(rows[0]):
        raise InputError("the file is empty", where=path.name, remedy=_REMEDY)
    return layout_of(rows[0], rows[-1], contents, path.name)


def read_columns(path: Path, layout: Layout, clock: Clock) -> Columns:
    """The columns that are used, with times by one of the file's clocks. Raises InputError."""
    wanted = {"time": layout.clocks[clock], **layout.names}
    uneven: list[str] = []
    with _readable(path):
        if path.name.endswith(".parquet"):
            names = list(wanted.values())
            table = pa.concat_tables(pq.read_table(p, columns=names) for p in parts_of(path))
        else:
            table = _csv(path, layout, wanted, uneven)
    if not table.num_rows:
        raise InputError("holds no row", where=path.name, remedy=_REMEDY)
    cells = {role: table.column(name) for role, name in wanted.items()}
    del table
    time_ms, unit = in_ms(_numbers(cells.pop("time")), path.name, wanted["time"])
    ids = cells.pop("id", None)
    if ids is not None and not pa.types.is_integer(ids.type):
        ids = None
    aggressor = None
    for role, words in (("maker", _MAKER), ("side", _SIDE)):
        if role in cells:
            aggressor = _aggressors(cells.pop(role), words)
    return Columns(
        time_ms,
        {role: _numbers(column).astype(np.float64, copy=False) for role, column in cells.items()},
        aggressor,
        None if ids is None else pc.fill_null(ids, -1).to_numpy().astype(np.int64, copy=False),
        unit,
        tuple(uneven),
    )


def _csv(path: Path, layout: Layout, wanted: Mapping[str, str], uneven: list[str]) -> Any:
    """The table of a CSV file; with texts for all cells where one is no number."""

    def left_out(row: Any) -> str:
        uneven.append(f"{row.actual_columns} cells where {row.expected_columns} are")
        return "skip"

    words = pa.dictionary(pa.int32(), pa.string())
    kinds = {"id": pa.int64(), "maker": words, "side": words, "time": None}
    typed = {name: kinds.get(role, pa.float64()) for role, name in wanted.items()}
    typed = {name: kind for name, kind in typed.items() if kind is not None}
    try:
        return _parsed(path, layout, wanted, typed, left_out)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
    uneven.clear()
    return _parsed(path, layout, wanted, dict.fromkeys(wanted.values(), pa.string()), left_out)


def _parsed(
    path: Path, layout: Layout, wanted: Mapping[str, str], kinds: Mapping[str, Any], left_out: Any
) -> Any:
    rows = pa_csv.ReadOptions(column_names=layout.columns, skip_rows=int(layout.header))
    columns = pa_csv.ConvertOptions(include_columns=list(wanted.values()), column_types=kinds)
    parsing = pa_csv.ParseOptions(invalid_row_handler=left_out)
    packed = path.name.endswith((".zip", ".gz"))
    with _opened(path) if packed else pa.OSFile(str(path)) as file:
        return pa_csv.read_csv(file, rows, parsing, columns)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of reading as one line that names the file."""
    try:
        yield
    except (OSError, EOFError, zipfile.BadZipFile, UnicodeDecodeError, pa.ArrowException) as error:
        what = f"can't be read ({one_line(error)[:200]})"
        raise InputError(what, where=path.name, remedy=_REMEDY) from None


def _opened(path: Path) -> BinaryIO:
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if not path.name.endswith(".zip"):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    if len(names) != 1:
        found = ", ".join(names[:5]) or "nothing"
        raise InputError(f"holds {found}, not one file", where=path.name, remedy="unpack it")
    return cast(BinaryIO, archive.open(names[0]))


def _numbers(column: Any) -> npt.NDArray[Any]:
    """A column's cells; what is no number is NaN, or 0 among whole ones."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns"), safe=False).cast(pa.int64())
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column, 0).to_numpy())
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())
    return np.asarray(pd.to_numeric(column.to_pandas(), errors="coerce"), dtype=np.float64)


def _aggressors(column: Any, meaning: Mapping[str, int]) -> Sides:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    out = []
    for chunk in column.chunks:
        words = [str(word).strip().lower() for word in chunk.dictionary.to_pylist()]
        of_word = np.array([*(meaning.get(word, 0) for word in words), 0], dtype=np.int8)
        out.append(of_word[pc.fill_null(chunk.indices, len(words)).to_numpy()])
    return np.concatenate(out)


def in_ms(time: npt.NDArray[Any], where: str, column: str) -> tuple[Ints, str]:
    """Whole ms, rounded down, of times in the unit that their size tells, and that unit."""
    if time.dtype.kind == "f":
        time = np.nan_to_num(time)
    middle = float(np.median(time[:: max(1, len(time) // 10_000)]))
    for least, unit, ms in _TIMES:
        if middle >= least:
            if time.dtype.kind in "iu":
                whole = time // round(1 / ms) if ms < 1 else time * int(ms)
            else:
                # A float of seconds tells a quarter of a µs.
                whole = np.floor(time * ms + 1e-3)
            return np.asarray(whole, dtype=np.int64), unit
    raise InputError(
        f"times like {middle:g} are no s, ms, µs or ns since 1970",
        where=where,
        column=column,
        remedy="write UTC times as whole numbers since the epoch",
    )
