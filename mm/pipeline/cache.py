"""The folder of what follows from each run alone (``mm.core.kept``), of a size that is bounded."""

from __future__ import annotations

import contextlib
from pathlib import Path

#: In the results folder. It may be taken away at any time: the next batch makes it anew.
CACHE = ".cache"


def trim(folder: Path, most_bytes: int) -> int:
    """Take products away, those first that were not asked for the longest, until the folder holds
    no more than ``most_bytes``; what it holds then. What a killed process left goes too."""
    held: list[tuple[float, int, Path]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another batch may be at it
            found = path.stat()
            held.append((0.0 if path.suffix == ".part" else found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in held)
    for when, size, path in sorted(held):
        if total <= most_bytes and when:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
    return total
