"""Loading modules without the garbage collector looking through them over and over."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While modules are loaded nothing is thrown away: collect nothing, and then never look at what
    is there. It also leaves the pages alone that a process shares with those forked from it.

    Once, at the start of a process: all that is there at its end stays, garbage too.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
