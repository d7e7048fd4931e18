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


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder for this process alone; those that killed ones left under this prefix go first."""
    if not sys.platform.startswith("win"):  # there no lock tells the living
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _remove_if_left(folder)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with (folder / _HELD).open("xb") as held:
            take_lock(held.fileno())
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / _HELD).open("r+b") as held:
        if take_lock(held.fileno()):
            shutil.rmtree(folder)
