"""Columns that grow chunk by chunk and take no more memory than their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mm.core.arrays import Floats
from mm.logs.bookkeeping import Changes, changed
from mm.logs.columnar.stream import NeedsRowReader

#: A column of words that holds more different ones than this holds no words.
_MOST_WORDS = 100


class Numbers:
    """Numbers of one type. ``size``: how many there are."""

    def __init__(self, kind: npt.DTypeLike, rows: int) -> None:
        self._data, self.size = _room(rows, np.dtype(kind)), 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """The next cells."""
        end = self.size + len(values)
        if end > len(self._data):
            larger = _room(max(end, int(1.3 * len(self._data))), self._data.dtype)
            larger[: self.size] = self._data[: self.size]
            self._data = larger
        self._data[self.size : end] = values
        self.size = end

    def clear(self) -> None:
        """Forget all cells."""
        self._data, self.size = self._data[:0].copy(), 0

    def finish(self) -> npt.NDArray[Any]:
        """All cells."""
        return self._data[: self.size]


def _room(rows: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Memory for so many cells, none of it taken before it is written to.

    From Arrow: numpy asks for huge pages, for which a busy system may first have to make room.
    """
    room = pa.allocate_buffer(max(rows, 1) * kind.itemsize, pa.system_memory_pool())
    return np.frombuffer(room, dtype=kind)[:rows]


class Words:
    """Few different words, a byte a cell."""

    def __init__(self, rows: int) -> None:
        self._codes, self._words = Numbers(np.int8, rows), dict[str, int]()

    def add(self, column: pa.ChunkedArray) -> None:
        """The next cells; nothing is the empty word. Raises NeedsRowReader for too many words."""
        for chunk in column.chunks:
            words = [word or "" for word in chunk.dictionary.to_pylist()]
            if len(words) > _MOST_WORDS or len(self._words) > _MOST_WORDS:
                raise NeedsRowReader("too many different words")
            number = [self._words.setdefault(word, len(self._words)) for word in words]
            indices = chunk.indices
            if indices.null_count:
                number.append(self._words.setdefault("", len(self._words)))
                indices = indices.fill_null(len(words))
            table = np.array(number, dtype=np.int8)
            self._codes.add(table[indices.to_numpy()])

    def finish(self) -> pd.Categorical:
        """All cells."""
        kind = pd.CategoricalDtype(pd.Index(list(self._words), dtype="str"))
        return pd.Categorical.from_codes(self._codes.finish(), dtype=kind)


class Repeating:
    """A column of which only the rows that change it are kept, see ``mm.logs.bookkeeping``."""

    def __init__(self, rows: int) -> None:
        self._rows, self._values = Numbers(np.int32, rows), Numbers(np.float64, rows)
        self._last: float | None = None
        self._n = 0

    def add(self, values: Floats) -> None:
        """The next cells."""
        if not len(values):
            return
        row = changed(values, self._last)
        self._rows.add(row + self._n)
        self._values.add(values[row])
        self._last = float(values[-1])
        self._n += len(values)

    def finish(self) -> Changes:
        """All cells."""
        return Changes(self._rows.finish(), self._values.finish(), self._n)
