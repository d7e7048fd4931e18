"""Where the consumer's rule draws in a log: one order in one state row, up to its first fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, sums_by
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Sums
from mm.exposure.distance import PARTS_PER_TICK
from mm.exposure.trials import events_at_own_rows
from mm.fitting.fill_model import PoissonFillModel


@dataclass(frozen=True)
class Draws:
    """What any parameters are judged on: where they would have drawn, and what was filled.

    Of each (period, level, distance), shape (n,): ``period``, ``level`` (whole ticks at placement),
    ``delta`` (|ticks|), ``through``: whether mid had run through, ``rows``: state rows of resting
    orders. Of the same in continuous time, shape (r,): ``time_*``, with ``time_s`` that orders
    rested; ``time_period`` is None in a log that was drawn row by row, in which nothing counts as
    run through. Of each first fill at a known mid, shape (m,): ``event_*``. Of each level, shape
    (l,): ``levels``, ``orders`` that rested, ``rest_s`` of them together. ``tick_size``: unit of
    all these distances.
    """

    period: Ints
    level: Ints
    delta: Floats
    through: Mask
    rows: Ints
    time_period: Ints | None
    time_delta: Floats
    time_s: Floats
    event_period: Ints
    event_level: Ints
    event_delta: Floats
    event_through: Mask
    levels: Ints
    orders: Ints
    rest_s: Floats
    tick_size: float

    @classmethod
    def of_log(cls, exposure: Exposure, trials: Sums, drawn: bool = False) -> Draws:
        """From the accounting and its sums of state rows at risk, ``mm.exposure.trials``."""
        number, events, rested = exposure.periods.number, exposure.events, exposure.sums
        if drawn:
            events = events_at_own_rows(exposure)
        known = ~np.isnan(events.delta)
        known_levels = (exposure.sums.level, trials.level, events.level[known])
        levels = np.unique(np.concatenate(known_levels))
        of = np.searchsorted(levels, exposure.sums.level)
        by_run = [account.rested_at for account in exposure.accounts]
        at, n_orders = (np.concatenate(column) for column in zip(*by_run, strict=True))
        return cls(
            period=number[trials.block],
            level=trials.level,
            delta=np.abs(trials.parts) / PARTS_PER_TICK,
            through=(trials.parts < 0) & (not drawn),
            rows=trials.values[:, 0],
            time_period=None if drawn else number[rested.block],
            time_delta=rested.parts / PARTS_PER_TICK,
            time_s=rested.values[:, 0] / 1000.0,
            event_period=number[events.block[known]],
            event_level=events.level[known],
            event_delta=np.abs(events.delta[known]),
            event_through=(events.delta[known] < 0) & (not drawn),
            levels=levels,
            orders=np.array([n_orders[at == level].sum() for level in levels], dtype=np.int64),
            rest_s=sums_by(of, exposure.sums.values[:, 0] / 1000.0, len(levels)),
            tick_size=exposure.tick_size,
        )

    def probability(self, model: PoissonFillModel) -> Floats:
        """Probability of a fill in one draw of each; the model's tick size may differ."""
        return model.probability(self.delta * (self.tick_size / model.tick_size))
