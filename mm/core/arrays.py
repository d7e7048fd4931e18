"""Array types, and passes over long columns in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
#: Places in a short table.
Numbers = npt.NDArray[np.int32]
#: Rows of a long column that are looked at at a time: what that needs beside it stays in the cache.
SLICE = 1 << 16
#: +1 BUY, -1 SELL.
Sides = npt.NDArray[np.int8]


def slices(n: int, times: int = 1) -> Iterator[slice]:
    """0 ... n, a bounded number at a time; ``times`` as many where little is done with each."""
    for start in range(0, n, times * SLICE):
        yield slice(start, min(start + times * SLICE, n))


def _with_next(values: npt.NDArray[T]) -> Iterator[npt.NDArray[T]]:
    """The same values, a bounded number at a time and the one behind them."""
    return (values[some.start : some.stop + 1] for some in slices(len(values)))


def distinct(values: Ints) -> Ints:
    """Distinct values in order, by sorting: np.unique hashes, which is slow on many numbers."""
    ordered = values if never_falls(values) else np.sort(values, kind="stable")
    if not len(ordered):
        return ordered
    new = ordered[1:] != ordered[:-1]
    if new.all():
        return ordered
    kept: Ints = ordered[np.append(True, new)]
    return kept


def distinct_of(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values in order, and the place of each value among them; no search where the
    values are in order already, as times of a log mostly are."""
    if not never_falls(values):
        found, of = np.unique(values, return_inverse=True)
        return found, of
    new = np.append(True, values[1:] != values[:-1])[: len(values)]
    return values[new], np.cumsum(new) - 1


def never_falls(values: npt.NDArray[np.generic]) -> bool:
    """Whether values are in order, none of them NaN."""
    for some in _with_next(values):
        if not (some[1:] >= some[:-1]).all():  # type: ignore[operator]
            return False
    return len(values) != 1 or bool(values[0] == values[0])


def repeats(values: Ints) -> bool:
    """Whether two neighbours are equal."""
    return any(bool((some[1:] == some[:-1]).any()) for some in _with_next(values))


def steps_over(values: Ints, least: int) -> Ints:
    """Positions whose next value is more than ``least`` above their own."""
    found = [np.zeros(0, dtype=np.int64)]
    for some in slices(len(values)):
        step = np.diff(values[some.start : some.stop + 1])
        found.append(np.flatnonzero(step > least) + some.start)
    return np.concatenate(found)


def sums_by(group: npt.NDArray[np.integer], values: npt.NDArray[np.generic], n: int) -> Floats:
    """Sum of values in each of n groups, float64. ``group``, ``values``: shape (m,)."""
    return np.asarray(np.bincount(group, weights=values, minlength=n), dtype=np.float64)


def running(values: Mask | Ints) -> Ints:
    """How much stands before each place and, last, in all; shape (n + 1,)."""
    out = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=out[1:])
    return out
