"""Which time blocks are the same minutes: runs that replay one market are no new evidence of it.

A robust covariance takes blocks for independent. Blocks of two runs over the same minutes, one
run a spread for example, saw the same bursts: they count as one period. Runs that do not overlap
share none, and the last period of one is no neighbour of the first of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Ints
from mm.exposure.by_run import RunAccount
from mm.exposure.cells import Cells

#: From so many groups of runs that do not overlap on, only groups count as independent.
MIN_GROUPS = 3


def over_groups(cells: Cells) -> bool:
    """Whether groups count as independent for all fits of these cells: there are enough of them on
    either side of mid where there are any."""
    assert cells.group is not None
    through = cells.delta < 0
    counts = [len(np.unique(cells.group[side])) for side in (through, ~through)]
    return all(n == 0 or n >= MIN_GROUPS for n in counts)


@dataclass(frozen=True)
class Periods:
    """By block of all runs, shape (b,). ``number``: of its period; periods that follow each other
    in time, in runs that overlap, have numbers that do. ``group``: of overlapping runs.

    Of a single run the periods are its blocks.
    """

    number: Ints
    group: Ints

    @classmethod
    def of(cls, runs: Sequence[RunAccount]) -> Periods:
        """Periods of the blocks of these runs, counted from the first row of each group's."""
        starts = [run.block_ms for run in runs]
        begin = np.array([start[0] for start in starts])
        end = np.array([run.last_row_ms for run in runs])
        steps = np.concatenate([np.diff(start) for start in starts])
        # Without a second block anywhere all of a group is one period.
        width = int(steps.min()) if len(steps) else int((end - begin).max()) + 1
        order = np.argsort(begin, kind="stable")
        number: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(runs)
        group = np.zeros(len(runs), dtype=np.int64)
        here, origin, first, behind, until = -1, 0, 0, -1, -1
        for run in order.tolist():
            if here < 0 or int(begin[run]) > until:
                here, origin, first = here + 1, int(begin[run]), behind + 1
            until = max(until, int(end[run]))
            group[run] = here
            # By the middle of a block, as runs need not start in the same ms.
            number[run] = (starts[run] + width // 2 - origin) // width + first
            behind = max(behind, int(number[run][-1]) + 1)
        counts = [len(start) for start in starts]
        return cls(np.concatenate(number), np.repeat(group, counts))
