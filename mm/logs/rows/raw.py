"""From a path to cells: what a file's bytes are, not what they mean.

The bytes are read once, hashed, and then parsed from memory: what the hash names is what the
numbers come from, also where a backtest is still writing.
"""

from __future__ import annotations

import gzip
import hashlib
import stat
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from mm.core.errors import InputError
from mm.logs.columns import RawTable, wanted
from mm.logs.files import digest_of_parts, is_dataset, parts_of
from mm.logs.rows.csv_text import parse_csv
from mm.logs.rows.parquet import parse_parquet

_REWRITE = "write the file again"


def read_table(path: Path, kind: str, label: str) -> RawTable:
    """The used columns of one file as they stand, in file order.

    Raises InputError for a file that is no table of this kind.
    """
    if is_dataset(path):
        return _read_parts(path, kind, label)
    content = _read_bytes(path, label)
    digest = hashlib.sha256(content).hexdigest()
    if path.name.endswith(".parquet"):
        return parse_parquet(content, kind, label, digest)
    if path.name.endswith(".gz"):
        content = _unzipped(content, label)
    return parse_csv(content, kind, label, digest)


def _read_parts(folder: Path, kind: str, label: str) -> RawTable:
    """The parts of a folder one behind the other; rows are counted through all of them."""
    tables, digests, header = [], {}, None
    for part in parts_of(folder):
        where = f"{label}/{part.relative_to(folder).as_posix()}"
        content = _read_bytes(part, where)
        digests[part] = hashlib.sha256(content).hexdigest()
        raw = parse_parquet(content, kind, where, digests[part])
        header = header or raw.header
        if set(raw.table.columns) != set(wanted(kind)) & set(header):
            raise InputError(
                "its columns are not those of the first part", where=where, remedy=_REWRITE
            )
        tables.append(raw.table)
    if header is None:
        raise InputError("a folder without a .parquet file", where=label, remedy=_REWRITE)
    table = pd.concat(tables, ignore_index=True)
    line = np.arange(len(table), dtype=np.int64) + 2
    return RawTable(table, line, header, sha256=digest_of_parts(folder, digests))


def _read_bytes(path: Path, label: str) -> bytes:
    try:
        before = path.stat()
        # A pipe would wait forever, a device never end.
        if not stat.S_ISREG(before.st_mode):
            what = "a folder" if stat.S_ISDIR(before.st_mode) else "no regular file"
            raise InputError(f"is {what}", where=label, remedy="put the log file in its place")
        content = path.read_bytes()
        after = path.stat()
    except FileNotFoundError:
        raise InputError(
            "the file vanished, or is a link to nowhere", where=label, remedy="run again"
        ) from None
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror or type(error).__name__})",
            where=label,
            remedy="look at the file's rights, and at where it links to",
        ) from None
    except MemoryError:
        raise InputError(
            "is larger than memory", where=label, remedy="split it into run folders"
        ) from None
    same = (before.st_size, before.st_mtime_ns, before.st_ino)
    if (after.st_size, after.st_mtime_ns, after.st_ino) != same or len(content) != after.st_size:
        raise InputError(
            "changed while it was read",
            where=label,
            remedy="run again when the backtest has ended",
        )
    if not content:
        raise InputError("file is empty (zero bytes)", where=label, remedy="run the backtest again")
    return content


def _unzipped(content: bytes, label: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        text = " ".join(str(error).split())
        raise InputError(f"not a whole gzip file ({text})", where=label, remedy=_REWRITE) from None
    except MemoryError:
        raise InputError(
            "is larger than memory once unzipped",
            where=label,
            remedy="split it into run folders",
        ) from None
