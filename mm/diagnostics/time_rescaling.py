"""The rescaled clock: time counted in expected events of all orders at risk together."""

from __future__ import annotations

import numpy as np

from mm.core.arrays import Floats, Ints, sums_by


class Clock:
    """What the clock advances between events, summed from pieces of time in any order.

    ``times``: of the events, in order, ms, shape (n,). Memory goes with n alone.
    """

    def __init__(self, times: Floats) -> None:
        self._times = times
        # Of each gap, ended by its event: what of it begins or ends inside; the last is behind all.
        self._inside = np.zeros(len(times) + 1)
        # Change of the rate of pieces that cover a whole gap, from one gap to the next.
        self._change = np.zeros(len(times) + 1)

    def add(self, start_ms: Ints, stop_ms: Ints, rate: Floats) -> None:
        """Pieces [start_ms, stop_ms) at a rate per ms, shape (m,)."""
        times, n = self._times, len(self._times)
        first = np.searchsorted(times, start_ms, side="right")
        last = np.searchsorted(times, stop_ms, side="left")
        ends = np.append(times, np.inf)
        self._inside += sums_by(first, rate * (np.minimum(stop_ms, ends[first]) - start_ms), n + 1)
        over = np.flatnonzero(last > first)
        first, last, rate = first[over], last[over], rate[over]
        tail = rate * (stop_ms[over] - times[last - 1])
        self._inside += sums_by(last, tail, n + 1)
        self._change += sums_by(first + 1, rate, n + 1) - sums_by(last, rate, n + 1)

    def gaps(self) -> Floats:
        """What the clock advanced from each event to the next, the first from 0; shape (n,)."""
        lengths = np.diff(self._times, prepend=self._times[:1])
        return np.asarray(self._inside[:-1] + np.cumsum(self._change)[:-1] * lengths)
