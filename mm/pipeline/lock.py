"""One run at a time in one results folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mm.errors import CalibrationError

_NAME = ".lock"


@contextlib.contextmanager
def out_lock(out_dir: Path) -> Iterator[None]:
    """Make the folder and hold it. The lock goes with the process, however that ends.

    Raises CalibrationError if the folder can't be made or written, or another run holds it.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        file = (out_dir / _NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise CalibrationError(
            f"{out_dir}: can't write results there ({error.strerror}); name a folder with --out-dir"
        ) from None
    with file:
        if not _take(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CalibrationError(
                f"{out_dir}: another run (process {holder}) writes there; wait for it, or name "
                "another folder with --out-dir"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(descriptor: int) -> bool:
    if sys.platform.startswith("win"):
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
