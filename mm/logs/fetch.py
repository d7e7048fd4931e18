"""From where logs lie to this machine: files at URLs are copied here before they are read."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mm.core.errors import InputError
from mm.core.storage import Remote
from mm.logs.files import Kind, RunFiles
from mm.logs.parts import is_dataset, remote_parts


@dataclass(frozen=True)
class LocalRun:
    """The files of one run on this machine, under the names they have where they come from."""

    folder: Path
    paths: Mapping[Kind, Path]


def fetched(files: RunFiles) -> LocalRun:
    """The run's files, copied here if they lie elsewhere; the copies live as long as this process.

    Raises InputError for a file that vanished, StoreError for one that can't be read.
    """
    copies = None
    paths: dict[Kind, Path] = {}
    for kind, path in files.paths.items():
        if isinstance(path, Remote):
            copies = copies or Path(tempfile.mkdtemp(dir=_home())) / files.folder.name
            try:
                paths[kind] = _fetch(path, copies / path.name)
            except FileNotFoundError:
                raise InputError("the file vanished", where=str(path), remedy="run again") from None
        else:
            paths[kind] = path
    folder = copies or Path(str(files.folder))
    return LocalRun(folder, paths)


def _fetch(path: Remote, target: Path) -> Path:
    """Copy a log here, in parts if it lies there in parts."""
    if not is_dataset(path):
        return path.fetch(target)
    target.mkdir(parents=True)
    for name, part in remote_parts(path).items():
        part.fetch(target / name)
    return target


@cache
def _home() -> str:
    """A temporary folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="mm-logs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
