"""Which code is at work: digests of parts of this package."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import mm


def tree_digest(names: Sequence[str], first: bytes = b"") -> str:
    """SHA-256 of files and of folders with all they hold, named below the package, behind
    ``first``."""
    digest = hashlib.sha256(first)
    package = Path(str(mm.__file__)).parent
    for top in (package / name for name in names):
        for path in (top, *sorted(top.rglob("*"))):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.relative_to(package).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
