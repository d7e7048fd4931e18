"""A temporary folder that does not outlive its process for long, however that ends."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mm.pipeline.state import take_lock

#: Held open and locked by the owner; the lock goes with the process.
_HELD = ".held"
#: Names on which nobody looks for a folder that was left.
_NOT_YET = ".new-"


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder for this process alone; those that killed ones left under this prefix go first."""
    if sys.platform.startswith("win"):  # there no lock tells the living
        with tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield Path(name)
        return
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{_NOT_YET}{prefix}"))
    try:
        with (folder / _HELD).open("xb") as held:
            take_lock(held.fileno())
            # Only now: another run would take a folder without a lock for one that was left.
            folder = folder.rename(folder.with_name(folder.name.removeprefix(_NOT_YET)))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / _HELD).open("r+b") as held:
        if take_lock(held.fileno()):
            shutil.rmtree(folder)
