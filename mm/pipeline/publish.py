"""A symbol's folder appears whole or not at all: staged, synced, exchanged in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mm.core.storage import file_digest

_STAGING, _OLD = ".staging-", ".replaced-"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def staging(parent: Path, symbol: str) -> Iterator[Path]:
    """A folder to make a symbol's results in, with the rights that the user's umask leaves, which
    a temporary folder has not; what is left there at the end goes."""
    stage = parent / f"{_STAGING}{symbol}-{secrets.token_hex(4)}"
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def settle(stage: Path) -> dict[str, str]:
    """Sync every file of a staged folder to disk; returns their SHA-256 by name."""
    digests = {}
    for path in sorted(p for p in stage.iterdir() if p.is_file()):
        with path.open("rb+") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    return digests


def publish(stage: Path, target: Path) -> None:
    """Put a staged folder in the place of the old one.

    On Linux the two are exchanged by one system call, so that no instant shows neither; elsewhere
    there is one between two renames, which :func:`recover` mends.
    """
    _sync(stage)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        target.unlink()
    if not target.exists():
        stage.rename(target)
    elif _exchange(stage, target):
        shutil.rmtree(stage)
    else:
        old = target.with_name(f"{_OLD}{target.name}")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        stage.rename(target)
        shutil.rmtree(old)
    _sync(target.parent)


def recover(out_dir: Path) -> None:
    """Clear away what a killed batch left: half-made folders, and old ones not yet put back."""
    for path in out_dir.iterdir():
        if path.name.startswith(_OLD):
            target = path.with_name(path.name.removeprefix(_OLD))
            if target.exists():
                shutil.rmtree(path)
            else:
                path.rename(target)
        elif path.name.startswith(_STAGING):
            shutil.rmtree(path)
        elif path.name.startswith(".") and path.name.endswith(".part"):
            path.unlink()
    for part in out_dir.glob("history/.*.part"):
        part.unlink()


def whole(folder: Path, outputs: Mapping[str, str]) -> bool:
    """Whether every output is there as it was written."""
    for name, digest in outputs.items():
        try:
            if file_digest(folder / name) != digest:
                return False
        except OSError:
            return False
    return bool(outputs)


def _exchange(one: Path, other: Path) -> bool:
    """renameat2(RENAME_EXCHANGE); False where the system or the filesystem has none."""
    if not sys.platform.startswith("linux"):
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync(folder: Path) -> None:
    """Sync a directory's entries; systems that can't open one do without."""
    if not sys.platform.startswith("win"):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
