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
from mm.core.concurrency import side_by_side
from mm.tape.first_print import FirstPrint
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
    market = Market.of(tape, times, quoter.latency_ms)

    def of_side(side: int) -> list[Orders]:
        prints = Prints(tape, side, quoter.fill_rule)
        return [place(tape, market, prints, side, one, quoter) for one in quoter.distances]

    bought, sold = side_by_side(
        len(times) * len(quoter.distances), lambda: of_side(1), lambda: of_side(-1)
    )
    orders, fills = [], []
    first_id = 0
    for side, placed in [(1, one) for one in bought] + [(-1, one) for one in sold]:
        ids = np.arange(first_id, first_id + len(placed.placed_ms))
        first_id += len(ids)
        table = _order_rows(placed, ids, side, tape.tick)
        orders.append(table)
        filled = placed.filled_ms < _NEVER
        fills.append(_fill_rows(table[filled], placed.filled_ms[filled]))
    known = tape.quote_ms <= tape.end_ms  # behind the last print nobody knows of fills
    state = pd.DataFrame({"recv_ms": tape.quote_ms[known], "mid": tape.mid[known]})
    return _in_order(orders), _in_order(fills), state


@dataclass(frozen=True)
class Market:
    """What a quoter sees at each quoting time, shape (n,): ``mid``, ``known`` (whether it is), and
    the best quotes when an order arrives, ``bid`` and ``ask``; in exchange ticks."""

    time_ms: Ints
    mid: Floats
    known: Mask
    bid: Floats
    ask: Floats

    @classmethod
    def of(cls, tape: Tape, times: Ints, latency_ms: int) -> Market:
        """At these times, and so many ms later. A mid path knows no quotes to cross."""
        row = np.searchsorted(tape.quote_ms, times, side="right") - 1
        known = (row >= 0) & ~tape.stale(times)
        mid = tape.mid[np.maximum(row, 0)] / tape.tick
        if tape.is_mid:
            return cls(times, mid, known, np.full(len(mid), -np.inf), np.full(len(mid), np.inf))
        row = np.maximum(np.searchsorted(tape.quote_ms, times + latency_ms, side="right") - 1, 0)
        return cls(times, mid, known, tape.bid[row] / tape.tick, tape.ask[row] / tape.tick)


def place(
    tape: Tape, market: Market, prints: Prints, side: int, distance: float, quoter: Quoter
) -> Orders:
    """The orders of one side (+1 BUY) at one distance, in rounds.

    In each round every stretch of quoting times with one price has one order; those that are
    rejected, filled or expire before their stretch ends have another one in the next round."""
    times, ok = market.time_ms, market.known
    wish = market.mid - side * distance / tape.tick
    # A price that lies on the grid is not moved by the last bit of a float.
    price = (np.floor(wish + 1e-6) if side > 0 else np.ceil(wish - 1e-6)).astype(np.int64)
    crosses = side * (price - (market.ask if side > 0 else market.bid)) >= -1e-6
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


class Prints:
    """The prints that can fill orders of one side: those of aggressors of the other side.

    A print between two ticks is at or through the worse one for the order, and strictly through the
    other only. Prices of sells are turned round: lower is further through."""

    def __init__(self, tape: Tape, side: int, rule: FillRule) -> None:
        mine = tape.sold == (side > 0)
        value = side * tape.price[mine] / tape.tick
        ticks = np.ceil(value - 1e-6) if rule == "at" else np.floor(value + 1e-6)
        self._side = side
        self._time = tape.trade_ms[mine]
        self._first = FirstPrint(ticks.astype(np.int64))

    def first(self, start_ms: Ints, stop_ms: Ints, limit: Ints) -> Ints:
        """Time of the first print in [start, stop) at ``limit`` or beyond, int64's largest for
        none; all of shape (n,)."""
        start, stop = np.searchsorted(self._time, start_ms), np.searchsorted(self._time, stop_ms)
        at = self._first(start, stop, self._side * limit)
        return np.append(self._time, _NEVER)[at]


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
    # Of one ms the order of their ids stays.
    return whole.sort_values("recv_ms", kind="stable", ignore_index=True)
