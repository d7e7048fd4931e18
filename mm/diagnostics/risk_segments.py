"""Risk segments, a bounded chunk at a time, and their sums between borders of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, Sides, running
from mm.exposure.accounting import Exposure, exposure_of
from mm.exposure.by_run import Measure
from mm.exposure.cells import Cells, CellSums, sum_by_cell, to_parts
from mm.exposure.distance import Selection
from mm.exposure.places import Sums
from mm.exposure.trials import rows_at_risk
from mm.logs.log import Run


@dataclass(frozen=True)
class Chunk:
    """Risk segments of one run. Arrays of shape (n,): ``block``, ``side``, ``start_ms``,
    ``stop_ms``, ``delta`` (ticks, as selected), ``amount_ms`` (exposure; of a draw dt)."""

    run: int
    block: Ints
    side: Sides
    start_ms: Ints
    stop_ms: Ints
    delta: Floats
    amount_ms: Ints


@dataclass(frozen=True)
class RiskSegments:
    """The risk segments of a log within a range of distances: segments, or with ``dt_ms`` draws."""

    exposure: Exposure
    selection: Selection
    dt_ms: int | None

    @property
    def lag_ms(self) -> int:
        """A draw is at risk in the ms that ends at its row, whose time says its block."""
        return 0 if self.dt_ms is None else 1

    def chunks(self, blocks: Mask | None = None) -> Iterator[Chunk]:
        """All segments, or those in the chosen blocks; a mask over the blocks of all runs."""
        if self.dt_ms is None:
            for s in self.exposure.chunks(blocks):
                seg = self.selection.contains(s.delta)
                if seg.any():
                    start, ms = s.start_ms[seg], s.duration_ms[seg]
                    delta = self.selection.measure(s.delta[seg])
                    run, block, side = int(s.run[0]), s.block[seg], s.side[seg]
                    yield Chunk(run, block, side, start, start + ms, delta, ms)
            return
        for r in rows_at_risk(self.exposure, drawn=True, blocks=blocks):
            row = self.selection.contains(r.delta)
            if row.any():
                time, dt = r.time_ms[row], np.full(int(row.sum()), self.dt_ms, dtype=np.int64)
                delta = self.selection.measure(r.delta[row])
                run, block, side = int(r.run[0]), r.block[row], r.side[row]
                yield Chunk(run, block, side, time - 1, time, delta, dt)


def _split(chunk: Chunk, times_ms: Ints) -> Chunk:
    """The same segments, cut where one of these times (in order) lies inside them."""
    first = np.searchsorted(times_ms, chunk.start_ms, side="right")
    n = np.maximum(np.searchsorted(times_ms, chunk.stop_ms, side="left") - first, 0) + 1
    if n.max(initial=1) == 1:
        return chunk
    of = np.repeat(np.arange(len(n)), n)
    nth = first[of] + np.arange(len(of)) - np.repeat(running(n)[:-1], n)
    edges = np.concatenate([[np.iinfo(np.int64).min], times_ms, [np.iinfo(np.int64).max]])
    start = np.maximum(chunk.start_ms[of], edges[nth])
    stop = np.minimum(chunk.stop_ms[of], edges[nth + 1])
    side, delta = chunk.side[of], chunk.delta[of]
    return Chunk(chunk.run, chunk.block[of], side, start, stop, delta, stop - start)


def runs_blocks(exposure: Exposure) -> tuple[Ints, Ints]:
    """Of each block of all runs: its run, and where it starts, ms."""
    starts = [account.block_ms for account in exposure.accounts]
    return np.repeat(np.arange(len(starts)), [len(own) for own in starts]), np.concatenate(starts)


def spans(segments: RiskSegments, block: Ints) -> tuple[Ints, Ints, Ints]:
    """Runs with time at risk, and of each the start of its first segment and the end of its last.

    ``block``: of all cells, in order. Shapes (r,).
    """
    exposure = segments.exposure
    first_blocks = exposure.first_blocks
    behind = np.searchsorted(block, np.append(first_blocks[1:], np.iinfo(np.int64).max))
    first = np.append(0, behind[:-1])
    runs = np.flatnonzero(behind > first)
    # No segment is in two blocks: the first starts in the first block, the last ends in the last.
    own = [block[at[runs]] - first_blocks[runs] for at in (first, behind - 1)]
    found = [
        exposure.runs[number].product(
            _span, exposure.measure, segments.selection, segments.dt_ms, first, last
        )
        for number, first, last in zip(runs.tolist(), *(at.tolist() for at in own), strict=True)
    ]
    begin, end = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return runs, begin, end


def _span(
    run: Run, measure: Measure, selection: Selection, dt_ms: int | None, first: int, last: int
) -> tuple[int, int]:
    """Start of a run's first risk segment and end of its last, in these blocks."""
    alone = RiskSegments(exposure_of([run], measure), selection, dt_ms)
    blocks = np.zeros(alone.exposure.accounts[0].n_blocks, dtype=np.bool_)
    blocks[[first, last]] = True
    ends = [(int(s.start_ms.min()), int(s.stop_ms.max())) for s in alone.chunks(blocks)]
    return min(begin for begin, _ in ends), max(end for _, end in ends)


def by_gap(run: Run, measure: Measure, selection: Selection, times_ms: Ints) -> Sums:
    """Time at risk in one run, ms, by the gap between these times (in order) and by distance;
    ``block``: the number of times that have passed."""
    alone, total = RiskSegments(exposure_of([run], measure), selection, None), CellSums()
    for whole in alone.chunks():
        s = _split(whole, times_ms)
        gap = np.searchsorted(times_ms, s.start_ms, side="right")
        none = np.zeros(len(gap), dtype=np.int64)
        total.add(sum_by_cell(gap, none.astype(np.int8), none, to_parts(s.delta), (s.amount_ms,)))
    return total.total()


def cut_cells(segments: RiskSegments, times_ms: Ints) -> tuple[Mask, Cells, Ints]:
    """The blocks in which one of these times lies, a mask over the blocks of all runs, and their
    cells without events, none of which holds time before such a time and time after it; and when
    each of these begins, ms. A draw counts whole where it is made."""
    run_of, block_start = runs_blocks(segments.exposure)
    # Start of a block's first segment, at the earliest.
    earliest = block_start - segments.lag_ms
    cut = np.zeros(len(run_of), dtype=np.bool_)
    for run in range(len(segments.exposure.runs)):
        first, behind = np.searchsorted(run_of, [run, run + 1])
        own = np.searchsorted(earliest[first:behind], times_ms, side="right") - 1 + first
        inside = (own >= first) & (times_ms <= segments.exposure.runs[run].end_ms)
        own, times = own[inside], times_ms[inside]
        cut[own[earliest[own] < times]] = True
    sums: dict[int, CellSums] = {}
    borders: dict[int, Ints] = {}
    for whole in segments.chunks(cut) if cut.any() else ():
        chunk = _split(whole, times_ms)
        if chunk.run not in sums:
            own_blocks = earliest[run_of == chunk.run]
            sums[chunk.run], borders[chunk.run] = CellSums(), np.union1d(own_blocks, times_ms)
        slot = np.searchsorted(borders[chunk.run], chunk.start_ms, side="right") - 1
        none = np.zeros(len(slot), dtype=np.int64)
        sums[chunk.run].add(
            sum_by_cell(slot, chunk.side, none, to_parts(chunk.delta), (chunk.amount_ms,))
        )
    parts = []
    for run, cells in sums.items():
        total = cells.total()
        since = borders[run][total.block]
        first, behind = np.searchsorted(run_of, [run, run + 1])
        block = np.searchsorted(earliest[first:behind], since, side="right") - 1 + first
        parts.append((block, total.side, total.delta, total.values[:, 0], since))
    nothing = np.zeros(0, dtype=np.int64)
    parts.append((nothing, nothing.astype(np.int8), np.zeros(0), nothing, nothing))
    block, side, delta, ms, since = (np.concatenate(column) for column in zip(*parts, strict=True))
    none = np.zeros(len(ms), dtype=np.int64)
    return cut, Cells(block, side, delta, ms, none, np.zeros(len(ms)), segments.dt_ms), since
