"""Which symbols a data folder holds, and which files are theirs; files at URLs are copied here.

A log may lie in parts: a folder ``orders_<SYMBOL>.parquet`` of Parquet files, one a day or as they
come. The usual layout is Hive's, ``orders_BTCUSDT.parquet/date=2026-11-01/part-0.parquet``. Parts
are read in the order of their names, which for dates is that of time. Names that begin with ``_``
or ``.`` are no parts: other tools keep their notes there.
"""

from __future__ import annotations

import atexit
import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from mm.core.errors import InputError
from mm.core.storage import AnyPath, Remote

_File = TypeVar("_File", Path, Remote)
Kind = Literal["orders", "fills", "state"]
KINDS: tuple[Kind, ...] = ("orders", "fills", "state")
#: In order of preference where two stand side by side.
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_FILE = re.compile(r"(orders|fills|state)_(.+?)(\.csv|\.csv\.gz|\.parquet)")


@dataclass(frozen=True)
class RunFiles:
    """The files of one symbol in one run folder; a missing kind is absent from ``paths``."""

    folder: AnyPath
    paths: Mapping[Kind, AnyPath]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalRun:
    """The files of one run on this machine, under the names they have where they come from."""

    folder: Path
    paths: Mapping[Kind, Path]


def find_symbols(data_dir: AnyPath) -> dict[str, list[RunFiles]]:
    """Every symbol in a data folder with its runs, by name.

    A symbol exists if any of its three files does. Files directly in the folder are one run;
    else each subfolder that holds some is a run. Raises InputError if there is no such folder, or
    one that can't be read.
    """
    if not data_dir.is_dir():
        raise InputError(
            "no such folder", where=str(data_dir), remedy="give the folder of the backtest"
        )
    top = _runs_of(data_dir)
    below: dict[str, list[RunFiles]] = {}
    for folder in (p for p in _entries(data_dir) if p.is_dir() and p.name[0] != "."):
        for symbol, files in _runs_of(folder).items():
            below.setdefault(symbol, []).append(files)
    found = dict(below)
    for symbol, files in top.items():
        ignored = [run.folder.name for run in below.get(symbol, [])]
        notes = files.warnings
        if ignored:
            notes += (
                f"{symbol}: files in {data_dir.name} are used; those in "
                f"{', '.join(ignored)} are not",
            )
        found[symbol] = [RunFiles(files.folder, files.paths, notes)]
    return dict(sorted(found.items()))


def _runs_of(folder: AnyPath) -> dict[str, RunFiles]:
    seen: dict[str, dict[Kind, list[AnyPath]]] = {}
    for path in _entries(folder):
        match = _FILE.fullmatch(path.name)
        if match:
            kind = next(k for k in KINDS if k == match[1])
            seen.setdefault(match[2], {}).setdefault(kind, []).append(path)
    runs = {}
    for symbol, kinds in seen.items():
        paths, warnings = {}, []
        for kind, candidates in kinds.items():
            ranked = sorted(candidates, key=lambda p: SUFFIXES.index(_suffix(p)))
            paths[kind] = ranked[0]
            if len(ranked) > 1:
                others = ", ".join(p.name for p in ranked[1:])
                warnings.append(f"{ranked[0].name} is read; {others} beside it is not")
        runs[symbol] = RunFiles(folder, paths, tuple(warnings))
    return runs


def _suffix(path: AnyPath) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return match[3]


def _entries(folder: AnyPath) -> list[AnyPath]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise InputError(
            f"the folder can't be read ({error.strerror})",
            where=str(folder),
            remedy="look at its rights, or move it away",
        ) from None


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
    return LocalRun(copies or Path(str(files.folder)), paths)


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
