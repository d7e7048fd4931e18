"""State rows at which a resting order was at risk: the trials of a per-tick fill model.

A backtester that fills by ``FILL_MODEL=poisson`` draws once in every state row in which an order
rests, with p = 1 - exp(-lambda(delta) dt). A log that was made so is fitted on these trials, and
any log can be asked how many fills a set of parameters would give on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.arrays import Floats, Ints, Sides
from mm.distance import Selection, signed_ticks
from mm.exposure import Exposure
from mm.intervals import EVENT, RestingIntervals
from mm.midpath import MidPath
from mm.segments import joined


@dataclass(frozen=True)
class RowsAtRisk:
    """(order, state row) pairs, order by order. Arrays of shape (n,).

    ``run``, ``order``: indices. ``side``: +1 BUY, -1 SELL. ``block``: global time block.
    ``time_ms``: of the row. ``delta``: signed distance in ticks at its own mid. ``event``:
    whether the order's first fill is this row's.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    time_ms: Ints
    delta: Floats
    event: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrialCells:
    """Trials and events by (block, side, distance). Arrays of shape (n,), as ``Cells``."""

    block: Ints
    side: Sides
    delta: Floats
    trials: Ints
    events: Ints


def rows_at_risk(exposure: Exposure, *, to_fill_row: bool) -> RowsAtRisk:
    """State rows with start <= t < end of every order that rested.

    Parameters
    ----------
    to_fill_row : count the row of a filled order's first fill as its last, as a log that was
        drawn row by row needs. Orders whose fill has no row are then left out.
    """
    parts, first_block = [], 0
    for number, (orders, path) in enumerate(zip(exposure.intervals, exposure.paths, strict=True)):
        begin, n_rows = _row_ranges(orders, path, to_fill_row)
        order = np.repeat(np.arange(len(n_rows)), n_rows)
        nth = np.arange(n_rows.sum()) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
        row = begin[order] + nth
        side = orders.side[order]
        stretch = np.searchsorted(path.start_ms, path.row_ms[row], side="right") - 1
        last = nth == n_rows[order] - 1
        price = orders.price[order]
        parts.append(
            RowsAtRisk(
                run=np.full(len(order), number, dtype=np.int64),
                order=order,
                side=side,
                block=path.block[stretch] + first_block,
                time_ms=path.row_ms[row],
                delta=signed_ticks(side, price, path.row_mid[row], exposure.tick_size),
                event=last & (orders.fate[order] == EVENT) & to_fill_row,
            )
        )
        first_block += int(path.block[-1]) + 1
    return RowsAtRisk(**joined(parts))


def _row_ranges(orders: RestingIntervals, path: MidPath, to_fill_row: bool) -> tuple[Ints, Ints]:
    """First row and number of rows of each order."""
    begin = np.searchsorted(path.row_ms, orders.start_ms, side="left").astype(np.int64)
    stop = np.searchsorted(path.row_ms, orders.end_ms, side="left").astype(np.int64)
    n_rows = np.maximum(stop - begin, 0)
    if not to_fill_row:
        return begin, n_rows
    filled = orders.fate == EVENT
    at_end = path.row_ms[np.minimum(stop, len(path.row_ms) - 1)]
    has_row = at_end == orders.end_ms
    return begin, np.where(filled, np.where(has_row, n_rows + 1, 0), n_rows)


def trial_cells(rows: RowsAtRisk, selection: Selection) -> TrialCells:
    """Sums of trials and events by (block, side, distance) over the range of distances."""
    inside = selection.contains(rows.delta)
    frame = pd.DataFrame(
        {
            "block": rows.block[inside],
            "side": rows.side[inside],
            "delta": selection.measure(rows.delta[inside]),
            "event": rows.event[inside],
        }
    )
    sums = frame.groupby(["block", "side", "delta"], sort=True)["event"].agg(["size", "sum"])
    keys = sums.index.to_frame(index=False)
    return TrialCells(
        block=keys["block"].to_numpy(dtype=np.int64),
        side=keys["side"].to_numpy(dtype=np.int8),
        delta=keys["delta"].to_numpy(dtype=np.float64),
        trials=sums["size"].to_numpy(dtype=np.int64),
        events=sums["sum"].to_numpy(dtype=np.int64),
    )
