"""The definitions of docs/code.md once more: slow, obvious and without a line of `mm`.

Plain loops over orders and state rows, integer milliseconds, distances as exact decimals in
millionths of a tick. What the fast accounting is held against, key by key.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pandas as pd

#: (run, block in the run, "BUY" or "SELL", distance in millionths of a tick, level)
Key = tuple[int, int, str, int, int]
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
Row = dict[str, Any]

USED_ACTIONS = ("PLACE", "AMEND", "CANCEL_REQ", "CANCEL_ACK", "FILL", "CLOSE_FILLED", "EXPIRE")
ENDS = ("first fill", "cancel", "expiry", "end of run", "a new price")


@dataclass
class Sums:
    """Exact sums over all runs; empty keys are left out."""

    exposure_ms: Counter[Key] = field(default_factory=Counter)
    events: Counter[Key] = field(default_factory=Counter)
    trials: Counter[Key] = field(default_factory=Counter)  # up to the fill's row
    at_risk: Counter[Key] = field(default_factory=Counter)  # up to the fill's draw
    trial_events: Counter[Key] = field(default_factory=Counter)
    order_ms: Counter[str] = field(default_factory=Counter)
    fill_rows: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    pairs: int = 0  # (order, state row) pairs inside the used exposure
    n_blocks: list[int] = field(default_factory=list)  # by run


@dataclass
class Rules:
    """The settings of the accounting."""

    tick_size: float = 1.0
    max_gap_ms: int = 5000
    block_ms: int = 60_000
    min_ticks: float = 0.0
    max_ticks: float = 50.0
    signed: bool = False

    def micro(self, side: str, price: float, mid: float) -> int:
        """Distance in millionths of a tick, by the convention."""
        away = Decimal(repr(mid)) - Decimal(repr(price))
        if side == "SELL":
            away = -away
        if not self.signed:
            away = abs(away)
        ticks = away / Decimal(repr(self.tick_size)) * 1_000_000
        return int(ticks.quantize(Decimal(1), ROUND_HALF_EVEN))

    def in_range(self, micro: int) -> bool:
        """Whether MIN_DELTA_TICKS <= distance <= MAX_DELTA_TICKS."""
        return self.min_ticks * 1e6 <= micro <= self.max_ticks * 1e6


@dataclass
class Order:
    """One accepted order and its resting interval [start, end)."""

    side: str
    price: float
    start: int
    end: int
    first_fill: int | None
    fate: str  # of the first fill: "none", "event", "early" or "late"
    level: int  # whole ticks from mid at placement; -1 where nobody knows


def account(runs: Sequence[Frames], rules: Rules) -> Sums:
    """Exposure, events, trials and every count of all runs."""
    sums = Sums()
    for number, frames in enumerate(runs):
        _account_run(number, frames, rules, sums)
    return sums


def _account_run(number: int, frames: Frames, rules: Rules, sums: Sums) -> None:
    orders, fills, state = ([_whole(row) for row in t.to_dict("records")] for t in frames)
    end_of_run = max(row["recv_ms"] for table in (orders, fills, state) for row in table)

    # The mid path: of rows that share a ms the last in the file counts.
    mid_at: dict[int, float] = {}
    for row in state:
        mid_at[row["recv_ms"]] = float(row["mid"])
    times = sorted(mid_at)
    zero = times[0]
    rows_at = Counter(row["recv_ms"] for row in state)
    state.sort(key=lambda row: row["recv_ms"])  # stable: file order within a ms
    sums.n_blocks.append((max(end_of_run, times[-1]) - zero) // rules.block_ms + 1)

    placed: dict[Any, Row] = {}
    rejected = set()
    for row in orders:
        if row["action"] == "PLACE":
            if row.get("status") == "REJECTED":
                rejected.add(row["order_id"])
                sums.orders["rejected (no interval)"] += 1
            else:
                placed.setdefault(row["order_id"], row)
        elif row["action"] not in USED_ACTIONS:
            sums.ignored[row["action"]] += 1
    rows_of: dict[Any, list[Row]] = {}
    for row in orders:
        rows_of.setdefault(row["order_id"], []).append(row)
    fills_of: dict[Any, list[Row]] = {}
    for row in fills:
        fills_of.setdefault(row["order_id"], []).append(row)

    def block(time: int) -> int:
        return (time - zero) // rules.block_ms

    for order_id, place in placed.items():
        sums.orders["accepted"] += 1
        prints = fills_of.pop(order_id, [])
        pieces = _pieces(place, rows_of[order_id], prints)
        for n, piece in enumerate(pieces):
            until = pieces[n + 1]["start"] if n + 1 < len(pieces) else None
            own = prints if until is None else []
            order = _life(piece, rows_of[order_id], own, end_of_run, until, sums)
            signed = _placed(piece["recv_ms"], order, times, mid_at, rules)
            order = replace(order, level=-1 if signed is None else abs(signed) // 10**6)
            if signed is not None and signed < 0 and order.first_fill == order.start:
                order = replace(order, fate="taker" if order.fate == "event" else order.fate)
            _walk(number, order, times, mid_at, rows_at, rules, block, sums)
            _first_fill(number, order, own, times, mid_at, rules, block, sums)
            _trials(number, order, state, rules, block, sums)
    for order_id, prints in fills_of.items():
        kind = "of a rejected order" if order_id in rejected else "of an unknown order"
        sums.fill_rows[kind] += len(prints)


def _whole(row: Row) -> Row:
    """Drop what is absent; times as integers."""
    out = {}
    for name, value in row.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        out[name] = int(value) if name.endswith("_ms") else value
    return out


def _pieces(place: Row, rows: list[Row], prints: list[Row]) -> list[Row]:
    """The order's terms one after the other, each new price from when it took effect, up to the
    first fill."""
    pieces = [dict(place, start=place.get("active_recv_ms", place["recv_ms"]))]
    first = min((row["recv_ms"] for row in prints), default=None)
    at_first = [row.get("price") for row in prints if row["recv_ms"] == first]
    for row in sorted(rows, key=lambda row: int(row["recv_ms"])):
        if row["action"] != "AMEND" or row.get("status") == "REJECTED":
            continue
        start, price = row.get("active_recv_ms", row["recv_ms"]), row.get("price")
        if price is None or price == pieces[-1]["price"] or (first is not None and start > first):
            continue
        if start == first and at_first[0] == pieces[-1]["price"]:
            continue
        amended = {"recv_ms": row["recv_ms"], "price": price, "start": start}
        pieces.append({**pieces[-1], **amended})
    return pieces


def _life(
    place: Row,
    rows: list[Row],
    prints: list[Row],
    end_of_run: int,
    until: int | None,
    sums: Sums,
) -> Order:
    start = place["start"]

    cancels = [row["cancel_effective_ms"] for row in rows if "cancel_effective_ms" in row]
    if not cancels:
        cancels = [row["recv_ms"] for row in rows if row["action"] == "CANCEL_ACK"]
    expiries = [row["expire_recv_ms"] for row in rows if "expire_recv_ms" in row]
    if not expiries:
        expiries = [row["recv_ms"] for row in rows if row["action"] == "EXPIRE"]
    candidates = [("end of run", end_of_run)]
    if expiries:
        candidates.insert(0, ("expiry", min(expiries)))
    if cancels:
        candidates.insert(0, ("cancel", min(cancels)))
    if until is not None:
        candidates.append(("a new price", until))
    ended_by, end = min(candidates, key=lambda pair: int(pair[1]))

    first = min((row["recv_ms"] for row in prints), default=None)
    fate = "none"
    if first is not None:
        fate = "early" if first < start else "late" if first > end else "event"
        if first <= end:
            ended_by, end = "first fill", first
    sums.orders[f"ended by {ended_by}"] += 1
    if end < start:
        sums.orders["ended before they were active"] += 1
        end = start
    if end == start:
        sums.orders["of these with an empty interval"] += 1
    return Order(place["side"], float(place["price"]), start, end, first, fate, -1)


def _placed(
    placed: int, order: Order, times: list[int], mid_at: dict[int, float], rules: Rules
) -> int | None:
    """Millionths of a tick from mid in the ms of placement, else at the start, negative through
    mid; None where nobody knows."""
    for time in (placed, order.start):
        i = bisect_right(times, time) - 1
        if i >= 0 and time - times[i] < rules.max_gap_ms:
            signed = replace(rules, signed=True)
            return signed.micro(order.side, order.price, mid_at[times[i]])
    return None


def _walk(
    number: int,
    order: Order,
    times: list[int],
    mid_at: dict[int, float],
    rows_at: Counter[int],
    rules: Rules,
    block: Callable[[int], int],
    sums: Sums,
) -> None:
    """Time between the state rows, one row after the other."""
    before = max(0, min(order.end, times[0]) - order.start)
    sums.order_ms["before the first state row"] += before
    first = max(0, bisect_left(times, order.start) - 1)
    for i in range(first, len(times)):
        if times[i] >= order.end:
            break
        next_row = times[i + 1] if i + 1 < len(times) else order.end
        known_until = min(next_row, times[i] + rules.max_gap_ms)
        start, stop = max(order.start, times[i]), min(order.end, known_until)
        silent = min(order.end, next_row) - max(order.start, known_until)
        if silent > 0:
            sums.order_ms["outage (mid older than MAX_STATE_GAP_MS)"] += silent
        if stop <= start:
            continue
        delta = rules.micro(order.side, order.price, mid_at[times[i]])
        if not rules.in_range(delta):
            sums.order_ms["outside MIN_DELTA_TICKS..MAX_DELTA_TICKS"] += stop - start
            continue
        sums.order_ms["used"] += stop - start
        if start == times[i]:
            sums.pairs += rows_at[times[i]]
        for b in range(block(start), block(stop - 1) + 1):
            left = max(start, times[0] + b * rules.block_ms)
            right = min(stop, times[0] + (b + 1) * rules.block_ms)
            sums.exposure_ms[number, b, order.side, delta, order.level] += right - left


def _first_fill(
    number: int,
    order: Order,
    prints: list[Row],
    times: list[int],
    mid_at: dict[int, float],
    rules: Rules,
    block: Callable[[int], int],
    sums: Sums,
) -> None:
    """Every fill row of one order under one name."""
    if order.fate == "taker":
        sums.fill_rows["as a taker"] += len(prints)
    elif order.fate == "early":
        sums.fill_rows["before the order was active"] += len(prints)
    elif order.fate == "late":
        sums.fill_rows["after the order's end"] += len(prints)
    elif order.fate == "event":
        assert order.first_fill is not None
        same_ms = sum(row["recv_ms"] == order.first_fill for row in prints)
        sums.fill_rows["same ms as the first fill"] += same_ms - 1
        sums.fill_rows["later partial fill"] += len(prints) - same_ms
        i = bisect_left(times, order.first_fill) - 1  # the state row strictly before it
        if i < 0:
            sums.fill_rows["first fill before the first state row"] += 1
        elif order.first_fill - times[i] > rules.max_gap_ms:
            sums.fill_rows["first fill in an outage"] += 1
        else:
            delta = rules.micro(order.side, order.price, mid_at[times[i]])
            if rules.in_range(delta):
                sums.fill_rows["event"] += 1
                # The block of the last ms before the fill, where the exposure ended.
                sums.events[
                    number, block(order.first_fill - 1), order.side, delta, order.level
                ] += 1
            else:
                sums.fill_rows["first fill outside the range"] += 1


def _trials(
    number: int,
    order: Order,
    state: list[Row],
    rules: Rules,
    block: Callable[[int], int],
    sums: Sums,
) -> None:
    """State rows at risk, each at its own mid: of a filled order as many ms longer as it waited for
    its first row; trials up to the (first) row of the fill's ms."""
    filled = order.fate == "event"
    first = next(_from(state, order.start), None)
    wait = first["recv_ms"] - order.start if filled and first is not None else 0
    for row in _from(state, order.start):
        if row["recv_ms"] >= order.end + wait:
            break
        delta = rules.micro(order.side, order.price, float(row["mid"]))
        if rules.in_range(delta):
            sums.at_risk[number, block(row["recv_ms"]), order.side, delta, order.level] += 1

    at_fill = next(_from(state, order.end), None)
    if filled and (at_fill is None or at_fill["recv_ms"] != order.first_fill):
        return  # drawn in no row that we have
    for row in _from(state, order.start):
        is_fill = filled and row["recv_ms"] == order.first_fill
        if row["recv_ms"] >= order.end and not is_fill:
            break
        delta = rules.micro(order.side, order.price, float(row["mid"]))
        if rules.in_range(delta):
            key = (number, block(row["recv_ms"]), order.side, delta, order.level)
            sums.trials[key] += 1
            sums.trial_events[key] += is_fill
        if is_fill:
            break


def _from(state: list[Row], time: int) -> Iterator[Row]:
    """State rows at or after a time."""
    first = bisect_left(state, time, key=lambda row: row["recv_ms"])
    for i in range(first, len(state)):
        yield state[i]


def maximum_likelihood(
    delta: Sequence[float], exposure_s: Sequence[float], events: Sequence[int]
) -> tuple[float, float]:
    """A and k by plain bisection on the monotone equation of docs/code.md."""
    n = math.fsum(events)
    target = math.fsum(m * d for m, d in zip(events, delta, strict=True)) / n

    def mean_distance(k: float) -> float:
        lowest = min(k * d for d in delta)
        weight = [t * math.exp(lowest - k * d) for t, d in zip(exposure_s, delta, strict=True)]
        return math.fsum(w * d for w, d in zip(weight, delta, strict=True)) / math.fsum(weight)

    low, high = -50.0, 50.0
    for _ in range(200):
        k = 0.5 * (low + high)
        low, high = (k, high) if mean_distance(k) > target else (low, k)
    at_risk = math.fsum(t * math.exp(-k * d) for t, d in zip(exposure_s, delta, strict=True))
    return n / at_risk, k
