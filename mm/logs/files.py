"""Which symbols a data folder holds, and which files are theirs. Reads names only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mm.core.errors import InputError
from mm.core.storage import Place

Kind = Literal["orders", "fills", "state"]
KINDS: tuple[Kind, ...] = ("orders", "fills", "state")
#: In order of preference where two stand side by side.
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_FILE = re.compile(r"(orders|fills|state)_(.+?)(\.csv|\.csv\.gz|\.parquet)")


@dataclass(frozen=True)
class RunFiles:
    """The files of one symbol in one run folder; a missing kind is absent from ``paths``."""

    folder: Place
    paths: Mapping[Kind, Place]
    warnings: tuple[str, ...] = ()


def find_symbols(data_dir: Place) -> dict[str, list[RunFiles]]:
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


def _runs_of(folder: Place) -> dict[str, RunFiles]:
    seen: dict[str, dict[Kind, list[Place]]] = {}
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


def _suffix(path: Place) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return match[3]


def _entries(folder: Place) -> list[Place]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise InputError(
            f"the folder can't be read ({error.strerror})",
            where=str(folder),
            remedy="look at its rights, or move it away",
        ) from None
