"""Orders that no row ends: they would rest to the end of the run, and A would come out too low.

A rejection, expiry or cancel in a word that nobody knows leaves its order open. In real logs orders
are open at the end too, but they are no older than others get, or they are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mm.core.arrays import Ints
from mm.logs.intervals import OPEN, RestingIntervals
from mm.logs.log import Run
from mm.logs.words import last_words


@dataclass(frozen=True)
class NeverEnded:
    """Orders that were open at the end of the run, longer than any order that ended.

    ``orders``: their number, ``of`` all; ``time_share``: of the time that orders rested, theirs.
    ``at_once``: the most orders that rested at one time and ended. ``words``: the last word on
    them, where it is none that is known, by number of orders.
    """

    orders: int
    of: int
    time_share: float
    at_once: int
    words: Mapping[str, int] = field(default_factory=dict)


def never_ended(runs: Sequence[Run], intervals: Sequence[RestingIntervals]) -> NeverEnded:
    """Over all runs; an order's pieces at several prices count as one."""
    n = of = at_once = 0
    theirs = total = 0.0
    words: Counter[str] = Counter()
    for run, orders in zip(runs, intervals, strict=True):
        start, end = orders.whole(orders.start_ms), orders.whole(orders.end_ms, last=True)
        is_open = orders.whole(orders.ended_by, last=True) == OPEN
        rested = (end - start).astype(np.float64)
        longest = float(rested[~is_open].max(initial=0.0))
        old = is_open & (rested > longest)
        n, of = n + int(np.count_nonzero(old)), of + len(rested)
        theirs, total = theirs + float(rested[old].sum()), total + float(rested.sum())
        at_once = max(at_once, _at_once(start[~is_open], end[~is_open]))
        if old.any():
            ids = np.delete(np.asarray(orders.order_id), orders.goes_on)[old]
            words.update(last_words(run.orders, ids))
    return NeverEnded(n, of, theirs / total if total else 0.0, at_once, dict(words))


def _at_once(start: Ints, end: Ints) -> int:
    """The most intervals [start, end) that hold one ms."""
    time = np.concatenate([end, start])
    step = np.repeat([-1, 1], len(start))
    # At one ms what ends goes first.
    return int(np.cumsum(step[np.argsort(time, kind="stable")]).max(initial=0))
