"""The files of a run; those at URLs are copied here.

A log may lie in parts: a folder ``orders_<SYMBOL>.parquet`` of Parquet files, one a day or as they
come. The usual layout is Hive's, ``orders_BTCUSDT.parquet/date=2026-11-01/part-0.parquet``. Parts
are read in the order of their names, which for dates is that of time. Names that begin with ``_``
or ``.`` are no parts: other tools keep their notes there.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from mm.core.errors import InputError
from mm.core.storage import AnyPath, Remote, file_digest

_File = TypeVar("_File", Path, Remote)
Kind = Literal["orders", "fills", "state", "trades", "quotes"]
KINDS: tuple[Kind, ...] = ("orders", "fills", "state")
#: Where there are no orders, prints and best quotes (or mids) make virtual ones.
TAPE_KINDS: tuple[Kind, ...] = ("trades", "quotes")
#: In order of preference where two stand side by side.
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".zip", ".csv.zip", ".npz")


@dataclass(frozen=True)
class RunFiles:
    """The files of one symbol's run; a missing kind is absent from ``paths``. ``below``: the path
    of its folder below the data folder, empty for that itself; ``day``: that its files are named
    by; ``ignored``: folders below its own with files that are not used."""

    folder: AnyPath
    paths: Mapping[Kind, AnyPath]
    below: str = ""
    day: str = ""
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from the other runs of its symbol."""
        return "/".join(filter(None, (self.below, self.day))) or self.folder.name

    @property
    def is_tape(self) -> bool:
        """Whether it holds prints, for virtual orders, and no orders."""
        return "trades" in self.paths

    def label(self, path: AnyPath) -> str:
        """A file's path below the data folder."""
        return f"{self.below}/{path.name}" if self.below else path.name


@dataclass(frozen=True)
class LocalRun:
    """The files of one run on this machine, under the names they have where they come from."""

    run: RunFiles
    folder: Path
    paths: Mapping[Kind, Path]


def is_dataset(path: AnyPath) -> bool:
    """Whether a log is a folder of Parquet parts."""
    return path.name.endswith(".parquet") and path.is_dir()


def parts_of(path: Path) -> list[Path]:
    """The files of a log: its parts in the order they are read, or the one file it is."""
    if not is_dataset(path):
        return [path]
    files = (part for part in path.rglob("*.parquet") if part.is_file())
    return list(_in_order({part.relative_to(path).as_posix(): part for part in files}).values())


def _in_order(files: Mapping[str, _File]) -> dict[str, _File]:
    """The parts among the files below a folder, in the order they are read."""
    names = sorted(tuple(name.split("/")) for name in files if name.endswith(".parquet"))
    return {
        "/".join(parts): files["/".join(parts)]
        for parts in names
        if not any(name[:1] in ("_", ".") for name in parts)
    }


def size_of(path: Path) -> int:
    """Bytes that a log has or would have as plain CSV, roughly. Raises OSError."""
    packed = 8 if path.name.endswith((".parquet", ".gz")) else 1
    return packed * sum(part.stat().st_size for part in parts_of(path))


def mark_of(path: Remote) -> str:
    """What changes with the content of a log at a URL; nothing is read for it."""
    if not is_dataset(path):
        return path.mark
    return _digest({name: part.mark for name, part in _in_order(path.walk()).items()})


def digest_of(path: Path) -> str:
    """SHA-256 of a log on this machine, as its reader tells it. Raises OSError."""
    if is_dataset(path):
        return digest_of_parts(path, {part: file_digest(part) for part in parts_of(path)})
    return file_digest(path)


def digest_of_parts(folder: Path, digests: Mapping[Path, str]) -> str:
    """SHA-256 of the parts' own, with their names; the parts in the order they are read."""
    return _digest({p.relative_to(folder).as_posix(): d for p, d in digests.items()})


def _digest(marks: Mapping[str, str]) -> str:
    text = "".join(f"{name} {mark}\n" for name, mark in marks.items())
    return hashlib.sha256(text.encode()).hexdigest()


def fetched(files: RunFiles) -> LocalRun:
    """The run's files, copied here if they lie elsewhere; the copies live as long as this process.

    Raises InputError for a file that vanished, StoreError for one that can't be read.
    """
    copies = None
    paths: dict[Kind, Path] = {}
    for kind, path in files.paths.items():
        if isinstance(path, Remote):
            copies = copies or Path(tempfile.mkdtemp(dir=_copies())) / files.folder.name
            try:
                paths[kind] = _fetch(path, copies / path.name)
            except FileNotFoundError:
                raise InputError("the file vanished", where=str(path), remedy="run again") from None
        else:
            paths[kind] = path
    return LocalRun(files, copies or Path(str(files.folder)), paths)


def _fetch(path: Remote, target: Path) -> Path:
    """Copy a log here, in parts if it lies there in parts."""
    if not is_dataset(path):
        return path.fetch(target)
    target.mkdir(parents=True)
    for name, part in _in_order(path.walk()).items():
        part.fetch(target / name)
    return target


@cache
def _copies() -> str:
    """A temporary folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="mm-logs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
