"""What the accounting would be if the last known mid held through every outage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mm.core.arrays import Mask
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Cells, CellSums, make_cells, sum_by_cell, to_parts
from mm.exposure.distance import Selection, signed_ticks
from mm.exposure.midpath import OUTAGE, MidPath
from mm.exposure.segments import segments_of
from mm.logs.log import Run


def cells_through_outages(run: Run, exposure: Exposure, selection: Selection) -> Cells:
    """Sums by (block, side, distance) of one run, its outages at the mid before them.

    Where a malformed row hides the mid it stays unknown.
    """
    path, orders, e = exposure.paths[0], exposure.intervals[0], exposure.events
    silent, held = _held(path, run)
    at = path.just_before(e.time_ms)
    lost = silent[at]
    if not exposure.unknown_ms[OUTAGE] and not lost.any():
        return exposure.cells(selection)
    known = exposure.sums
    total = CellSums()
    total.add(replace(known, values=known.values[:, :1]))
    for s in segments_of([orders], [held], exposure.places, exposure.tick_size, [silent]):
        total.add(sum_by_cell(s.block, s.side, to_parts(s.delta), (s.duration_ms,)))
    price = orders.price[e.order]
    there = signed_ticks(e.side, price, held.mid[at], exposure.tick_size)
    delta = np.where(lost, there, e.delta)
    return make_cells(total.total(), e.block, e.side, delta, e.qty, selection)


def _held(path: MidPath, run: Run) -> tuple[Mask, MidPath]:
    """The stretches that are outages for silence, and the path with the last mid in them."""
    silent = path.status == OUTAGE
    at = np.flatnonzero(silent)
    row = np.searchsorted(path.row_ms, path.start_ms[at], side="right") - 1
    blind_ms = np.sort(run.blind_ms)
    until = np.searchsorted(blind_ms, path.start_ms[at], side="right")
    hidden = until > np.searchsorted(blind_ms, path.row_ms[row], side="left")
    silent[at[hidden]] = False
    mid = path.mid.copy()
    mid[at[~hidden]] = path.row_mid[row[~hidden]]
    return silent, replace(path, mid=mid)
