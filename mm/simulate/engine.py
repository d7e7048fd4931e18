"""The exchange and the quoting policy: what becomes of each order of each quote slot.

A slot is one side at one distance. It has one order at a time; given the market, slots do not
influence each other. At a tick (a state row) fills come first, then cancels and placements.
Times are ms since the epoch, prices half price grids, quantities lots.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from mm.simulate.market import Market
from mm.simulate.scenario import SIDES, Scenario, Side

SAME_MS_SHARE = 0.6  # of the prints after an order's first: in the same ms as the one before
PRINT_GAP_MS = 150.0  # mean wait for the others, ms


@dataclass(slots=True)
class Order:
    """One placement and what became of it. A time is None where the thing did not happen."""

    side: Side
    price: int
    place_ms: int
    active_ms: int
    expire_ms: int | None
    rejected: bool = False
    cancel_req_ms: int | None = None
    cancel_effective_ms: int | None = None
    gone_ms: int | None = None  # when the log says that it expired or was cancelled
    complete_ms: int | None = None
    prints: list[tuple[int, int]] = field(default_factory=list)  # (ms, lots)

    @property
    def closed_ms(self) -> int | None:
        """When the log shows the order's end, if it does."""
        return self.complete_ms if self.complete_ms is not None else self.gone_ms

    @property
    def expires_first(self) -> bool:
        """Whether its TTL ends the order rather than a cancel."""
        return self.expire_ms is not None and (
            self.cancel_effective_ms is None or self.expire_ms < self.cancel_effective_ms
        )


class Exchange:
    """Rests orders in a given market and draws their fills from the scenario's truth."""

    def __init__(self, scenario: Scenario, market: Market, rng: np.random.Generator) -> None:
        self.scenario = scenario
        self.market = market
        self.rng = rng
        # bisecting a list is several times faster than searchsorted for a single number
        self._ticks: list[int] = market.tick_ms.tolist()
        self._replace_row: dict[int, int] = {}

    def run(self) -> list[Order]:
        """Quote every slot from the first row to the last; orders come slot by slot."""
        return [
            order
            for delta in self.scenario.deltas_ticks
            for side in SIDES
            for order in self._quote(side, delta)
        ]

    def _quote(self, side: Side, delta_ticks: float) -> list[Order]:
        orders: list[Order] = []
        row = 0
        while row < len(self._ticks):
            order = self._place(row, side, delta_ticks)
            orders.append(order)
            row = row + 1 if order.rejected else self._live(order, row)
        return orders

    def _place(self, row: int, side: Side, delta_ticks: float) -> Order:
        s = self.scenario
        away = delta_ticks * s.half_grids_per_tick
        # 1e-6 keeps a target that lies on the grid there despite the rounding of its product
        if side == "BUY":
            price = 2 * math.floor((self.market.mid[row] - away) / 2.0 + 1e-6)
        else:
            price = 2 * math.ceil((self.market.mid[row] + away) / 2.0 - 1e-6)
        place_ms = self._ticks[row]
        active_ms = place_ms + s.activate_ms
        return Order(
            side=side,
            price=price,
            place_ms=place_ms,
            active_ms=active_ms,
            expire_ms=None if s.ttl_ms is None else active_ms + s.ttl_ms,
            rejected=s.reject_share > 0 and bool(self.rng.random() < s.reject_share),
        )

    def _live(self, order: Order, row: int) -> int:
        """Rest the order that was placed at `row` to its end; return the row of its successor."""
        n = len(self._ticks)
        expire_row = n if order.expire_ms is None else bisect_left(self._ticks, order.expire_ms)
        replace_row = self._row_of_replacement(row)
        end_ms = self._ticks[-1]
        if replace_row < expire_row:
            order.cancel_req_ms = self._ticks[replace_row]
            order.cancel_effective_ms = order.cancel_req_ms + self.scenario.cancel_ms
            end_ms = min(end_ms, order.cancel_effective_ms)
        if order.expire_ms is not None:
            end_ms = min(end_ms, order.expire_ms)

        first_ms = self._first_fill(order, end_ms)
        if first_ms is not None:
            order.prints = self._prints(first_ms, end_ms)
        successor = min(replace_row, expire_row)
        if sum(lots for _, lots in order.prints) == self.scenario.quote_lots:
            order.complete_ms = order.prints[-1][0]
            done_row = bisect_left(self._ticks, order.complete_ms)
            if done_row <= successor:  # complete before anybody asked for its cancel
                order.cancel_req_ms = order.cancel_effective_ms = None
                return done_row
        else:
            gone_row = bisect_left(self._ticks, end_ms)
            if end_ms in (order.cancel_effective_ms, order.expire_ms) and gone_row < n:
                order.gone_ms = self._ticks[gone_row]
        return successor

    def _row_of_replacement(self, row: int) -> int:
        """Return the first row after `row` where its quote is too old or the mid too far."""
        known = self._replace_row.get(row)
        if known is not None:
            return known
        s = self.scenario
        found = max(row + 1, bisect_left(self._ticks, self._ticks[row] + s.dwell_ms))
        if s.requote_ticks is not None:
            moved = np.abs(self.market.mid[row + 1 : found] - self.market.mid[row])
            far = moved > s.requote_ticks * s.half_grids_per_tick
            if far.any():
                found = row + 1 + int(far.argmax())
        self._replace_row[row] = found
        return found

    def _first_fill(self, order: Order, end_ms: int) -> int | None:
        """Draw the ms of the first fill of an order resting in [active_ms, end_ms), or None.

        The order fills when its cumulative hazard reaches an Exp(1) draw. Per tick the hazard
        grows by lambda*dt at each row, which makes every row an independent trial of
        p = 1 - exp(-lambda*dt). In continuous time a fill in (ms - 1, ms] is stamped ms: it
        sees the last row strictly before it, and no fill carries the ms of activation.
        """
        per_tick = self.scenario.fill_mode == "per_tick"
        if per_tick:
            first = bisect_left(self._ticks, order.active_ms)
        else:
            first = bisect_right(self._ticks, order.active_ms) - 1
        stop = bisect_left(self._ticks, end_ms)
        if order.active_ms >= end_ms or first >= stop:
            return None
        m, s = self.market, self.scenario
        inward = (m.mid[first:stop] - order.price) / s.half_grids_per_tick
        rate = m.activity[first:stop] * s.intensity(
            inward if order.side == "BUY" else -inward, order.side
        )
        if per_tick:
            rest_ms = np.full(stop - first, float(s.dt_ms))
        else:
            rest_ms = m.hold_ms[first:stop].copy()
            before = min(order.active_ms - self._ticks[first], rest_ms[0])
            after = max(self._ticks[stop - 1] + rest_ms[-1] - end_ms, 0.0)
            rest_ms[0] -= before
            rest_ms[-1] -= after
        hazard = np.cumsum(rate * rest_ms) / 1000.0
        draw = self.rng.standard_exponential()
        if draw >= hazard[-1]:
            return None
        i = int(np.searchsorted(hazard, draw, side="right"))
        if per_tick:
            return self._ticks[first + i]
        spent = hazard[i - 1] if i else 0.0
        into_ms = math.ceil((draw - spent) / rate[i] * 1000.0)
        row_start = order.active_ms if i == 0 else self._ticks[first + i]
        return int(row_start + min(max(into_ms, 1), rest_ms[i]))

    def _prints(self, first_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """Split a fill into prints: whole at once, or equal sizes of which the last come later."""
        s, rng = self.scenario, self.rng
        if s.partial_share == 0 or rng.random() >= s.partial_share:
            return [(first_ms, s.quote_lots)]
        size = int(rng.integers(1, s.quote_lots // 2 + 1))
        ms, left, prints = first_ms, s.quote_lots, list[tuple[int, int]]()
        while left:
            prints.append((ms, min(size, left)))
            left -= min(size, left)
            if rng.random() >= SAME_MS_SHARE or left <= size:
                ms += math.ceil(rng.exponential(PRINT_GAP_MS))
            if ms > end_ms or self._is_silent(ms):
                break
        return prints

    def _is_silent(self, ms: int) -> bool:
        row = bisect_left(self._ticks, ms) - 1
        return bool(ms - self._ticks[row] > self.market.hold_ms[row])
