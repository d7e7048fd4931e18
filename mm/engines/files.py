"""Files of a recording: tables whatever their format, told apart by their columns."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mm.core.errors import InputError, one_line
from mm.engines.events import in_ns

_ENDINGS = (".csv", ".csv.gz", ".parquet", ".feather")
#: What readers raise for a file that is not whole.
_BROKEN = (OSError, EOFError, ValueError, zlib.error, pa.ArrowException)


def files_of(path: Path, *endings: str) -> list[Path]:
    """The file itself, or what a folder holds at any depth, in order of names; of these endings.

    Raises InputError for a place where nothing is.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=path, remedy="give the recording")
    found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [p for p in found if p.name.endswith(endings)]


def headers(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """The tables of a recording and their columns."""
    for file in files_of(path, *_ENDINGS):
        try:
            if file.name.endswith((".parquet", ".feather")):
                yield file, list(schema_of(file).names)
            else:
                yield file, [str(name) for name in pd.read_csv(file, nrows=0).columns]
        except _BROKEN as error:
            raise InputError(
                f"no table ({one_line(error)})", where=file, remedy="write it again"
            ) from None


def read(file: Path, *needed: str) -> pd.DataFrame:
    """A table as it stands, its index a column; ids and other text stay text. Raises InputError,
    also for one without the columns that are needed."""
    return with_columns(_read(file), file, *needed)


def with_columns(table: pd.DataFrame, file: Path, *needed: str) -> pd.DataFrame:
    """The same table. Raises InputError where it lacks one of these columns."""
    missing = [name for name in needed if name not in table]
    if missing:
        names = ", ".join(map(str, table.columns[:15]))
        raise InputError(
            f"no column {missing[0]} (found: {names})", where=file, remedy="write it as it comes"
        )
    return table


def _read(file: Path) -> pd.DataFrame:
    text = dict.fromkeys(("client_order_id", "venue_order_id", "order_id"), "str")
    try:
        if file.name.endswith(".parquet"):
            table: pd.DataFrame = pq.read_table(file, partitioning=None).to_pandas(
                ignore_metadata=True
            )
            return table
        if file.name.endswith(".feather"):
            with _arrow(file) as batches:
                table = batches.read_all().to_pandas(ignore_metadata=True)
            return table
        return pd.read_csv(file, dtype=text)
    except _BROKEN as error:
        raise InputError(
            f"can't be read ({one_line(error)})", where=file, remedy="write it again"
        ) from None


def schema_of(file: Path) -> pa.Schema:
    """The columns of a Parquet or Feather file, with what its writer said of it."""
    if file.name.endswith(".parquet"):
        return pq.read_schema(file)
    with _arrow(file) as batches:
        return batches.schema


def _arrow(file: Path) -> Any:
    """A reader of a Feather file, or of the Arrow stream that some engines give that name."""
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        return pa.ipc.open_stream(source)


_BID = ("bid", "bid_price", "best_bid", "bid_px")
_ASK = ("ask", "ask_price", "best_ask", "ask_px")
_MID = ("mid", "mid_price")
_TIME = (("recv_ms", "ms"), ("time_ms", "ms"), ("time_ns", "ns"), ("now_ns", "ns"))


def quotes_in(
    table: pd.DataFrame, where: str, time: Sequence[tuple[str, str]] = _TIME
) -> pd.DataFrame | None:
    """``time_ns`` and ``mid`` of a table with a bid and an ask, or a mid; None of others.

    ``time``: names of a time column with their units, first come first served.
    """
    named = next(((name, unit) for name, unit in time if name in table), None)
    bid, ask, mid = (next((n for n in names if n in table), "") for names in (_BID, _ASK, _MID))
    if named is None or not (mid or (bid and ask)):
        return None
    values = table[mid] if mid else (table[bid] + table[ask]) / 2.0
    ns = in_ns(table[named[0]], named[1], where, named[0])
    return pd.DataFrame({"time_ns": ns, "mid": values.astype("float64")})
