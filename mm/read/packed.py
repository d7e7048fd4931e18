"""Columns that grow chunk by chunk and take no more memory than their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mm.arrays import Ints, Mask
from mm.order_ids import OrderNames
from mm.read.stream import Odd

#: A column of words that holds more different ones than this holds no words.
_MOST_WORDS = 100


class Numbers:
    """Numbers of one type. ``first``: what the others are compared with, for columns of that."""

    def __init__(self, kind: npt.DTypeLike, rows: int) -> None:
        # Memory that is never written to is never taken.
        self._data, self._n = np.empty(rows, dtype=kind), 0
        self.first: float | None = None

    def add(self, values: npt.NDArray[Any]) -> None:
        """The next cells."""
        end = self._n + len(values)
        if end > len(self._data):
            larger = np.empty(max(end, int(1.3 * len(self._data))), dtype=self._data.dtype)
            larger[: self._n] = self._data[: self._n]
            self._data = larger
        self._data[self._n : end] = values
        self._n = end

    def as_first(self, values: npt.NDArray[Any]) -> Mask:
        """Which of the next cells are what the first one of all was."""
        if self.first is None:
            self.first = float(values[0]) if len(values) else None
        return np.asarray(values == self.first, dtype=np.bool_)

    def finish(self) -> npt.NDArray[Any]:
        """All cells."""
        return self._data[: self._n]


class Words:
    """Few different words, a byte a cell."""

    def __init__(self, rows: int) -> None:
        self._codes, self._words = Numbers(np.int8, rows), dict[str, int]()

    def add(self, column: pa.ChunkedArray) -> None:
        """The next cells; nothing is the empty word. Raises Odd for too many words."""
        for chunk in column.chunks:
            words = [word or "" for word in chunk.dictionary.to_pylist()]
            if len(words) > _MOST_WORDS or len(self._words) > _MOST_WORDS:
                raise Odd("too many different words")
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


class Ids:
    """Order ids of several files over one list of names."""

    def __init__(self) -> None:
        self._codes: Numbers | None = None
        self._parts: list[tuple[Numbers, int, int]] = []
        self._dictionaries: list[pa.Array] = []
        self._files: list[Ints] = []
        self._offset = 0
        self.empty = -1

    def add(self, column: pa.ChunkedArray, rows: int) -> None:
        """The next cells of the file that is being read. Raises Odd for a cell without any id."""
        if self._codes is None:
            self._codes = Numbers(np.int32, rows)
        for chunk in column.chunks:
            if chunk.null_count:
                raise Odd("a row without an id")
            self._dictionaries.append(chunk.dictionary.cast(pa.string()))
            self._codes.add(chunk.indices.to_numpy() + np.int32(self._offset))
            self._offset += len(chunk.dictionary)

    def cut(self) -> Ints:
        """The file's cells; valid once all files are read and :meth:`finish` was called."""
        assert self._codes is not None
        codes, self._codes = self._codes.finish(), None
        self._files.append(codes)
        return codes

    def finish(self) -> OrderNames:
        """Number equal ids of all chunks alike, in place; the names, in order of appearance.

        Raises Odd for ids with blanks around them.
        """
        together = pa.concat_arrays(self._dictionaries).dictionary_encode()
        self._dictionaries.clear()
        number = together.indices.to_numpy()
        for codes in self._files:
            np.take(number, codes, out=codes)
        self._check(together.dictionary)
        return OrderNames(together.dictionary)

    def _check(self, names: pa.Array) -> None:
        _, offsets, data = names.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[names.offset : names.offset + len(names) + 1]
        text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
        length = np.diff(ends)
        nothing = np.flatnonzero(length == 0)
        self.empty = int(nothing[0]) if len(nothing) else -1
        some = length > 0
        first, last = text[ends[:-1][some]], text[ends[1:][some] - 1]
        if (first <= 32).any() or (last <= 32).any() or (first >= 127).any() or (last >= 127).any():
            raise Odd("ids with blanks around them")

    def empty_rows(self, column: pd.Series[Any]) -> Mask:
        """Which cells hold no id."""
        if self.empty < 0:
            return np.zeros(len(column), dtype=np.bool_)
        return np.asarray(column.to_numpy() == self.empty, dtype=np.bool_)
