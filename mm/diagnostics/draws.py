"""Where the consumer's rule draws in a log: one order in one state row, up to what filled it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, Numbers, sums_by
from mm.exposure.accounting import Exposure
from mm.exposure.places import Sums
from mm.exposure.trials import events_at_own_rows
from mm.fitting.fill_model import PoissonFillModel


@dataclass(frozen=True)
class Draws:
    """What any parameters are judged on: where they would have drawn, and what was filled.

    Of each (period, place), shape (n,): ``period``, ``place``, and ``rows``: state rows of resting
    orders. Of each place, shape (p,): ``level`` (whole ticks at placement), ``delta`` (|ticks|).
    The same in continuous time: ``time_*``, with ``time_s`` that orders rested, and ``time_delta``,
    signed; ``time_period`` is None in a log that was drawn row by row, in which nothing counts as
    run through. Of each first fill at a known mid, shape (m,): ``event_*``, with ``event_through``:
    whether mid had run through. Of each level, shape (l,): ``levels``, ``orders`` that rested,
    ``rest_s`` of them together. ``tick_size``: unit of all these distances.
    """

    period: Numbers
    place: Numbers
    rows: Ints
    level: Ints
    delta: Floats
    time_period: Numbers | None
    time_place: Numbers
    time_s: Floats
    time_delta: Floats
    event_period: Numbers
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
        number = exposure.periods.number.astype(np.int32)
        events, rested = exposure.events, exposure.sums
        if drawn:
            events = events_at_own_rows(exposure)
        known = ~np.isnan(events.delta)
        known_levels = [sums.places.level[sums.occupied] for sums in (rested, trials)]
        levels = np.unique(np.concatenate([*known_levels, events.level[known]]))
        of = np.searchsorted(levels, rested.places.level)
        time_s = rested.values[:, 0] / 1000.0
        by_run = [account.rested_at for account in exposure.accounts]
        at, n_orders = (np.concatenate(column) for column in zip(*by_run, strict=True))
        return cls(
            period=number[trials.block],
            place=trials.place,
            rows=trials.values[:, 0],
            level=trials.places.level,
            delta=np.abs(trials.places.delta),
            time_period=None if drawn else number[rested.block],
            time_place=rested.place,
            time_s=time_s,
            time_delta=rested.places.delta,
            event_period=number[events.block[known]],
            event_level=events.level[known],
            event_delta=np.abs(events.delta[known]),
            event_through=(events.delta[known] < 0) & (not drawn),
            levels=levels,
            orders=np.array([n_orders[at == level].sum() for level in levels], dtype=np.int64),
            rest_s=sums_by(of[rested.place], time_s, len(levels) + 1)[:-1],
            tick_size=exposure.tick_size,
        )

    def probability(self, model: PoissonFillModel) -> Floats:
        """Probability of a fill in one draw at each place; the model's tick size may differ."""
        return model.probability(self.delta * (self.tick_size / model.tick_size))
