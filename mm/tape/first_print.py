"""The first print at or below a price, for millions of orders at once."""

from __future__ import annotations

import numpy as np

from mm.core.arrays import Ints, slices

_LEAST = np.iinfo(np.int64).min


class FirstPrint:
    """First index i with begin <= i < end and price[i] <= bound.

    Minima over blocks of 1, 2, 4, ... prices, 2n numbers in all. A search doubles its stride while
    the block ahead holds nothing low enough and halves it inside the first one that does: about
    4 log2(i - begin) steps, each taken by all orders together.
    """

    def __init__(self, price: Ints) -> None:
        blocks = [np.append(price, _LEAST)]  # the last one ends every search
        while len(blocks[-1]) > 1:
            below = blocks[-1]
            if len(below) % 2:
                below = np.append(below, _LEAST)
            blocks.append(np.minimum(below[::2], below[1::2]))
        self._n = len(price)
        self._lowest = np.concatenate(blocks)
        sizes = [len(block) for block in blocks]
        self._first = np.concatenate(([0], np.cumsum(sizes)[:-1]))

    def __call__(self, begin: Ints, end: Ints, bound: Ints) -> Ints:
        """Index of that print, -1 where there is none; all arrays of shape (m,)."""
        found = np.empty(len(begin), dtype=np.int64)
        for some in slices(len(begin)):
            found[some] = self._search(begin[some], end[some], bound[some])
        return found

    def _search(self, begin: Ints, end: Ints, bound: Ints) -> Ints:
        at, size = begin.copy(), np.zeros(len(begin), dtype=np.int64)
        going = np.flatnonzero(begin < end)
        while len(going):
            i, k = at[going], size[going]
            empty = self._lowest[self._first[k] + (i >> k)] > bound[going]
            i, k, left = i[empty], k[empty], going[empty]
            i += 1 << k
            at[left] = i
            size[left] = k + ((i >> k) & 1 == 0)
            going = left[i < end[left]]
        inside = np.flatnonzero((at < end) & (size > 0))
        while len(inside):
            k = size[inside] - 1
            i = at[inside]
            i += (self._lowest[self._first[k] + (i >> k)] > bound[inside]) << k
            at[inside], size[inside] = i, k
            inside = inside[k > 0]
        return np.where((at < end) & (begin < end), at, -1)
