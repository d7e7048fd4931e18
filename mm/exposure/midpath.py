"""The mid path: what the mid was in every millisecond, and where nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mm.core.arrays import Floats, Ints, distinct, repeats

#: State of a stretch of the mid path.
KNOWN, BEFORE_FIRST, OUTAGE = 0, 1, 2
#: Rows that are looked at at a time: their arrays stay in the cache.
_SLICE = 1 << 16
_BEGIN, _END = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class MidPath:
    """Stretches of constant mid and block.

    ``borders``: int64 (m + 1,), increasing: where each stretch starts, the first at minus
    infinity, and at last infinity. ``mid``: quote currency,
    NaN where unknown. ``status``: KNOWN, BEFORE_FIRST or OUTAGE. ``block``: int32, number of the
    time block within the run. ``row_ms``, ``row_mid``: every state row as written (for per-tick
    draws, where each row is a trial). ``overruled``: positions of all rows whose mid is not the
    path's in their ms, because a later row of the ms counts or because it is unknown; others may
    be among them.
    """

    borders: Ints
    mid: Floats
    status: npt.NDArray[np.int8]
    block: npt.NDArray[np.int32]
    row_ms: Ints
    row_mid: Floats
    overruled: Ints

    @property
    def start_ms(self) -> Ints:
        """Where each stretch starts."""
        return self.borders[:-1]

    @property
    def stop_ms(self) -> Ints:
        """Where each stretch ends; the last one never does."""
        return self.borders[1:]

    @property
    def n_blocks(self) -> int:
        """Number of time blocks; those of the next run are counted on from it."""
        return int(self.block[-1]) + 1

    @cached_property
    def first_row(self) -> npt.NDArray[np.int32]:
        """The first state row at or behind each stretch's start, and the number of rows."""
        at = np.full(len(self.borders), len(self.row_ms), dtype=np.int32)
        for low in range(0, len(at) - 1, _SLICE):
            some = slice(low, min(low + _SLICE, len(at) - 1))
            at[some] = np.searchsorted(self.row_ms, self.borders[some], side="left")
        return at

    def just_before(self, time_ms: Ints) -> npt.NDArray[np.intp]:
        """Stretch that holds in the last instant before each time.

        A tick's state row is written after the tick's fills: a fill saw the row strictly before
        it.
        """
        return np.searchsorted(self.start_ms, time_ms, side="left") - 1

    @property
    def block_start_ms(self) -> Ints:
        """Where each block starts; the first at the first state row."""
        new = np.flatnonzero(self.block[1:] != self.block[:-1]) + 1
        return np.concatenate([self.start_ms[1:2], self.start_ms[new]])


def mid_path(
    row_ms: Ints, row_mid: Floats, *, end_ms: int, max_gap_ms: int, block_ms: int
) -> MidPath:
    """Mid path of one run from its state rows (time-ordered; at one ms the last row counts).

    A row holds until the next, at most ``max_gap_ms``; after that, also behind the last row, is
    an outage. Blocks of ``block_ms`` are counted from the first row up to ``end_ms``.
    """
    time, mid, overruled = row_ms, row_mid, np.zeros(0, dtype=np.int64)
    if repeats(row_ms):
        last_of_ms = np.append(row_ms[1:] != row_ms[:-1], True)
        time, mid = row_ms[last_of_ms], row_mid[last_of_ms]
        overruled = np.flatnonzero(~last_of_ms)
    changes = np.ones(len(time), dtype=np.bool_)
    silent = np.ones(len(time), dtype=np.bool_)
    # Only rows that change something begin a stretch: long logs repeat the same mid.
    for low in range(0, len(time) - 1, _SLICE):
        t, m = time[low : low + _SLICE + 1], mid[low : low + _SLICE + 1]
        gap = silent[low : low + len(t) - 1]
        np.greater(np.diff(t), max_gap_ms, out=gap)
        np.logical_or(m[1:] != m[:-1], gap, out=changes[low + 1 : low + len(t)])
    blocks = np.arange(time[0], max(end_ms, time[-1]) + 1, block_ms, dtype=np.int64)
    ends = np.array([_BEGIN, _END])
    borders = np.concatenate([ends, time[changes], time[silent] + max_gap_ms, blocks])
    del changes, silent
    borders.sort(kind="stable")  # in place: long logs have millions of them
    borders = distinct(borders)
    n = len(borders) - 1
    path = MidPath(
        borders=borders,
        mid=np.full(n, np.nan),
        status=np.full(n, BEFORE_FIRST, dtype=np.int8),
        block=np.zeros(n, dtype=np.int32),
        row_ms=row_ms,
        row_mid=row_mid,
        overruled=overruled,
    )
    for low in range(1, n, _SLICE):
        some = slice(low, min(low + _SLICE, n))
        starts = borders[some]
        row = np.searchsorted(time, starts, side="right") - 1
        outage = starts - time[row] >= max_gap_ms
        path.mid[some] = np.where(outage, np.nan, mid[row])
        path.status[some] = np.where(outage, OUTAGE, KNOWN)
        # What is behind the run's end is in no block of its own.
        path.block[some] = np.minimum((starts - time[0]) // block_ms, len(blocks) - 1)
    return path


def blinded(path: MidPath, blind_ms: Ints) -> MidPath:
    """The same path with no mid from each of these times to the next state row behind it.

    What a malformed row would have said nobody knows; the mid before it must not live on.
    """
    if not len(blind_ms):
        return path
    row_ms = path.row_ms
    blind_ms = blind_ms[blind_ms >= row_ms[0]]
    ends_at = np.searchsorted(row_ms, blind_ms, side="right")
    back = row_ms[np.minimum(ends_at, len(row_ms) - 1)]
    until = np.where(ends_at < len(row_ms), back, _END)
    starts = np.unique(np.concatenate([path.start_ms, blind_ms, until[until < _END]]))
    was = np.searchsorted(path.start_ms, starts, side="right") - 1
    last = np.searchsorted(blind_ms, starts, side="right") - 1
    at_once = np.searchsorted(row_ms, blind_ms, side="left")
    hidden = [np.arange(low, high) for low, high in zip(at_once, ends_at, strict=True)]
    blind = (last >= 0) & (starts < np.append(until, _BEGIN)[last])
    return MidPath(
        borders=np.append(starts, _END),
        mid=np.where(blind, np.nan, path.mid[was]),
        status=np.where(blind, OUTAGE, path.status[was]).astype(np.int8),
        block=path.block[was],
        row_ms=path.row_ms,
        row_mid=path.row_mid,
        overruled=np.unique(np.concatenate([path.overruled, *hidden])),
    )
