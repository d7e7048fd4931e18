"""Do the three files tell of the same time? Shifted clocks give plausible wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm.arrays import Floats, Ints
from mm.exposure import Exposure
from mm.intervals import AFTER_END, BEFORE_ACTIVE, NO_FILL, RestingIntervals
from mm.run import Run


@dataclass(frozen=True)
class ClockCheck:
    """Shares that a log with one clock keeps near zero; NaN where there is nothing to count.

    ``placed_outside``: accepted orders placed where no mid is known. ``misplaced_fills``: first
    fills outside their order's interval, or of orders that are not in the file.
    ``wrong_side``: orders placed through mid. ``misplaced``: their count, of ``n_fills``.
    ``open_too_long``: of the time orders were open by our reading, that by which it exceeds what
    the state rows' open_orders say; ``open_too_short``: the other way round, of theirs.
    """

    placed_outside: float
    misplaced_fills: float
    wrong_side: float
    misplaced: int
    n_fills: int
    open_too_long: float = np.nan
    open_too_short: float = np.nan


#: A count of open orders that agrees with ours in fewer rows than this, or is below that of the
#: orders which later rows tell of in more than a few, counts something else.
_AGREES, _BELOW = 0.2, 0.05


def check_clocks(runs: Sequence[Run], exposure: Exposure, max_state_gap_ms: int) -> ClockCheck:
    """Hold orders against the state rows, and first fills against their orders."""
    outside = wrong = placed = known = misplaced = first_fills = 0
    balance = np.zeros(4)
    for run, orders in zip(runs, exposure.intervals, strict=True):
        rows = run.orders[run.orders["action"] == "PLACE"].drop_duplicates("order_id")
        rows = rows.set_index("order_id").reindex(orders.order_id)
        time = rows["recv_ms"].to_numpy(dtype=np.int64)
        state_ms = run.state["recv_ms"].to_numpy(dtype=np.int64)
        last = np.searchsorted(state_ms, time, side="right") - 1
        there = (last >= 0) & (time - state_ms[np.maximum(last, 0)] <= max_state_gap_ms)
        mid = run.state["mid"].to_numpy(dtype=np.float64)[np.maximum(last, 0)]
        placed += len(time)
        outside += int(np.count_nonzero(~there))
        known += int(np.count_nonzero(there))
        wrong += int(np.count_nonzero(there & (orders.side * (mid - orders.price) < 0)))
        first_fills += int(np.count_nonzero(orders.fate != NO_FILL))
        misplaced += int(np.isin(orders.fate, (BEFORE_ACTIVE, AFTER_END)).sum())
        balance += _open_orders(run, time, orders, max_state_gap_ms)
        strangers = set(run.fills["order_id"]) - set(run.orders["order_id"])
        first_fills += len(strangers)
        misplaced += len(strangers)
    return ClockCheck(
        placed_outside=outside / placed if placed else np.nan,
        misplaced_fills=misplaced / first_fills if first_fills else np.nan,
        wrong_side=wrong / known if known else np.nan,
        misplaced=misplaced,
        n_fills=first_fills,
        open_too_long=balance[0] / balance[1] if balance[1] else np.nan,
        open_too_short=balance[2] / balance[3] if balance[3] else np.nan,
    )


def _open_orders(run: Run, placed_ms: Ints, orders: RestingIntervals, max_gap_ms: int) -> Floats:
    """Order-ms (ours beyond the state rows', ours, theirs beyond ours, theirs) of one run; zeros
    where the state rows hold no count of open orders."""
    nothing = np.zeros(4)
    if "open_orders" not in run.state:
        return nothing
    theirs = run.state["open_orders"].to_numpy(dtype=np.float64)
    known = np.isfinite(theirs)
    if known.mean() < 0.5 or np.ptp(theirs[known]) == 0:
        return nothing
    time = run.state["recv_ms"].to_numpy(dtype=np.int64)
    begun = np.searchsorted(np.sort(placed_ms), time, side="right")
    gone = np.searchsorted(np.sort(np.maximum(orders.end_ms, placed_ms)), time, side="right")
    ours = (begun - gone).astype(np.float64)
    heard = run.orders.groupby("order_id")["recv_ms"].max().reindex(orders.order_id)
    sure_until = np.minimum(heard.to_numpy(dtype=np.int64), orders.end_ms)
    surely = begun - np.searchsorted(np.sort(np.maximum(sure_until, placed_ms)), time, side="right")
    weight = np.minimum(np.append(np.diff(time), 0), max_gap_ms)[known]
    ours, theirs, surely = ours[known], theirs[known], surely[known]
    long, short = nothing[:2], nothing[:2]
    if (theirs < surely).mean() <= _BELOW and surely.any():
        # From when they are active: whether an order counts as open before that, backtesters
        # may see differently.
        active = np.searchsorted(np.sort(orders.start_ms), time, side="right")
        active = active - np.searchsorted(np.sort(orders.end_ms), time, side="right")
        active = active[known]
        long = np.array([(weight * np.maximum(active - theirs, 0)).sum(), (weight * active).sum()])
    if (ours == theirs).mean() >= _AGREES:
        short = np.array([(weight * np.maximum(theirs - ours, 0)).sum(), (weight * theirs).sum()])
    return np.concatenate([long, short]).astype(np.float64)


def appended_pieces(time_ms: Ints) -> int:
    """Number of runs written one behind the other: stretches in time order between jumps back.

    Rows that were shuffled, or a few that are late, are one run: only long stretches count.
    """
    back = np.flatnonzero(np.diff(time_ms) < 0) + 1
    lengths = np.diff(np.concatenate([[0], back, [len(time_ms)]]))
    long = lengths >= max(10, 0.05 * len(time_ms))
    return int(long.sum()) if long.sum() >= 2 and lengths[~long].sum() < 0.05 * len(time_ms) else 1
