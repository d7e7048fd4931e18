"""Results as bytes and back; reading runs nothing: a digest, a head in JSON, arrays behind it.

Holds None, numbers, text, tuples, lists, dicts, arrays, and dataclasses of this package that hold
such.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pandas.api.extensions import ExtensionArray

_MAGIC = b"mm-kept-1\n"
_ALIGNED = 64


def encoded(product: object) -> bytes:
    """A result as bytes. Raises TypeError for what holds anything else."""
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
