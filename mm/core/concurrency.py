"""Long logs: independent work at the same time, and memory given back between the steps.

Arrays are worked on without Python's lock, so threads use several cores. Short logs are done
with before a thread has started.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

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


def give_back() -> None:
    """Return to the system what the allocators of Arrow and, where it is glibc's, of the C
    library hold and do not use; some milliseconds. A step over a long log needs some hundred MB
    for a moment, and what one step leaves behind the next one can't always use.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
