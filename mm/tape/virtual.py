"""Virtual orders: what a quoter's orders would have met on a trade tape.

At every quoting time, on both sides and at each distance delta of a ladder, the price is mid -/+
delta, rounded away from mid to the exchange's tick. An order at that price arrives LATENCY_MS
later. If it would take the best quote of that moment it is rejected, as a post-only order is;
else it rests while the price at each quoting time stays the same, and is then cancelled,
effective CANCEL_LATENCY_MS later. It expires HORIZON_MS after it became active. Its event is the
first print of an aggressor of the other side at its price or through it (``at``, the front of
the queue), or strictly through it (``through``, the back). Nothing is placed again before the
next quoting time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask
from mm.tape.tape import Tape

FillRule = Literal["at", "through"]
#: What the fills of virtual orders give as their reason.
REASON = "virtual"
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Quoter:
    """How virtual orders are placed. ``distances``: of the ladder, quote currency; times in ms."""

    distances: tuple[float, ...]
    requote_ms: int
    horizon_ms: int
    latency_ms: int
    cancel_latency_ms: int
    fill_rule: FillRule


@dataclass(frozen=True)
class Orders:
    """Virtual orders of one side and distance by the time they were placed. Arrays of shape (n,):
    ``placed_ms``, ``active_ms``, ``cancelled_ms``, ``expired_ms`` and ``filled_ms`` (the largest
    int64 for never), ``price`` in exchange ticks, ``rejected``: whether it arrived across the
    spread, and so never rested."""

    placed_ms: Ints
    active_ms: Ints
    cancelled_ms: Ints
    expired_ms: Ints
    filled_ms: Ints
    price: Ints
    rejected: Mask


def virtual_tables(
    tape: Tape, quoter: Quoter, quote_ms: Ints | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Orders, fills and state rows as a backtester would have logged them.

    ``quote_ms``: the quoting times; None takes every ``requote_ms`` of the tape's time.
    """
    times = tape.quoting_times(quoter.requote_ms) if quote_ms is None else quote_ms
    orders, fills = [], []
    first_id = 0
    for side in (1, -1):
        prints = Prints.of(tape, side, quoter.fill_rule)
        for distance in quoter.distances:
            placed = place(tape, prints, side, distance, times, quoter)
            ids = np.arange(first_id, first_id + len(placed.placed_ms))
            first_id += len(ids)
            table = _order_rows(placed, ids, side, tape.tick)
            orders.append(table)
            filled = placed.filled_ms < _NEVER
            fills.append(_fill_rows(table[filled], placed.filled_ms[filled]))
    known = tape.quote_ms <= tape.end_ms  # behind the last print nobody knows of fills
    state = pd.DataFrame({"recv_ms": tape.quote_ms[known], "mid": tape.mid[known]})
    return _in_order(orders), _in_order(fills), state


def place(
    tape: Tape, prints: Prints, side: int, distance: float, times: Ints, quoter: Quoter
) -> Orders:
    """The orders of one side (+1 BUY) at one distance, in rounds.

    In each round every stretch of quoting times with one price has one order; those that are
    rejected, filled or expire before their stretch ends have another one in the next round."""
    price, ok = _quoted(tape, side, distance, times)
    crosses = _crosses(tape, side, price, times + quoter.latency_ms)
    # Stretches [first, last] of quoting times at one price, none over a gap in the tape.
    new = np.append(True, (price[1:] != price[:-1]) | ~ok[1:] | ~ok[:-1])
    new |= tape.in_gap(np.append(times[:1], times[:-1]), times)
    begins = np.flatnonzero(new)
    behind = np.append(begins[1:], len(times))
    begins, behind = begins[ok[begins]], behind[ok[begins]]
    # A requote at another price cancels; at the tape's end nothing does.
    requoted = np.append(times, _NEVER)[behind]
    cancel = np.where(requoted < _NEVER, requoted + quoter.cancel_latency_ms, _NEVER)
    cancel = np.minimum(cancel, tape.next_gap(times[begins]))
    done: list[tuple[Any, ...]] = []
    at = begins
    stretch = np.arange(len(begins))
    while len(at):
        placed, rejected = times[at], crosses[at]
        active = placed + quoter.latency_ms
        expired = active + quoter.horizon_ms
        stop = np.minimum(np.minimum(cancel[stretch], expired), tape.end_ms + 1)
        stop = np.where(rejected, active, stop)
        limit = price[at] if quoter.fill_rule == "at" else price[at] - side
        filled = prints.first(active, stop, limit)
        done.append((placed, active, cancel[stretch], expired, filled, price[at], rejected))
        # The order that follows an expired one is active when that one ends.
        ended = np.where(filled < _NEVER, filled + 1, placed + quoter.horizon_ms)
        ended = np.where(rejected, placed + 1, ended)
        at = np.searchsorted(times, ended, side="left")
        again = at < behind[stretch]
        at, stretch = at[again], stretch[again]
    if not done:
        none = np.zeros(0, dtype=np.int64)
        return Orders(none, none, none, none, none, none, np.zeros(0, dtype=np.bool_))
    columns = [np.concatenate(part) for part in zip(*done, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Orders(*(column[order] for column in columns))


def _quoted(tape: Tape, side: int, distance: float, times: Ints) -> tuple[Ints, Mask]:
    """The price at each quoting time in exchange ticks, and whether the mid is known there."""
    row = np.searchsorted(tape.quote_ms, times, side="right") - 1
    known = (row >= 0) & ~tape.stale(times)
    wish = (tape.mid[np.maximum(row, 0)] - side * distance) / tape.tick
    # A price that lies on the grid is not moved by the last bit of a float.
    price = np.floor(wish + 1e-6) if side > 0 else np.ceil(wish - 1e-6)
    return price.astype(np.int64), known


def _crosses(tape: Tape, side: int, price: Ints, arrival_ms: Ints) -> Mask:
    """Whether an order that arrives then would take the best quote of the other side; a mid path
    knows none."""
    if tape.is_mid:
        return np.zeros(len(price), dtype=np.bool_)
    row = np.maximum(np.searchsorted(tape.quote_ms, arrival_ms, side="right") - 1, 0)
    other = tape.ask if side > 0 else tape.bid
    return np.asarray(side * (price - other[row] / tape.tick) >= -1e-6)


@dataclass(frozen=True)
class Prints:
    """The prints that can fill orders of one side: ``time_ms`` in order, ``value``: price in
    exchange
    ticks, its sign turned for SELL orders, so that lower is further through."""

    side: int
    time_ms: Ints
    value: Ints

    @classmethod
    def of(cls, tape: Tape, side: int, rule: FillRule) -> Prints:
        """Of aggressors of the other side. A print between two ticks is at or through the worse one
        for the order, and strictly through the other only."""
        mine = tape.sold == (side > 0)
        value = side * tape.price[mine] / tape.tick
        ticks = np.ceil(value - 1e-6) if rule == "at" else np.floor(value + 1e-6)
        return cls(side, tape.trade_ms[mine], ticks.astype(np.int64))

    def first(self, start_ms: Ints, stop_ms: Ints, limit: Ints) -> Ints:
        """Time of the first print in [start, stop) at ``limit`` or beyond, int64's largest for
        none;
        all of shape (n,).

        Binary search by powers of two on minima of 2^l prints, O(n log w) for windows of w prints.
        """
        start = np.searchsorted(self.time_ms, start_ms, side="left")
        stop = np.maximum(np.searchsorted(self.time_ms, stop_ms, side="left"), start)
        least = self.side * limit
        widest = int((stop - start).max(initial=0))
        levels = [self.value]
        while 2 ** len(levels) <= widest:
            half = 2 ** (len(levels) - 1)
            levels.append(np.minimum(levels[-1][:-half], levels[-1][half:]))
        at = start.copy()
        for level in range(len(levels) - 1, -1, -1):
            ahead = at + 2**level <= stop
            lowest = levels[level][np.minimum(at, len(levels[level]) - 1)] if widest else at
            at = np.where(ahead & (lowest > least), at + 2**level, at)
        found = np.full(len(at), _NEVER)
        there = at < stop
        found[there] = self.time_ms[at[there]]
        return found


def _order_rows(orders: Orders, ids: Ints, side: int, tick: float) -> pd.DataFrame:
    """A PLACE row an order, with when it ends if no print does."""
    ends = [
        np.where((time < _NEVER) & ~orders.rejected, time, np.nan)
        for time in (orders.expired_ms, orders.cancelled_ms)
    ]
    return pd.DataFrame(
        {
            "recv_ms": orders.placed_ms,
            "order_id": ids,
            "action": _all("PLACE", len(ids)),
            "status": _words(orders.rejected.astype(np.int8), "OPEN", "REJECTED"),
            "side": _words(np.full(len(ids), 0 if side > 0 else 1, dtype=np.int8), "BUY", "SELL"),
            "price": rounded_prices(orders.price, tick),
            "active_recv_ms": orders.active_ms.astype(np.float64),
            "expire_recv_ms": ends[0],
            "cancel_effective_ms": ends[1],
        }
    )


def _all(word: str, n: int) -> Any:
    """A column of one word."""
    return _words(np.zeros(n, dtype=np.int8), word)


def _words(codes: npt.NDArray[np.int8], *words: str) -> Any:
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(words)))


def rounded_prices(ticks: Ints, tick: float) -> Floats:
    """Ticks as the decimal prices they are."""
    decimals = max(0, -int(np.floor(np.log10(tick))) + 2)
    return np.asarray(np.round(ticks * tick, decimals))


def _fill_rows(orders: pd.DataFrame, filled_ms: Ints) -> pd.DataFrame:
    fills = orders[["order_id", "side", "price"]].assign(
        recv_ms=filled_ms, reason=_all(REASON, len(orders))
    )
    return fills[["recv_ms", "order_id", "side", "price", "reason"]]


def _in_order(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = pd.concat(tables, ignore_index=True)
    return whole.sort_values(["recv_ms", "order_id"], kind="stable", ignore_index=True)
