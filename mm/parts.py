"""A log in parts: a folder ``orders_<SYMBOL>.parquet`` of Parquet files, one a day or as they come.

The usual layout is Hive's, ``orders_BTCUSDT.parquet/date=2026-11-01/part-0.parquet``. Parts are
read in the order of their names, which for dates is that of time. Names that begin with ``_`` or
``.`` are no parts: other tools keep their notes there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def is_dataset(path: Path) -> bool:
    """Whether a log is a folder of Parquet parts."""
    return path.name.endswith(".parquet") and path.is_dir()


def parts_of(path: Path) -> list[Path]:
    """The files of a log: its parts in the order they are read, or the one file it is."""
    if not is_dataset(path):
        return [path]
    parts = [
        part
        for part in path.rglob("*.parquet")
        if not any(name[0] in "_." for name in part.relative_to(path).parts) and part.is_file()
    ]
    return sorted(parts, key=lambda part: part.relative_to(path).parts)


def size_of(path: Path) -> int:
    """Bytes that a log has or would have as plain CSV, roughly. Raises OSError."""
    packed = 8 if path.name.endswith((".parquet", ".gz")) else 1
    return packed * sum(part.stat().st_size for part in parts_of(path))


def digest_of_parts(folder: Path, digests: Mapping[Path, str]) -> str:
    """SHA-256 of the parts' own, with their names; the parts in the order they are read."""
    text = "".join(
        f"{part.relative_to(folder).as_posix()} {digest}\n" for part, digest in digests.items()
    )
    return hashlib.sha256(text.encode()).hexdigest()
