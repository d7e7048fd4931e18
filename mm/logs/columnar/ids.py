"""Order ids of a long log as numbers: each text is looked at once a batch, as whole words.

A batch comes with the list of its different ids. Of each the bytes are kept, and a 64-bit mix of
them; once both files are read the mixes are sorted, and those that are equal are compared byte by
byte. So ids are distinguished as surely as by comparing text, at the cost of sorting whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mm.core.arrays import Ints, Mask
from mm.logs.columnar.packed import Numbers
from mm.logs.columnar.stream import NeedsRowReader
from mm.logs.order_ids import OrderNames

_Words = npt.NDArray[np.uint64]

#: Ids, and cells, that are looked at at a time.
_SLICE = 1 << 15
_WORD, _LONGEST = 8, (1 << 31) - 1
#: What is read of a word of which only so many bytes are the id's.
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(_WORD + 1)], dtype=np.uint64)
#: An odd number without a pattern: 2**64 over the golden ratio.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class FileIds:
    """The ids of one file, batch by batch: ``codes`` of the cells, over a list in which an id
    stands once for every batch it occurs in."""

    def __init__(self, rows: int) -> None:
        self.codes = Numbers(np.int32, rows)
        # Room for an id of 48 letters in every other row, of which no more is taken than is
        # needed; to grow would take it twice.
        self.text, self.length = Numbers(np.uint8, 24 * rows), Numbers(np.int32, rows // 2)
        self.mixed = Numbers(np.uint64, rows // 2)
        # The list of the batch before: those of one Parquet group have one.
        self._held: pa.Array | None = None
        self._first, self._any_empty = 0, False

    def add(self, column: pa.ChunkedArray) -> Mask | None:
        """The next cells. Returns which of them hold no id, None for none of them.

        Raises NeedsRowReader for a null, and for ids with blanks around them.
        """
        empty = [self._add(chunk) for chunk in column.chunks]
        if all(one is None for one in empty):
            return None
        sizes = [len(chunk) for chunk in column.chunks]
        nothing = [
            np.zeros(n, np.bool_) if e is None else e for e, n in zip(empty, sizes, strict=True)
        ]
        return np.concatenate(nothing)

    def _add(self, chunk: pa.DictionaryArray) -> Mask | None:
        if chunk.null_count:
            raise NeedsRowReader("a row without an id")
        names, cells = chunk.dictionary, chunk.indices.to_numpy()
        if self._held is None or not names.equals(self._held):
            self._first = self.length.size
            self._any_empty = self._add_names(names.cast(pa.string()))
            self._held = names
        self.codes.add(cells + np.int32(self._first))
        if not self._any_empty:
            return None
        return np.asarray(self.length.finish()[self._first :][cells] == 0, dtype=np.bool_)

    def _add_names(self, names: pa.StringArray) -> bool:
        """One list of ids; whether one of them is none."""
        _, offsets, data = names.buffers()
        size, any_empty = len(names), False
        ends = np.frombuffer(offsets, dtype=np.int32)[names.offset : names.offset + size + 1]
        whole = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
        for low in range(0, size, _SLICE):
            some = ends[low : low + _SLICE + 1]
            text = whole[some[0] : some[-1]]
            length, start = np.diff(some), (some[:-1] - some[0]).astype(np.int64)
            there = length > 0
            any_empty = any_empty or not there.all()
            borders = text[np.concatenate([start[there], (start + length - 1)[there]])]
            if ((borders <= 32) | (borders >= 127)).any():
                raise NeedsRowReader("ids with blanks around them")
            self.text.add(text)
            self.length.add(length)
            self.mixed.add(_mixed(np.append(text, np.zeros(_WORD, np.uint8)), start, length))
        return any_empty

    def take(self) -> None:
        """Let go of the list: the cells are numbered by another one now."""
        for one in (self.text, self.length, self.mixed):
            one.clear()


def _word(text: npt.NDArray[np.uint8], start: Ints, length: Ints, nth: int) -> _Words:
    """The nth eight bytes of each id, zeros behind its end; ``text`` has eight bytes to spare."""
    overlapping = np.ndarray(len(text) - _WORD + 1, np.dtype("<u8"), text.data, strides=(1,))
    if int(length.min(initial=_LONGEST)) >= _WORD * (nth + 1):
        whole: _Words = overlapping[start + _WORD * nth]
        return whole
    left = np.clip(length - _WORD * nth, 0, _WORD)
    at = np.minimum(start + _WORD * nth, len(overlapping) - 1)
    word: _Words = overlapping[at] & _MASKS[left]
    return word


def _mixed(text: npt.NDArray[np.uint8], start: Ints, length: Ints) -> _Words:
    """A 64-bit number of each id, in which every byte and the length count."""
    out = length.astype(np.uint64)
    for nth in range(-(-int(length.max(initial=0)) // _WORD)):
        # An id's number must not depend on how long the others of its batch are.
        on: slice | Ints = slice(None)
        if int(length.min()) <= _WORD * nth:
            on = np.flatnonzero(length > _WORD * nth)
        mix = (out[on] ^ _word(text, start[on], length[on], nth)) * _FACTOR
        out[on] = mix ^ (mix >> _HALF)
    return out


def numbered(files: Sequence[FileIds]) -> tuple[list[npt.NDArray[np.int32]], OrderNames]:
    """The cells of each file over one list of names, in which each id stands once; the names, in
    order of appearance. The files' own lists are taken.

    Raises NeedsRowReader in the case, never seen, that two ids have one mix.
    """
    length = np.concatenate([one.length.finish() for one in files])
    text = _all_text(files)
    mixed = np.concatenate([one.mixed.finish() for one in files])
    codes = [one.codes.finish() for one in files]
    sizes = [one.length.size for one in files]
    for one in files:
        one.take()
    order = np.argsort(mixed)
    mixed = mixed[order]
    begins = np.flatnonzero(np.append(True, mixed[1:] != mixed[:-1])[: len(mixed)])
    del mixed
    firsts = np.minimum.reduceat(order, begins) if len(begins) else order
    first = np.empty(len(order), dtype=np.int64)
    first[order] = np.repeat(firsts, np.diff(np.append(begins, len(order))))
    del order, begins
    start = np.cumsum(length, dtype=np.int64) - length
    again = np.flatnonzero(first != np.arange(len(first)))
    _check_same(text, start, length, again, first[again])
    is_first = np.ones(len(first), dtype=np.bool_)
    is_first[again] = False
    number = (np.cumsum(is_first, dtype=np.int32) - np.int32(1))[first]
    del first, again
    offset = 0
    for cells, size in zip(codes, sizes, strict=True):
        own = number[offset : offset + size]
        for low in range(0, len(cells), _SLICE):
            cells[low : low + _SLICE] = own[cells[low : low + _SLICE]]
        offset += size
    return codes, OrderNames(_texts(text, length).filter(pa.array(is_first)))


def _all_text(files: Sequence[FileIds]) -> npt.NDArray[np.uint8]:
    """The bytes of all lists and a word of zeros, behind those of the first file: they have room
    there, and a copy would take all of it twice."""
    whole = files[0].text
    for one in files[1:]:
        whole.add(one.text.finish())
        one.text.clear()
    whole.add(np.zeros(_WORD, np.uint8))
    return whole.finish()


def _check_same(
    text: npt.NDArray[np.uint8], start: Ints, length: Ints, one: Ints, other: Ints
) -> None:
    same = length[one] == length[other]
    for nth in range(-(-int(length[one].max(initial=0)) // _WORD)):
        words = (_word(text, start[at], length[at], nth) for at in (one, other))
        same &= np.equal(*words)
    if not same.all():
        raise NeedsRowReader("two ids with one mix")


def _texts(text: npt.NDArray[np.uint8], length: Ints) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    return pa.LargeStringArray.from_buffers(len(length), pa.py_buffer(offsets), pa.py_buffer(text))
