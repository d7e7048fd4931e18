"""Sums by (block, side, level, distance): all that the fits need of a log, however long it is.

The level is the whole-tick distance from mid at which an order was placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints, Numbers, Sides, sums_by
from mm.exposure.distance import PARTS_PER_TICK, Selection
from mm.exposure.places import Places, Sums, no_sums

#: Keys that may be counted in a table of all combinations, per item: else they are sorted.
DENSE = 4
#: Sums of chunks are put together once they hold so many cells.
_MERGE_AT = 2_000_000


@dataclass(frozen=True)
class Cells:
    """Time at risk and events by (block, side, level, distance): sufficient for every fit.

    Arrays of shape (n,): ``block``, ``side``, ``delta`` (ticks), ``exposure_ms`` (int64),
    ``events`` (int64), ``qty`` (base currency). ``dt_ms``: of a log that was drawn row by row,
    the time step of a draw, which then counts as so much exposure; None in continuous time.
    ``level``: whole ticks from mid at placement, int64; None where it was summed over.
    ``group``: of the block's runs, see ``mm.exposure.periods``; None for one.
    """

    block: Ints
    side: Sides
    delta: Floats
    exposure_ms: Ints
    events: Ints
    qty: Floats
    dt_ms: float | None = None
    level: Ints | None = None
    group: Ints | None = None

    @property
    def exposure_s(self) -> Floats:
        """Exposure in seconds."""
        return self.exposure_ms / 1000.0

    @property
    def trials(self) -> Floats:
        """Draws in each cell, shape (n,): exposure over dt. ValueError in continuous time."""
        if self.dt_ms is None:
            raise ValueError("a log in continuous time has no draws")
        return np.rint(self.exposure_ms / self.dt_ms)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.events.sum())

    def by_distance(self) -> Cells:
        """The same summed over blocks, sides and levels: all that the likelihood of (A, k) sees."""
        delta, of = np.unique(self.delta, return_inverse=True)
        n = len(delta)
        whole = np.zeros(n, dtype=np.int64)
        return Cells(
            block=whole,
            side=whole.astype(np.int8),
            delta=delta,
            exposure_ms=sums_by(of, self.exposure_ms, n).astype(np.int64),
            events=sums_by(of, self.events, n).astype(np.int64),
            qty=sums_by(of, self.qty, n),
            dt_ms=self.dt_ms,
        )


def pooled(by_distance: Sequence[Cells]) -> Cells:
    """Cells of several runs, by distance each, as one."""
    return Cells(
        block=np.concatenate([cells.block for cells in by_distance]),
        side=np.concatenate([cells.side for cells in by_distance]),
        delta=np.concatenate([cells.delta for cells in by_distance]),
        exposure_ms=np.concatenate([cells.exposure_ms for cells in by_distance]),
        events=np.concatenate([cells.events for cells in by_distance]),
        qty=np.concatenate([cells.qty for cells in by_distance]),
    ).by_distance()


@dataclass(frozen=True)
class _Keys:
    """The cell of each item as one number; what it says of the cell, the other way round."""

    key: Ints
    first_block: int
    places: Places
    size: int

    @classmethod
    def of(cls, block: Ints, side: Sides, level: Ints, parts: Ints) -> _Keys:
        codes, distinct = pd.factorize(Places.of(side, level, parts).code)
        order = np.argsort(distinct)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        first, n = int(block.min()), len(distinct)
        key = (block - first) * n + rank[codes]
        return cls(key, first, Places(distinct[order]), (int(block.max()) - first + 1) * n)

    def summed(self, columns: Sequence[Ints | Floats]) -> tuple[Ints, list[Floats]]:
        """The numbers of the cells that hold anything, and the sums of the columns in each."""
        if self.size <= DENSE * len(self.key) + 10_000:
            cells = np.flatnonzero(np.bincount(self.key, minlength=self.size))
            return cells, [sums_by(self.key, v, self.size)[cells] for v in columns]
        cells, of = np.unique(self.key, return_inverse=True)
        return cells, [sums_by(of, v, len(cells)) for v in columns]

    def cells(self, cells: Ints) -> tuple[Ints, Numbers]:
        """Block and place of the cells with these numbers."""
        block, place = np.divmod(cells, len(self.places.code))
        return block + self.first_block, place.astype(np.int32)


def sum_by_cell(
    block: Ints, side: Sides, level: Ints, parts: Ints, values: tuple[Ints, ...]
) -> Sums:
    """Sum whole numbers by (block, side, level, distance); exact while sums stay below 2**53.

    Parameters
    ----------
    block, side, level, parts : the cell of each item, shape (m,); parts are millionths of a tick.
    values : columns to be summed, shape (m,) each.
    """
    if not len(block):
        return no_sums(len(values))
    keys = _Keys.of(block, side, level, parts)
    cells, columns = keys.summed(values)
    block, place = keys.cells(cells)
    return Sums(block, place, keys.places, np.column_stack(columns).astype(np.int64))


@dataclass
class CellSums:
    """Sums that come in chunk by chunk; memory goes with the number of cells."""

    _chunks: list[Sums] = field(default_factory=list)

    def add(self, chunk: Sums) -> None:
        """One chunk's sums."""
        self._chunks.append(chunk)
        if len(self._chunks) > 2 and sum(len(c.block) for c in self._chunks[1:]) > _MERGE_AT:
            self._chunks = [_merged(self._chunks)]

    def total(self) -> Sums:
        """The sums over all chunks."""
        return _merged(self._chunks)


def _merged(chunks: list[Sums]) -> Sums:
    chunks = [chunk for chunk in chunks if len(chunk.block)] or chunks[:1]
    if len(chunks) == 1:
        return chunks[0]
    values = np.concatenate([c.values for c in chunks])
    return sum_by_cell(
        np.concatenate([c.block for c in chunks]),
        np.concatenate([c.side for c in chunks]),
        np.concatenate([c.level for c in chunks]),
        np.concatenate([c.parts for c in chunks]),
        tuple(values.T),
    )


def to_parts(delta: Floats) -> Ints:
    """Distances in ticks, which are multiples of 1e-6, as millionths of a tick."""
    return np.rint(delta * PARTS_PER_TICK).astype(np.int64)


def make_cells(
    at_risk: Sums,
    block: Ints,
    side: Sides,
    level: Ints,
    delta: Floats,
    qty: Floats | None,
    selection: Selection | None,
) -> Cells:
    """Cells from sums of exposure (their first column) and events, both in range.

    Parameters
    ----------
    at_risk : exposure by cell; signed distances if a selection is given.
    block, side, level, delta, qty : of each event, shape (m,); no qty counts as zero.
    selection : chooses and measures signed distances; None takes all as they are.
    """
    risk_delta, ms = at_risk.delta, at_risk.values[:, 0]
    risk_block, risk_side, risk_level = at_risk.block, at_risk.side, at_risk.level
    qty = np.zeros(len(block)) if qty is None else qty
    if selection is not None:
        cell, event = selection.contains(risk_delta), selection.contains(delta)
        risk_block, risk_side, ms = risk_block[cell], risk_side[cell], ms[cell]
        risk_level = risk_level[cell]
        risk_delta = selection.measure(risk_delta[cell])
        block, side, level, qty = block[event], side[event], level[event], qty[event]
        delta = selection.measure(delta[event])
    m, n = len(ms), len(block)
    blocks = np.concatenate([risk_block, block])
    if not m + n:
        nothing = np.zeros(0, dtype=np.int64)
        none, sides = np.zeros(0), nothing.astype(np.int8)
        return Cells(nothing, sides, none, nothing, nothing, none, level=nothing)
    keys = _Keys.of(
        blocks,
        np.concatenate([risk_side, side]),
        np.concatenate([risk_level, level]),
        np.concatenate([to_parts(risk_delta), to_parts(delta)]),
    )
    none = np.zeros(m, dtype=np.int64)
    cells, (exposure_ms, events, filled) = keys.summed(
        (
            np.concatenate([ms, np.zeros(n, dtype=np.int64)]),
            np.concatenate([none, np.ones(n, dtype=np.int64)]),
            # Events without a quantity make no sum less known.
            np.concatenate([none, np.where(np.isnan(qty), 0.0, qty)]),
        )
    )
    block, place = keys.cells(cells)
    places = keys.places
    return Cells(
        block=block,
        side=places.side[place],
        delta=places.delta[place],
        exposure_ms=exposure_ms.astype(np.int64),
        events=events.astype(np.int64),
        qty=filled,
        level=places.level[place],
    )
