"""State rows at which a resting order was at risk: the trials of a per-tick fill model.

A backtester that fills by ``FILL_MODEL=poisson`` draws once in every state row in which an order
rests, with p = 1 - exp(-lambda(delta) dt). A log that was made so is fitted on these trials, and
any log can be asked how many fills a set of parameters would give on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mm.core.arrays import Floats, Ints, Mask, Sides, running
from mm.exposure.accounting import Events, Exposure
from mm.exposure.by_run import LaidOut, Measure, laid_out
from mm.exposure.cells import Cells, CellSums, sum_by_cell, to_parts
from mm.exposure.distance import Selection, signed_ticks
from mm.exposure.places import Sums, no_sums, one_after_another
from mm.exposure.segments import in_chunks, joined
from mm.logs.intervals import EVENT
from mm.logs.log import Run


@dataclass(frozen=True)
class RowsAtRisk:
    """(order, state row) pairs, order by order. Arrays of shape (n,).

    ``run``, ``order``: indices. ``side``: +1 BUY, -1 SELL. ``block``: global time block.
    ``level``: whole ticks from mid at placement. ``time_ms``: of the row.
    ``delta``: signed distance in ticks at its own mid. ``event``:
    whether the order's first fill is this row's.
    """

    run: Ints
    order: Ints
    side: Sides
    block: Ints
    level: Ints
    time_ms: Ints
    delta: Floats
    event: npt.NDArray[np.bool_]


def rows_at_risk(
    exposure: Exposure, *, drawn: bool, blocks: Mask | None = None
) -> Iterator[RowsAtRisk]:
    """State rows with start <= t < end of every order that rested and was not filled, and of one
    that was those up to the draw that filled it; a bounded chunk at a time.

    A fill of the market ends an order between two rows, after draws that found it unfilled. The
    draw that stands for it is the n-th, n = ceil(T / dt) for an order that rested T: its first draw
    waits w for the first row, and its draws are the rows before the fill plus w. Without the n-th,
    p = 1 - e^(-lambda dt) would give p / (lambda dt) of the fills, 0.86 where lambda dt = 0.3.

    Parameters
    ----------
    drawn : the log was drawn row by row: the row of a filled order's first fill is its last.
        Orders whose fill has no row are then left out.
    blocks : those whose rows are asked for, a mask over the blocks of all runs.
    """
    for number, first_block, laid, own in exposure.chosen(blocks):
        run = _RunRows(laid, exposure.tick_size)
        begin, stop = run.rows
        if drawn:
            filled, has_row = run.filled()
            stop = np.where(filled, np.where(has_row, stop + 1, begin), stop)
        else:
            stop = run.until_drawn()
        only = None
        if own is not None:
            only = np.repeat(own[laid.path.block], np.diff(laid.path.first_row))
        for pairs in run.pairs(begin, stop, only, drawn):
            yield replace(pairs, run=pairs.run + number, block=pairs.block + first_block)


def fill_rows(exposure: Exposure) -> RowsAtRisk:
    """Of a log that was drawn row by row: the rows of the first fills, one an order."""
    found = []
    for number, first_block, laid, _ in exposure.chosen(None):
        pairs = _RunRows(laid, exposure.tick_size).at_fill()
        found.append(replace(pairs, run=pairs.run + number, block=pairs.block + first_block))
    return RowsAtRisk(**joined(found))


def events_at_own_rows(exposure: Exposure) -> Events:
    """Of a log that was drawn row by row: the first fills with the block and distance of the row
    that drew them, where there is one. A fill of the market saw the mid before it."""
    events, rows = exposure.events, fill_rows(exposure)
    n = 1 + max(int(events.order.max(initial=0)), int(rows.order.max(initial=0)))
    key = events.run * n + events.order
    order = np.argsort(key, kind="stable")
    at = order[np.searchsorted(key[order], rows.run * n + rows.order)]
    block, delta = events.block.copy(), events.delta.copy()
    block[at], delta[at] = rows.block, rows.delta
    return replace(events, block=block, delta=delta)


def trial_sums(exposure: Exposure, *, drawn: bool) -> Sums:
    """Trials and events (the columns) by (block, side, level, signed distance): the sums of
    :func:`rows_at_risk`, from the accounting's and what differs from them."""
    known = exposure.sums
    rows = np.column_stack([known.values[:, 1], np.zeros(len(known.block), dtype=np.int64)])
    more = [run.product(_differing, exposure.measure, drawn) for run in exposure.runs]
    sums = replace(known, values=rows)
    if any(len(own.block) for own in more):
        total = CellSums()
        total.add(sums)
        total.add(one_after_another(more, exposure.first_blocks))
        sums = total.total()
    there = sums.values[:, 0] != 0
    return sums if there.all() else sums.where(there)


def _differing(run: Run, measure: Measure, drawn: bool) -> Sums:
    """By how much the trials of one run differ from what its accounting has."""
    total = CellSums()
    total.add(no_sums(2))
    laid = run.product(laid_out, measure)
    own = _RunRows(laid, measure.tick_size)
    begin, stop = own.rows
    if len(laid.path.overruled):
        # The accounting has these at the path's mid, and not at all where it is unknown.
        chosen = np.zeros(len(laid.path.row_ms), dtype=np.bool_)
        chosen[laid.path.overruled] = True
        for pairs in own.pairs(begin, stop, chosen):
            total.add(_counted(pairs, 1))
        for pairs in own.pairs(begin, stop, chosen, at_path_mid=True):
            total.add(_counted(pairs, -1))
    if drawn:
        filled, has_row = own.filled()
        without = np.where(filled & ~has_row, stop, begin)
        for pairs in own.pairs(begin, without):
            total.add(_counted(pairs, -1))
        total.add(_counted(own.at_fill(), 1))
    else:
        for pairs in own.pairs(stop, own.until_drawn()):
            total.add(_counted(pairs, 1))
    return total.total()


def trial_cells(sums: Sums, selection: Selection, dt_ms: int) -> Cells:
    """Draws of ``dt_ms`` each and events by (block, side, distance) over the range of distances.

    ``sums``: of :func:`trial_sums`.
    """
    delta = sums.delta
    inside = selection.contains(delta)
    cells = sum_by_cell(
        sums.block[inside],
        sums.side[inside],
        sums.level[inside],
        to_parts(selection.measure(delta[inside])),
        (sums.values[inside, 0], sums.values[inside, 1]),
    )
    trials, events = cells.values.T
    none = np.zeros(len(trials))
    ms = trials * dt_ms
    return Cells(cells.block, cells.side, cells.delta, ms, events, none, dt_ms, cells.level)


def _counted(pairs: RowsAtRisk, sign: int) -> Sums:
    known = ~np.isnan(pairs.delta)
    parts = to_parts(pairs.delta[known])
    one = np.full(len(parts), sign, dtype=np.int64)
    events = sign * pairs.event[known].astype(np.int64)
    place = (pairs.block[known], pairs.side[known], pairs.level[known], parts)
    return sum_by_cell(*place, (one, events))


@dataclass(frozen=True)
class _RunRows:
    """The orders and state rows of one run."""

    laid: LaidOut
    tick_size: float

    @cached_property
    def rows(self) -> tuple[Ints, Ints]:
        """Of each order, the first row in its interval and the one behind it."""
        begin, stop = self.laid.on_path.from_row, self.laid.on_path.to_row
        return begin.astype(np.int64), np.maximum(begin, stop).astype(np.int64)

    def filled(self) -> tuple[Mask, Mask]:
        """Which orders' first fill is an event, and which have a row in the ms they ended."""
        _, stop = self.rows
        row_ms = self.laid.path.row_ms
        at_end = row_ms[np.minimum(stop, len(row_ms) - 1)] == self.laid.orders.end_ms
        return self.laid.orders.fill_status == EVENT, at_end

    def until_drawn(self) -> Ints:
        """Of each order the row behind its last draw, had its fill been drawn, see
        :func:`rows_at_risk`."""
        begin, stop = self.rows
        orders, row_ms = self.laid.orders, self.laid.path.row_ms
        wait = row_ms[np.minimum(begin, len(row_ms) - 1)] - orders.start_ms
        later = np.searchsorted(row_ms, orders.end_ms + np.maximum(wait, 0), side="left")
        return np.where(orders.fill_status == EVENT, np.maximum(stop, later), stop)

    def at_fill(self) -> RowsAtRisk:
        """The rows of the first fills."""
        filled, has_row = self.filled()
        order = np.flatnonzero(filled & has_row)
        _, stop = self.rows
        return self._made(order, stop[order], np.ones(len(order), dtype=np.bool_))

    def pairs(
        self,
        begin: Ints,
        stop: Ints,
        only: Mask | None = None,
        drawn: bool = False,
        at_path_mid: bool = False,
    ) -> Iterator[RowsAtRisk]:
        """Rows begin <= i < stop of each order, of those that ``only`` chooses."""
        first, behind = begin, stop
        if only is not None:
            before, chosen = running(only), np.flatnonzero(only)
            first, behind = before[begin], before[stop]
        fill_status = self.laid.orders.fill_status
        for some, n, row in in_chunks(first, behind - first):
            if only is not None:
                row = chosen[row]
            order = np.repeat(np.arange(some.start, some.start + len(n)), n)
            event = (row == stop[order] - 1) & (fill_status[order] == EVENT) & drawn
            yield self._made(order, row, event, at_path_mid)

    def _made(self, order: Ints, row: Ints, event: Mask, at_path_mid: bool = False) -> RowsAtRisk:
        path, side = self.laid.path, self.laid.orders.side[order]
        time = path.row_ms[row]
        stretch = np.searchsorted(path.start_ms, time, side="right") - 1
        mid = path.mid[stretch] if at_path_mid else path.row_mid[row]
        return RowsAtRisk(
            run=np.zeros(len(order), dtype=np.int64),
            order=order,
            side=side,
            block=path.block[stretch].astype(np.int64),
            level=self.laid.on_path.level[order].astype(np.int64),
            time_ms=time,
            delta=signed_ticks(side, self.laid.orders.price[order], mid, self.tick_size),
            event=event,
        )
