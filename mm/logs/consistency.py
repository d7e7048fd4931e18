"""What the rows of a run say of each other: contradictions, lost rows, fills missing in one file.

A row can be well formed and still not be true. Each check names rows that contradict another
row of the same order, or the market; the order is then left out whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask, Sides, slices
from mm.logs.amendments import sets_terms
from mm.logs.columns import ACTIONS, TEXT
from mm.logs.intervals import OPEN, RestingIntervals
from mm.logs.order_ids import (
    Codes,
    accepted_rows,
    earliest,
    index_of,
    is_one_of,
    order_codes,
)
from mm.logs.rules import CLOCK_TOLERANCE_MS

Contradiction = tuple[Literal["orders", "fills"], Mask, str]

#: A fill is at its order's price (in real logs to the last digit); this far from it, it is another
#: order's or another symbol's.
_FILL_PRICE = 0.01
#: A limit order never fills at a worse price than its own; what rounding may make of that.
_WORSE = 1e-6
#: A quote is near the market (real logs: within 0.5 %); at half or double its price it is another
#: symbol's.
_MARKET = 2.0
#: A cancel takes effect within this (real logs: 25 ms), or its acknowledgement is missing.
_CANCEL_MS = 60_000
_ENDED = ("FILLED", "CANCELLED", "CANCELED", "EXPIRED")
_FILLS = ("FILL", "CLOSE_FILLED")
#: Columns of a placement that later rows are held against.
_OF_PLACED = ("recv_ms", "side", "price", "qty")
_NO_SIDE, _OTHER_SIDE = 0, 2


def contradictions(
    orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame
) -> Iterator[Contradiction]:
    """Rows that can't be true, as (file, which rows, what). ``state`` is in time order."""
    codes, fill_codes, n = order_codes(orders, fills)
    rows = accepted_rows(orders, codes, n)
    if not len(rows):
        return
    of_placed = [name for name in _OF_PLACED if name in orders]
    placed, index = orders[of_placed].iloc[rows], index_of(rows, codes, n)
    yield "orders", *_far_from_market(orders, state)
    prices, sizes = _terms(orders, placed, index, codes)
    yield from _order_rows(orders, placed, prices, index, codes)
    yield "orders", *_without_end(orders, state, codes, fill_codes, n)
    yield from _fill_rows(fills, placed, prices, sizes, index[fill_codes])


def _far_from_market(orders: pd.DataFrame, state: pd.DataFrame) -> tuple[Mask, str]:
    far = np.zeros(len(orders), dtype=np.bool_)
    place = np.flatnonzero(is_one_of(orders["action"], "PLACE"))
    time, mids = state["recv_ms"].to_numpy(), state["mid"].to_numpy()
    last = np.searchsorted(time, orders["recv_ms"].to_numpy()[place], side="right") - 1
    mid, price = mids[np.maximum(last, 0)], orders["price"].to_numpy()[place]
    if len(price) and float(mids.min()) > 0:  # a spread has no scale of its own
        far[place] = (price > _MARKET * mid) | (price * _MARKET < mid)
    if not far.any():
        return far, ""
    first = int(np.flatnonzero(far[place])[0])
    what = f"column price: {price[first]:g} is nowhere near the mid ({mid[first]:g}): of another "
    return far, f"{what}symbol?"


def _terms(
    orders: pd.DataFrame, placed: pd.DataFrame, index: Ints, codes: Codes
) -> tuple[tuple[Floats, Floats], Floats]:
    """Of each order its lowest and highest price, and its largest size; amended ones have several
    of them."""
    low, high = (placed["price"].to_numpy(dtype=np.float64, copy=True) for _ in range(2))
    size = np.full(len(placed), np.nan)
    if "qty" in placed:
        size = placed["qty"].to_numpy(dtype=np.float64, copy=True)
    rows = np.flatnonzero(sets_terms(orders))
    if len(rows) > len(placed):
        at = index[codes[rows]]
        rows, at = rows[at >= 0], at[at >= 0]
        price = orders["price"].to_numpy(dtype=np.float64)[rows]
        np.fmin.at(low, at, price)
        np.fmax.at(high, at, price)
        if "qty" in orders:
            np.fmax.at(size, at, orders["qty"].to_numpy(dtype=np.float64)[rows])
    return (low, high), size


_OF_ORDER_ROWS = (
    "column recv_ms: before its order was placed",
    "column cancel_effective_ms: before its order was placed",
    "column expire_recv_ms: before its order was placed",
    "column side: not the one the order was placed with",
    "column price: not the one the order was placed with",
)


def _order_rows(
    orders: pd.DataFrame,
    placed: pd.DataFrame,
    prices: tuple[Floats, Floats],
    index: Ints,
    codes: Codes,
) -> Iterator[Contradiction]:
    """Later rows of an order against its PLACE row; ``index``: by order, in the placements."""
    wrong = {what: np.zeros(len(orders), dtype=np.bool_) for what in _OF_ORDER_ROWS}
    before, cancelled, expired, other_side, price_moved = wrong.values()
    placing, amending, used, filling = (
        is_one_of(orders["action"], *words) for words in (("PLACE",), ("AMEND",), ACTIONS, _FILLS)
    )
    time, price, side = orders["recv_ms"].to_numpy(), orders["price"].to_numpy(), _sides(orders)
    own_time, (low, high) = placed["recv_ms"].to_numpy(), prices
    own_side = _sides(placed)
    for some in slices(len(orders)):
        at = index[codes[some]]
        later = np.flatnonzero((at >= 0) & ~placing[some])
        rows, at = some.start + later, at[later]
        begun = own_time[at] - CLOCK_TOLERANCE_MS
        before[rows] = used[rows] & (time[rows] < begun)
        for name, found in (("cancel_effective_ms", cancelled), ("expire_recv_ms", expired)):
            if name in orders:
                found[rows] = orders[name].to_numpy()[rows] < begun
        other_side[rows] = used[rows] & _differ(side[rows], own_side[at])
        off = np.maximum(-_above(price[rows], low[at]), _above(price[rows], high[at]))
        tolerance = np.where(filling[rows], _FILL_PRICE, 1e-9)
        price_moved[rows] = (price[rows] != 0) & (off > tolerance) & ~amending[rows]
    for what, mask in wrong.items():
        yield "orders", mask, what


def _sides(table: pd.DataFrame) -> Sides:
    """+1 BUY, -1 SELL, else _NO_SIDE or _OTHER_SIDE."""
    out = np.full(len(table), _OTHER_SIDE, dtype=np.int8)
    for word, number in (("BUY", 1), ("SELL", -1), ("", _NO_SIDE)):
        out[is_one_of(table["side"], word)] = number
    return out


def _differ(side: Sides, of_order: Sides) -> Mask:
    """Where a side is given that is not that of the order."""
    other = (side == _OTHER_SIDE) | (side != of_order)
    return np.asarray(other & (side != _NO_SIDE), dtype=np.bool_)


def _without_end(
    orders: pd.DataFrame, state: pd.DataFrame, codes: Codes, fill_codes: Codes, n: int
) -> tuple[Mask, str]:
    """Rows that say an order has ended of orders that nothing ends: a row of it is lost."""
    action = orders["action"]
    ends = is_one_of(action, "CANCEL_ACK", "EXPIRE", *_FILLS)
    for name in ("cancel_effective_ms", "expire_recv_ms"):
        if name in orders:
            ends |= ~np.isnan(orders[name].to_numpy())
    ended = np.zeros(n, dtype=np.bool_)
    ended[codes[ends]] = True
    ended[fill_codes] = True
    end_ms = max(int(orders["recv_ms"].max()), int(state["recv_ms"].max()))
    old = orders["recv_ms"].to_numpy() < end_ms - _CANCEL_MS
    says = is_one_of(action, "CANCEL_REQ") & old
    if "status" in orders:
        says |= is_one_of(orders["status"], *_ENDED)
    says &= is_one_of(action, *ACTIONS)
    says &= ~ended[codes]
    return says, "says that the order ended, but no row says when"


def _fill_rows(
    fills: pd.DataFrame,
    placed: pd.DataFrame,
    prices: tuple[Floats, Floats],
    wanted: Floats,
    at: Ints,
) -> Iterator[Contradiction]:
    """Fill rows against the order they fill."""
    known = at >= 0
    if "side" in fills:
        other = _differ(_sides(fills), _sides(placed)[at])
        yield "fills", known & other, "column side: not that of its order"
    if "price" in fills:
        below, above = (_above(fills["price"].to_numpy(), limit[at]) for limit in prices)
        far = (below < -_FILL_PRICE) | (above > _FILL_PRICE)
        yield "fills", known & far, "column price: far from the price of its order"
        worse = np.where(is_one_of(placed["side"], "SELL")[at], -below, above) > _WORSE
        yield "fills", known & worse, "column price: worse than the limit of its order"
    if "qty" in fills and "qty" in placed:
        qty = np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
        total = np.bincount(at[known], weights=qty[known], minlength=len(placed))
        over = total > wanted * (1.0 + 1e-6)
        yield "fills", known & np.append(over, False)[at], "column qty: more than its order's"


def _above(price: Floats, other: Floats) -> Floats:
    """How far a price is above another, as a share of its size; prices of spreads may be zero."""
    size = np.maximum(np.abs(other), np.finfo(np.float64).tiny)
    return np.asarray(np.where(price == other, 0.0, (price - other) / size))


def suspects(lost: pd.DataFrame, intervals: RestingIntervals) -> set[str]:
    """Orders that a malformed row without an id may have belonged to.

    Those resting when it was written, at its price and side where these can be read. A row
    without a time is that of an order which nothing ended.
    """
    found: set[str] = set()
    o = intervals
    rows = lost[lost["action"] != "PLACE"]
    times = rows["recv_ms"].to_numpy(dtype=np.float64).tolist()
    prices = rows["price"].to_numpy(dtype=np.float64).tolist()
    for time, price, side in zip(times, prices, rows["side"].tolist(), strict=True):
        if np.isfinite(time):
            mine = (o.start_ms - CLOCK_TOLERANCE_MS <= time) & (time <= o.end_ms)
        else:
            mine = o.ended_by == OPEN
        if side in ("BUY", "SELL"):
            mine = mine & (o.side == (1 if side == "BUY" else -1))
        if price > 0:
            mine = mine & (o.price == price)
        found.update(o.order_id[mine].tolist())
    return found


def missing_fills(orders: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Fill rows that only the orders file tells of, in the columns of the fills file.

    An order's FILL rows (its CLOSE_FILLED row where it has none) that lie before its first row
    in the fills file, by more than the clocks' tolerance. Quantities come from remaining_qty.
    """
    codes, fill_codes, n = order_codes(orders, fills)
    placed = index_of(accepted_rows(orders, codes, n), codes, n)
    at = np.flatnonzero(is_one_of(orders["action"], *_FILLS))
    at = at[placed[codes[at]] >= 0]
    known = earliest(fill_codes, fills["recv_ms"].to_numpy(), n)[codes[at]]
    early = np.isnan(known) | (orders["recv_ms"].to_numpy()[at] < known - CLOCK_TOLERANCE_MS)
    if not early.any():
        return fills.iloc[:0]
    rows = orders.iloc[at[early]].astype({"order_id": "str"})
    has_fill = rows["order_id"].isin(rows.loc[rows["action"] == "FILL", "order_id"])
    rows = rows[(rows["action"] == "FILL") | ~has_fill].sort_values("recv_ms", kind="stable")
    if "remaining_qty" in rows and "qty" in rows:
        left = rows["remaining_qty"]
        before = left.groupby(rows["order_id"]).shift().fillna(rows["qty"])
        rows = rows.assign(qty=(before - left).where(before >= left))
    elif "qty" in rows:
        rows = rows.assign(qty=np.nan)
    found: pd.DataFrame = rows.reindex(columns=fills.columns)
    for name in TEXT.intersection(found.columns):
        found[name] = found[name].astype("str").fillna("")
    return found
