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


@dataclass(frozen=True)
class OpenSums:
    """Of one run: as in `NeverEnded`, with the time that those orders and all rested, ms."""

    orders: int
    of: int
    theirs_ms: float
    all_ms: float
    at_once: int
    words: dict[str, int]


def open_sums(run: Run, orders: RestingIntervals) -> OpenSums:
    """An order's pieces at several prices count as one."""
    start, end = orders.whole(orders.start_ms), orders.whole(orders.end_ms, last=True)
    is_open = orders.whole(orders.ended_by, last=True) == OPEN
    rested = (end - start).astype(np.float64)
    longest = float(rested[~is_open].max(initial=0.0))
    old = is_open & (rested > longest)
    words: dict[str, int] = {}
    if old.any():
        ids = np.delete(np.asarray(orders.order_id), orders.goes_on)[old]
        words = last_words(run.orders, ids)
    return OpenSums(
        int(np.count_nonzero(old)),
        len(rested),
        float(rested[old].sum()),
        float(rested.sum()),
        _at_once(start[~is_open], end[~is_open]),
        words,
    )


def never_ended(runs: Sequence[OpenSums]) -> NeverEnded:
    """Over all runs."""
    total = sum(run.all_ms for run in runs)
    words: Counter[str] = Counter()
    for run in runs:
        words.update(run.words)
    return NeverEnded(
        sum(run.orders for run in runs),
        sum(run.of for run in runs),
        sum(run.theirs_ms for run in runs) / total if total else 0.0,
        max((run.at_once for run in runs), default=0),
        dict(words),
    )


def _at_once(start: Ints, end: Ints) -> int:
    """The most intervals [start, end) that hold one ms."""
    time = np.concatenate([end, start])
    step = np.repeat([-1, 1], len(start))
    # At one ms what ends goes first.
    return int(np.cumsum(step[np.argsort(time, kind="stable")]).max(initial=0))
