"""Who holds a results folder, and temporary folders: both by locks that go with their process."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mm.core.errors import CalibrationError
from mm.core.locks import take

#: What a results folder remembers lies there, hidden beside the symbols' folders.
STATE = ".state"
#: In a temporary folder; held open and locked by the owner.
_HELD = ".held"
#: Names on which nobody looks for a folder that was left.
_NOT_YET = ".new-"


@contextlib.contextmanager
def out_lock(out_dir: Path) -> Iterator[None]:
    """Make the folder and hold it. The lock goes with the process, however that ends.

    Raises CalibrationError if the folder can't be made or written, or another batch holds it.
    """
    for folder in (out_dir / STATE, out_dir / STATE / "records"):
        if folder.is_symlink():
            raise CalibrationError(f"{folder}: is a link, which would be followed; take it away")
    try:
        (out_dir / STATE).mkdir(parents=True, exist_ok=True)
        file = (out_dir / STATE / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CalibrationError(
            f"{out_dir}: can't write results there ({error.strerror}); name a folder with --out-dir"
        ) from None
    with file:
        if not take(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CalibrationError(
                f"{out_dir}: another batch (process {holder}) writes there; wait for it, or name "
                "another folder with --out-dir"
            )
        # For whom finds the folder held; a full disk must not keep a batch from what it can do.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder for this process alone; those that killed ones left under this prefix go first."""
    if sys.platform.startswith("win"):  # an open file keeps its folder there
        with tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield Path(name)
        return
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{_NOT_YET}{prefix}"))
    try:
        with (folder / _HELD).open("xb") as held:
            take(held.fileno())
            # Only now: another batch would take a folder without a lock for one that was left.
            folder = folder.rename(folder.with_name(folder.name.removeprefix(_NOT_YET)))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / _HELD).open("r+b") as held:
        if take(held.fileno()):
            shutil.rmtree(folder)
