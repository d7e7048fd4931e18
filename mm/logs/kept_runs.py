"""Runs that were read before: known by the content of their files, read again only if a table of
theirs is asked for.

What was found in reading a run is one of its products (``mm.core.kept``), as is all that later
steps make of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mm.core.errors import InputError
from mm.core.kept import Shelf
from mm.core.storage import Remote
from mm.logs.files import KINDS, Kind, RunFiles, digest_of, mark_of, parts_of
from mm.logs.log import RunLog

#: What takes the memory, and the time to read.
_TABLES = ("orders", "fills", "state", "ledger", "order_names", "written")
#: A file that was written to later than this, ns, may be written to again within one tick of the
#: file system's clock: its digest is not kept.
_SETTLED_NS = 2_000_000_000


class _Unread(RunLog):
    """A run of which all is known but the tables."""

    _read: Callable[[], RunLog]

    def __getattr__(self, name: str) -> Any:
        """A table: the files are read when the first one is asked for."""
        if name not in _TABLES:
            raise AttributeError(name)
        run = self._read()
        if dict(run.inputs_sha256) != dict(self.inputs_sha256):
            raise InputError("changed while it was used", where=self.name, remedy="run again")
        for table in _TABLES:
            object.__setattr__(self, table, getattr(run, table))
        return getattr(run, name)


def read_or_kept(
    files: RunFiles, labels: Mapping[Kind, str], read: Callable[[], RunLog], folder: Path | None
) -> RunLog:
    """The run of these files, as it was read before if its products are in ``folder``."""
    if folder is None:
        return read()
    digests = {labels[kind]: _content(files, kind, folder) for kind in KINDS}
    shelf = Shelf(folder, repr(digests))
    named = (files.name, tuple(labels.items()))
    known = shelf.get(_found, named)
    if known is not None:
        run: RunLog = _Unread.__new__(_Unread)
        whole = {"shelf": shelf, "_products": {}, "_read": read, **known}
        for name, value in whole.items():
            object.__setattr__(run, name, value)
        return run
    run = read()
    here = not any(isinstance(path, Remote) for path in files.paths.values())
    if not here or run.inputs_sha256 == digests:  # else a file has changed in between
        shelf.put(_found, named, _found(run))
        object.__setattr__(run, "shelf", shelf)
    return run


def _found(run: RunLog) -> dict[str, Any]:
    """All that is known of a run beside its tables."""
    names = [field.name for field in fields(run) if field.init]
    return {name: getattr(run, name) for name in names if name not in _TABLES}


def _content(files: RunFiles, kind: Kind, folder: Path) -> str:
    """What tells a file's content: its digest, counted once for a size and times of the file; at a
    URL what the store says of it."""
    path = files.paths[kind]
    if isinstance(path, Remote):
        return mark_of(path)
    found = [part.stat() for part in parts_of(path)]
    marks = [(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in found]
    changed = max(max(mark[1], mark[2]) for mark in marks)
    if time.time_ns() - changed < _SETTLED_NS:
        return digest_of(path)
    known = Shelf(folder, repr((str(path.resolve()), marks)))
    return known.of(digest_of, (), lambda: digest_of(path))
