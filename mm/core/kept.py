"""Products that are kept: what follows from a thing alone is made once, and read from then on.

A product is whatever a function makes of a thing and of plain arguments. It is known by the digest
of the thing, the function, the arguments, and the digest of the code: where any of these differs it
is another product. One file each, written whole or not at all; a file that is damaged or of another
format counts as not there. All may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from mm.core.code import tree_digest
from mm.core.packed import decoded, encoded

T = TypeVar("T")
#: What numbers follow from, beside the things themselves.
_ROOMS = ("core", "logs", "exposure", "fitting", "diagnostics", "quotes")
_PACKAGES = ("numpy", "pandas", "pyarrow", "scipy")


@dataclass(frozen=True)
class Shelf:
    """The products of one thing in a folder of many; ``thing``: digest of its content."""

    folder: Path
    thing: str

    def of(self, make: Callable[..., T], arguments: tuple[Any, ...], now: Callable[[], T]) -> T:
        """The product of a function, from the folder if it is there, else made now and kept.

        ``arguments`` must show all that they are by ``repr``.
        """
        found = self.get(make, arguments)
        if found is None:
            found = now()
            self.put(make, arguments, found)
        return found

    def get(self, make: Callable[..., T], arguments: tuple[Any, ...] = ()) -> T | None:
        """The product, None where it is not kept."""
        path = self._path(make, arguments)
        try:
            content = path.read_bytes()
            made: T = decoded(content)
            os.utime(path)  # the one that nobody asked for the longest goes first
        except (OSError, ValueError):
            return None
        return made

    def put(self, make: Callable[..., T], arguments: tuple[Any, ...], product: T) -> None:
        """Keep a product; a folder that can't be written keeps none."""
        path = self._path(make, arguments)
        part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(encoded(product))
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Path:
        name = [_code(), self.thing, make.__module__, make.__qualname__, repr(arguments)]
        digest = hashlib.sha256(json.dumps(name).encode()).hexdigest()
        return self.folder / digest


@cache
def _code() -> str:
    versions = [metadata.version(name) for name in _PACKAGES]
    return tree_digest(_ROOMS, json.dumps(versions).encode())
