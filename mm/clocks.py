"""Do the three files tell of the same time? Shifted clocks give plausible wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm.arrays import Ints
from mm.exposure import Exposure
from mm.intervals import AFTER_END, BEFORE_ACTIVE, NO_FILL
from mm.run import Run


@dataclass(frozen=True)
class ClockCheck:
    """Shares that a log with one clock keeps near zero; NaN where there is nothing to count.

    ``placed_outside``: accepted orders placed where no mid is known. ``misplaced_fills``: first
    fills outside their order's interval, or of orders that are not in the file.
    ``wrong_side``: orders placed through mid. ``misplaced``: their count, of ``n_fills``.
    """

    placed_outside: float
    misplaced_fills: float
    wrong_side: float
    misplaced: int
    n_fills: int


def check_clocks(runs: Sequence[Run], exposure: Exposure, max_state_gap_ms: int) -> ClockCheck:
    """Hold orders against the state rows, and first fills against their orders."""
    outside = wrong = placed = known = misplaced = first_fills = 0
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
        strangers = set(run.fills["order_id"]) - set(run.orders["order_id"])
        first_fills += len(strangers)
        misplaced += len(strangers)
    return ClockCheck(
        placed_outside=outside / placed if placed else np.nan,
        misplaced_fills=misplaced / first_fills if first_fills else np.nan,
        wrong_side=wrong / known if known else np.nan,
        misplaced=misplaced,
        n_fills=first_fills,
    )


def appended_pieces(time_ms: Ints) -> int:
    """Number of runs written one behind the other: stretches in time order between jumps back.

    Rows that were shuffled, or a few that are late, are one run: only long stretches count.
    """
    back = np.flatnonzero(np.diff(time_ms) < 0) + 1
    lengths = np.diff(np.concatenate([[0], back, [len(time_ms)]]))
    long = lengths >= max(10, 0.05 * len(time_ms))
    return int(long.sum()) if long.sum() >= 2 and lengths[~long].sum() < 0.05 * len(time_ms) else 1
