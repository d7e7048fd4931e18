"""What the mids of the state rows look like: do they move, how often, on which grid?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Ints
from mm.logs.log import RunLog
from mm.logs.tick import price_grid

#: A mid that never moves over so many rows is a feed that stands still.
_CONSTANT_ROWS = 100
#: A grid is seen on about so many rows, with so many different mids at least.
_SAMPLED_ROWS, _DISTINCT_MIDS = 20_000, 8
#: How rows follow each other is seen on so many of each run.
_FIRST_ROWS = 1_000_000


@dataclass(frozen=True)
class RunMids:
    """One run's mids. ``state``, ``fills``: what its files are called; ``rows``: state rows.

    ``constant``: the mid that all rows have, None where it moves or rows are few. ``grid``: largest
    step of which all are multiples, None where there is none or they are few. ``offset``,
    ``fill_offset``: by how much mids, and fill prices, are off alike from those by which the books
    were kept, quote currency.
    """

    name: str
    state: str
    fills: str
    rows: int
    constant: float | None
    grid: float | None
    offset: float
    fill_offset: float


@dataclass(frozen=True)
class MidCheck:
    """All runs' mids. ``standing``: share of the state rows that repeat the mid before them.
    ``row_gap_ms``: the usual time between two rows, ms; NaN without any; both of the first million
    rows of each run."""

    runs: tuple[RunMids, ...]
    standing: float
    row_gap_ms: float


def check_mids(runs: Sequence[RunLog]) -> MidCheck:
    """Look at the mids of every run."""
    found = [run.product(_row_sums) for run in runs]
    steps = sum(one.steps for one in found)
    return MidCheck(
        runs=tuple(run.product(_of_run) for run in runs),
        standing=sum(one.standing for one in found) / steps if steps else 0.0,
        row_gap_ms=_median(
            np.concatenate([one.gap_ms for one in found]), np.concatenate([one.n for one in found])
        ),
    )


def _median(values: Ints, n: Ints) -> float:
    """Of values that come so often each; NaN without any."""
    order = np.argsort(values, kind="stable")
    up_to = np.cumsum(n[order])
    if not len(up_to):
        return float("nan")
    middle = np.array([(up_to[-1] - 1) // 2, up_to[-1] // 2])
    return float(values[order][np.searchsorted(up_to, middle, side="right")].mean())


@dataclass(frozen=True)
class _RowSums:
    """Of a run's first rows: from one to the next, those that repeat the mid, and how many ms go
    by how often."""

    steps: int
    standing: int
    gap_ms: Ints
    n: Ints


def _row_sums(run: RunLog) -> _RowSums:
    time, mid = (run.state[name].to_numpy()[:_FIRST_ROWS] for name in ("recv_ms", "mid"))
    gap_ms, n = np.unique(np.diff(time), return_counts=True)
    there = gap_ms > 0
    again = int(np.count_nonzero(np.diff(mid) == 0.0))
    return _RowSums(max(len(mid) - 1, 0), again, gap_ms[there], n[there])


def _of_run(run: RunLog) -> RunMids:
    mid = run.state["mid"].to_numpy(dtype=np.float64)
    still = len(mid) > _CONSTANT_ROWS and mid.min() == mid.max()
    some = np.unique(mid[:: max(1, len(mid) // _SAMPLED_ROWS)])
    return RunMids(
        name=run.name,
        state=run.labels.get("state", run.name),
        fills=run.labels.get("fills", run.name),
        rows=len(mid),
        constant=float(mid[0]) if still else None,
        grid=price_grid(some) if len(some) >= _DISTINCT_MIDS else None,
        offset=run.mid_offset,
        fill_offset=run.price_offset,
    )
