"""A log file as Arrow tables, some million cells at a time: memory does not go with its size.

Text that two parsers may read apart raises :class:`NeedsRowReader`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyarrow.types as kinds

from mm.core.arrays import Floats
from mm.logs.columns import TEXT, TIMES, check_header, wanted
from mm.logs.files import digest_of_parts, is_dataset, parts_of

#: Bytes of CSV that are parsed at a time.
CHUNK_BYTES = 4 << 20
#: Rows of Parquet that are decoded at a time: arrays of them stay in the cache.
CHUNK_ROWS = 1 << 16
_DECIMAL = frozenset({"price", "qty", "mid"})
_TEXT_TYPE = pa.dictionary(pa.int32(), pa.string())


class NeedsRowReader(Exception):
    """The file holds something that only the row reader may judge."""


@dataclass
class Stream:
    """Tables of one file in order. ``names``: their columns. ``rows``: how many there are in all,
    estimated for CSV. ``sha256``: of the bytes, once all tables were taken."""

    path: Path
    kind: str
    names: tuple[str, ...] = ()
    rows: int = 0
    sha256: str = ""

    def tables(self, leave_out: frozenset[str] = frozenset()) -> Iterator[pa.Table]:
        """The used columns, except some, chunk by chunk. Raises NeedsRowReader."""
        try:
            parts = parts_of(self.path)
            before = [part.stat() for part in parts]
            if not all(stat.S_ISREG(one.st_mode) for one in before):
                raise NeedsRowReader("no regular file")
            if self.path.name.endswith(".parquet"):
                yield from self._parquet(parts, leave_out)
            else:
                yield from self._csv(leave_out)
            after = [part.stat() for part in parts]
            if [(s.st_size, s.st_mtime_ns) for s in before] != [
                (s.st_size, s.st_mtime_ns) for s in after
            ]:
                raise NeedsRowReader("changed while it was read")
        except (pa.ArrowException, OSError, ValueError, EOFError, zlib.error) as error:
            raise NeedsRowReader(str(error)) from None

    def _chosen(self, header: list[str], leave_out: frozenset[str]) -> list[str]:
        check_header(header, self.kind, self.path.name)
        chosen = [n for n in wanted(self.kind) if n in header and n not in leave_out]
        self.names = tuple(chosen)
        return chosen

    def _parquet(self, parts: list[Path], leave_out: frozenset[str]) -> Iterator[pa.Table]:
        self.rows = sum(pq.read_metadata(part).num_rows for part in parts)
        digests = {}
        for part in parts:
            with part.open("rb") as raw:
                digests[part] = hashlib.file_digest(raw, "sha256").hexdigest()
            yield from self._part(part, leave_out)
        whole = is_dataset(self.path)
        self.sha256 = digest_of_parts(self.path, digests) if whole else digests[parts[0]]

    def _part(self, part: Path, leave_out: frozenset[str]) -> Iterator[pa.Table]:
        schema = pq.read_schema(part)
        before = self.names
        names = self._chosen(list(schema.names), leave_out)
        if before and self.names != before:
            raise NeedsRowReader("parts of different columns")
        text = [n for n in names if n in TEXT and _is_text(schema.field(n).type)]
        with pq.ParquetFile(part, read_dictionary=text, pre_buffer=False) as file:
            for group in range(file.metadata.num_row_groups):
                yield from _group(file, group, names)

    def _csv(self, leave_out: frozenset[str]) -> Iterator[pa.Table]:
        digest = hashlib.sha256()
        with self.path.open("rb") as raw, ThreadPoolExecutor(1) as ahead:
            size = self.path.stat().st_size
            source = _Hashed(raw, digest)
            text: io.RawIOBase | gzip.GzipFile = source
            if self.path.name.endswith(".gz"):
                text, size = gzip.GzipFile(fileobj=cast("IO[bytes]", source)), 8 * size
            first = text.readline(1 << 16)
            header = [cell.strip() for cell in _plain(first).decode().rstrip("\n").split(",")]
            names = self._chosen(header, leave_out)
            places = [str(header.index(name)) for name in names]
            types: dict[str, pa.DataType] | None = None
            rest = b""
            coming = ahead.submit(text.read, CHUNK_BYTES)
            while True:
                block = coming.result()
                if not block:
                    break
                coming = ahead.submit(text.read, CHUNK_BYTES)
                cut = block.rfind(b"\n") + 1
                if not cut:
                    raise NeedsRowReader("a line without an end")
                chunk, rest = rest + block[:cut], block[cut:]
                if types is None:
                    types = self._types(chunk, len(header), names, places)
                    self.rows = int(size / len(chunk) * chunk.count(b"\n") * 1.02) + 1000
                table = _parsed(_plain(chunk), len(header), places, types).rename_columns(names)
                for name in _DECIMAL.intersection(names):
                    _check_digits(table.column(name).to_numpy())
                yield table
            if rest:
                raise NeedsRowReader("the last line is not ended")
            source.drain()
            self.sha256 = digest.hexdigest()

    def _types(
        self, chunk: bytes, width: int, names: list[str], places: list[str]
    ) -> dict[str, pa.DataType]:
        """Column types by place; times that are not written as whole numbers may be floats."""
        types = {}
        for name, place in zip(names, places, strict=True):
            if name in TEXT:
                types[place] = _TEXT_TYPE
            else:
                types[place] = pa.int64() if name in TIMES else pa.float64()
        start = _plain(chunk)
        try:
            _parsed(start[: start.rfind(b"\n", 0, 1 << 20) + 1] or start, width, places, types)
        except pa.ArrowInvalid:
            for name, place in zip(names, places, strict=True):
                if name in TIMES and name != "recv_ms":
                    types[place] = pa.float64()
        return types


def _group(file: pq.ParquetFile, group: int, names: list[str]) -> Iterator[pa.Table]:
    """The rows of one group, some at a time; its ids are one column, with one list of them."""
    many = [name for name in names if name == "order_id"]
    ids = _as_words(file.read_row_group(group, columns=many)) if many else None
    start = 0
    for batch in file.iter_batches(CHUNK_ROWS, [group], [n for n in names if n not in many]):
        table = _as_words(pa.Table.from_batches([batch]))
        if ids is not None:
            table = table.append_column("order_id", ids.column(0).slice(start, len(table)))
        start += len(table)
        yield table


def _as_words(table: pa.Table) -> pa.Table:
    """The same with numbers where text should be, as ids may be, as that text."""
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if name in TEXT and not kinds.is_dictionary(column.type):
            if not kinds.is_integer(column.type):
                raise NeedsRowReader(f"{name} is no text")
            table = table.set_column(at, name, column.cast(pa.string()).dictionary_encode())
    return table


def _is_text(kind: pa.DataType) -> bool:
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _plain(chunk: bytes) -> bytes:
    """Text in which a comma is a comma and a line is a line."""
    if not chunk.isascii() or b'"' in chunk or b"\r" in chunk or b"\0" in chunk:
        raise NeedsRowReader("quotes, carriage returns, NUL or letters beyond ASCII")
    return chunk


def _parsed(chunk: bytes, width: int, places: list[str], types: dict[str, pa.DataType]) -> pa.Table:
    return pa_csv.read_csv(
        io.BytesIO(chunk) if not chunk else pa.BufferReader(chunk),
        read_options=pa_csv.ReadOptions(
            column_names=[str(at) for at in range(width)], block_size=1 << 20
        ),
        parse_options=pa_csv.ParseOptions(quote_char=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            include_columns=places,
            null_values=[""],
            strings_can_be_null=False,
        ),
        # Arrow's own pool keeps what it once had; the C library gives it back on request.
        memory_pool=pa.system_memory_pool(),
    )


def _check_digits(values: Floats) -> None:
    """Raise NeedsRowReader for numbers of many digits: of those parsers may differ in the last
    bit."""
    there = values[~np.isnan(values)]
    if not len(there):
        return
    largest = float(np.abs(there).max())
    scale = 1e8
    while largest * scale >= 2.0**53 and scale > 1:
        scale /= 100.0
    if largest * scale >= 2.0**53 or not np.array_equal(np.rint(there * scale) / scale, there):
        raise NeedsRowReader("numbers of more than 15 digits")


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, raw: IO[bytes], digest: Any) -> None:
        self._raw, self._update = raw, digest.update

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._raw.read(size)
        self._update(block)
        return block

    def readline(self, size: int | None = -1) -> bytes:
        line = self._raw.readline(-1 if size is None else size)
        self._update(line)
        return line

    def drain(self) -> None:
        """Hash what is left, if anything."""
        while self.read(1 << 20):
            pass
