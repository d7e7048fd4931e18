"""What the results folder remembers between runs: a record a symbol, and who holds the folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from mm.core.errors import CalibrationError, OutputError
from mm.results.record import Record, write_text

#: Hidden, beside the symbols' folders.
STATE = ".state"


def write_record(out_dir: Path, symbol: str, record: Record) -> None:
    """Remember how a symbol ended; its outputs are already in place."""
    folder = out_dir / STATE / "records"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.of(error, folder) from None
    write_text(folder / f"{symbol}.json", record.model_dump_json(indent=2) + "\n")


def read_record(out_dir: Path, symbol: str) -> Record | None:
    """A symbol's last record; None if it is missing or of another make."""
    try:
        path = out_dir / STATE / "records" / f"{symbol}.json"
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def known_symbols(out_dir: Path) -> list[str]:
    """Symbols with a record."""
    return sorted(path.stem for path in (out_dir / STATE / "records").glob("[!.]*.json"))


@contextlib.contextmanager
def out_lock(out_dir: Path) -> Iterator[None]:
    """Make the folder and hold it. The lock goes with the process, however that ends.

    Raises CalibrationError if the folder can't be made or written, or another run holds it.
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
        if not take_lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CalibrationError(
                f"{out_dir}: another run (process {holder}) writes there; wait for it, or name "
                "another folder with --out-dir"
            )
        # Told to whom finds the folder held; a full disk must not keep a run from what it can do.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


def take_lock(descriptor: int) -> bool:
    """Lock an open file for this process's life; False if another has it. On Windows nobody has."""
    if sys.platform.startswith("win"):
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
