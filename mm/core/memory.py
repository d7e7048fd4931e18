"""Memory that is held and no longer used, back to the system: steps over a long log each need
some hundred MB for a moment, and what one of them leaves behind the next one can't always use."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def give_back() -> None:
    """Let the allocators of Arrow and, where it is glibc's, of the C library return what is free.

    Costs some milliseconds; without such an allocator nothing happens.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
