"""A log in parts: a folder ``orders_<SYMBOL>.parquet`` of Parquet files, one a day or as they come.

The usual layout is Hive's, ``orders_BTCUSDT.parquet/date=2026-11-01/part-0.parquet``. Parts are
read in the order of their names, which for dates is that of time. Names that begin with ``_`` or
``.`` are no parts: other tools keep their notes there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mm.core.storage import Place, Remote


def is_dataset(path: Place) -> bool:
    """Whether a log is a folder of Parquet parts."""
    return path.name.endswith(".parquet") and path.is_dir()


def parts_of(path: Path) -> list[Path]:
    """The files of a log: its parts in the order they are read, or the one file it is."""
    if not is_dataset(path):
        return [path]
    found = {part.relative_to(path).parts: part for part in path.rglob("*.parquet")}
    return [found[names] for names in sorted(found) if _is_part(names) and found[names].is_file()]


def remote_parts(folder: Remote) -> dict[str, Remote]:
    """The parts of a log at a URL by their path below it, in the order they are read."""
    start = len(folder.url) + 1
    found = {tuple(part.url[start:].split("/")): part for part in folder.walk()}
    return {"/".join(names): found[names] for names in sorted(found) if _is_part(names)}


def _is_part(names: Sequence[str]) -> bool:
    return names[-1].endswith(".parquet") and not any(name[:1] in ("_", ".") for name in names)


def size_of(path: Path) -> int:
    """Bytes that a log has or would have as plain CSV, roughly. Raises OSError."""
    packed = 8 if path.name.endswith((".parquet", ".gz")) else 1
    return packed * sum(part.stat().st_size for part in parts_of(path))


def digest_of_parts(folder: Path, digests: Mapping[Path, str]) -> str:
    """SHA-256 of the parts' own, with their names; the parts in the order they are read."""
    return digest_of_marks({p.relative_to(folder).as_posix(): d for p, d in digests.items()})


def digest_of_marks(marks: Mapping[str, str]) -> str:
    """SHA-256 of what tells each part from another, with its path in the folder."""
    text = "".join(f"{name} {mark}\n" for name, mark in marks.items())
    return hashlib.sha256(text.encode()).hexdigest()
