"""The folder of what follows from each run alone (``mm.core.kept``), of a size that is bounded."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: In the results folder. It may be taken away at any time: the next batch makes it anew.
CACHE = ".cache"


@dataclass(frozen=True)
class Cached:
    """What the folder holds at the end of a batch, and how many files the batch ``read`` there
    (hits) and ``made`` (misses)."""

    bytes: int
    files: int
    read: int
    made: int

    @classmethod
    def since(cls, before: Mapping[str, float], folder: Path, most_bytes: int) -> Cached:
        """Trim the folder; ``before``: its census at the begin of the batch."""
        now = census(folder)
        read = sum(now.get(name, when) > when for name, when in before.items())
        size = trim(folder, most_bytes)
        return cls(size, len(census(folder)), read, len(now.keys() - before.keys()))


def census(folder: Path) -> dict[str, float]:
    """When each product was last asked for, by its file's name."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another batch may be at it
            if path.suffix != ".part":
                found[path.name] = path.stat().st_mtime
    return found


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
