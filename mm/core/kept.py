"""Products that are kept: what follows from a thing alone is made once, and read from then on.

A product is whatever a function makes of a thing and of plain arguments. It is known by the digest
of the thing, the function, the arguments, and the digest of the code: where any of these differs it
is another product. One file each, written whole or not at all; a file that is damaged or of another
format counts as not there. All may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pandas.api.extensions import ExtensionArray

from mm.core.code import tree_digest

T = TypeVar("T")
_SUFFIX = ".kept"
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
        return self.folder / f"{digest}{_SUFFIX}"


@cache
def _code() -> str:
    versions = [metadata.version(name) for name in _PACKAGES]
    return tree_digest(_ROOMS, json.dumps(versions).encode())


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


# --- one file: a digest, a head in JSON, and arrays behind it ------------------------------------

_MAGIC = b"mm-kept-1\n"
_ALIGNED = 64


def encoded(product: object) -> bytes:
    """A product as bytes: None, numbers, text, tuples, lists, dicts, arrays, and dataclasses of mm
    that hold such. Raises TypeError for anything else."""
    arrays: list[npt.NDArray[Any]] = []
    head = json.dumps(_plain(product, arrays)).encode()
    body = [len(head).to_bytes(8, "little"), head]
    size = 8 + len(head)
    for array in arrays:
        body += [bytes(-size % _ALIGNED), array.tobytes()]
        size += -size % _ALIGNED + array.nbytes
    content = b"".join(body)
    return b"".join([_MAGIC, hashlib.sha256(content).digest(), content])


def _plain(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype != object:
        small = _narrow(value)
        arrays.append(small)
        return {"array": [value.dtype.str, small.dtype.str, list(value.shape)]}
    if isinstance(value, np.ndarray):
        return {"words": [str(word) for word in value]}
    if isinstance(value, ExtensionArray):  # of pandas; comes back as numpy's
        return _plain(np.asarray(value), arrays)
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        kept = [field.name for field in fields(value) if field.init]
        held = {name: _plain(getattr(value, name), arrays) for name in kept}
        return {"class": [type(value).__module__, type(value).__qualname__, held]}
    raise TypeError(f"{type(value).__name__} is not kept")


def _narrow(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whole numbers in as few bytes as hold them all."""
    if values.dtype != np.int64 or not values.size:
        return values
    ends = np.array([values.min(), values.max()])
    kinds = (kind for kind in (np.int8, np.int16, np.int32) if (ends.astype(kind) == ends).all())
    return values.astype(next(kinds, np.int64), copy=False)


def decoded(content: bytes) -> Any:
    """The product; its arrays can't be written to. Raises ValueError for what is none, whole."""
    start = len(_MAGIC) + 32
    body = memoryview(content)[start:]
    stamp = _MAGIC + hashlib.sha256(body).digest()
    if content[:start] != stamp:
        raise ValueError("not a product that was kept, or damaged")
    at = 8 + int.from_bytes(body[:8], "little")
    return _made(json.loads(bytes(body[8:at])), _Arrays(body, at))


@dataclass
class _Arrays:
    """The arrays behind the head, in turn."""

    body: memoryview
    at: int

    def next(self, kind: str, kept_as: str, shape: list[int]) -> npt.NDArray[Any]:
        count = int(np.prod(shape, dtype=np.int64))
        self.at += -self.at % _ALIGNED
        values: npt.NDArray[Any] = np.frombuffer(self.body, kept_as, count, self.at)
        self.at += values.nbytes
        return values.astype(kind, copy=False).reshape(shape)


def _made(plain: Any, arrays: _Arrays) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((what, value),) = plain.items()
    if what == "array":
        return arrays.next(*value)
    if what == "words":
        return np.array(value, dtype=object)
    if what in ("tuple", "list"):
        items = [_made(item, arrays) for item in value]
        return tuple(items) if what == "tuple" else items
    if what == "dict":
        return {_made(k, arrays): _made(v, arrays) for k, v in value}
    module, name, held = value
    kind: Any = getattr(importlib.import_module(module), name) if module[:3] == "mm." else None
    if not is_dataclass(kind):
        raise ValueError(f"{module}.{name} is no dataclass of mm")
    made: Any = kind  # mypy takes it for an instance
    return made(**{name: _made(item, arrays) for name, item in held.items()})
