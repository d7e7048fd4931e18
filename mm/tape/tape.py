"""A market's tape: its prints, and the best bid and ask between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from mm.core.arrays import Floats, Ints, Mask


@dataclass(frozen=True)
class Tape:
    """Times in ms since the epoch, in order, prices in quote currency.

    Of each print, shape (n,): ``trade_ms``, ``price``, ``sold`` (whether the aggressor sold). Of
    each change of the best quotes, shape (m,), one a ms: ``quote_ms``, ``bid``, ``ask``; with
    ``is_mid`` only mid is known, and both are that. ``tick``: the grid that orders lie on.
    ``gap_start_ms``, ``gap_end_ms``: where prints or quotes are missing, (g,).
    ``max_quote_age_ms``: quotes older than this are no market. ``said``: what was noticed in
    reading."""

    trade_ms: Ints
    price: Floats
    sold: Mask
    quote_ms: Ints
    bid: Floats
    ask: Floats
    tick: float
    is_mid: bool = False
    max_quote_age_ms: int = 5000
    gap_start_ms: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    gap_end_ms: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    said: tuple[str, ...] = ()

    @property
    def mid(self) -> Floats:
        """(bid + ask)/2, free of the last bits that sums of decimals leave."""
        mid = (self.bid + self.ask) / 2.0
        return np.asarray(np.round(mid, 14 - math.floor(math.log10(mid.max()))))

    @property
    def start_ms(self) -> int:
        """From when both prints and quotes are known."""
        return int(max(self.trade_ms[0], self.quote_ms[0]))

    @property
    def end_ms(self) -> int:
        """Until when both are known."""
        return int(min(self.trade_ms[-1], self.quote_ms[-1]))

    @property
    def span(self) -> int:
        """Time from the first print to the last, ms."""
        return int(self.trade_ms[-1] - self.trade_ms[0])

    @property
    def unknown(self) -> float:
        """Share of it in which the market is not known, looked at once a second."""
        times = np.arange(self.trade_ms[0], self.trade_ms[-1] + 1, 1000)
        outside = (times < self.start_ms) | (times > self.end_ms)
        return float((outside | self.stale(times)).mean())

    def first(self, span_ms: int) -> Tape:
        """So much of its beginning."""
        n, m = (
            int(np.searchsorted(time, self.start_ms + span_ms))
            for time in (self.trade_ms, self.quote_ms)
        )
        return replace(
            self,
            trade_ms=self.trade_ms[:n],
            price=self.price[:n],
            sold=self.sold[:n],
            quote_ms=self.quote_ms[:m],
            bid=self.bid[:m],
            ask=self.ask[:m],
        )

    def quoting_times(self, every_ms: int) -> Ints:
        """Every so many ms from the first to the last ms at which prints and quotes are known.

        The rows of a mid path are the market's ticks: a quoter acts at the first one that is no
        less than so many ms behind the last it acted at, as backtesters do."""
        if not self.is_mid:
            return np.arange(self.start_ms, self.end_ms, every_ms, dtype=np.int64)
        rows = self.quote_ms[slice(*np.searchsorted(self.quote_ms, (self.start_ms, self.end_ms)))]
        later = np.searchsorted(rows, rows + every_ms).tolist()
        kept, row = [], 0
        while row < len(rows):
            kept.append(row)
            row = later[row]
        return np.asarray(rows[kept])

    def stale(self, time_ms: Ints) -> Mask:
        """Whether the market is not known: the last quote is too old, or a gap is there."""
        row = np.maximum(np.searchsorted(self.quote_ms, time_ms, side="right") - 1, 0)
        inside = np.searchsorted(self.gap_start_ms, time_ms, side="right") > np.searchsorted(
            self.gap_end_ms, time_ms, side="right"
        )
        return np.asarray((time_ms - self.quote_ms[row] > self.max_quote_age_ms) | inside)

    def in_gap(self, before_ms: Ints, after_ms: Ints) -> Mask:
        """Whether a gap begins in (before, after]."""
        first = np.searchsorted(self.gap_start_ms, before_ms, side="right")
        return np.asarray(first < np.searchsorted(self.gap_start_ms, after_ms, side="right"))

    def next_gap(self, time_ms: Ints) -> Ints:
        """When the next gap begins, int64's largest for never."""
        starts = np.append(self.gap_start_ms, np.iinfo(np.int64).max)
        return np.asarray(starts[np.searchsorted(self.gap_start_ms, time_ms, side="right")])
