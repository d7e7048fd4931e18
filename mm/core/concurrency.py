"""Work on long logs that does not depend on each other, at the same time.

Arrays are worked on without Python's lock, so threads use several cores. Short logs are done
with before a thread has started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

#: Rows of a table from which on threads are worth their start.
LONG = 1 << 18


def side_by_side(rows: int, first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """The results of both calls; at the same time where there are many rows.

    Raises what the first one raises, else what the second one does.
    """
    if rows < LONG:
        return first(), second()
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(second)
        return first(), coming.result()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, none of them None, each made while the one before it is worked on."""
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = other.submit(next, items, None)
            yield item
