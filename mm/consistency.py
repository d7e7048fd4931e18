"""What the rows of a run say of each other: contradictions, lost rows, fills told twice.

A row can be well formed and still not be true. Each check names rows that contradict another
row of the same order, or the market; the order is then left out whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from mm.arrays import Floats, Ints, Mask
from mm.intervals import OPEN, RestingIntervals
from mm.read.columns import TEXT
from mm.read.rules import ACTIONS, CLOCK_TOLERANCE_MS

Contradiction = tuple[Literal["orders", "fills"], Mask, str]

#: A fill is at its order's price; this far from it, it is another order's or another symbol's.
_FILL_PRICE = 0.01
#: A quote is near the market; at half or double its price it is another symbol's.
_MARKET = 2.0
#: A cancel takes effect within this, or its acknowledgement is missing.
_CANCEL_MS = 60_000
_ENDED = ("FILLED", "CANCELLED", "CANCELED", "EXPIRED")
#: A stretch without state rows that may be the seam of two runs, and the least length of each.
_SEAM_MS, _RUN_MS = 5_000, 30_000
_FILLS = ("FILL", "CLOSE_FILLED")


def placements(orders: pd.DataFrame) -> pd.DataFrame:
    """The accepted PLACE rows, one an order, indexed by order_id."""
    rows = orders[orders["action"] == "PLACE"]
    if "status" in rows:
        rows = rows[rows["status"] != "REJECTED"]
    return rows.drop_duplicates("order_id").set_index("order_id")


def contradictions(
    orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame
) -> Iterator[Contradiction]:
    """Rows that can't be true, as (file, which rows, what). ``state`` is in time order."""
    placed = placements(orders)
    if placed.empty:
        return
    yield "orders", *_far_from_market(orders, state)
    yield from _order_rows(orders, placed)
    yield "orders", *_without_end(orders, fills, state)
    yield from _fill_rows(fills, placed)


def _far_from_market(orders: pd.DataFrame, state: pd.DataFrame) -> tuple[Mask, str]:
    place = (orders["action"] == "PLACE").to_numpy()
    time = state["recv_ms"].to_numpy()
    last = np.searchsorted(time, orders["recv_ms"].to_numpy(), side="right") - 1
    mid = state["mid"].to_numpy()[np.maximum(last, 0)]
    price = np.where(place, orders["price"].to_numpy(), mid)
    far = (price > _MARKET * mid) | (price * _MARKET < mid)
    first = int(np.flatnonzero(far)[0]) if far.any() else 0
    what = f"column price: {price[first]:g} is nowhere near the mid ({mid[first]:g}): of another "
    return far, f"{what}symbol?"


def _order_rows(orders: pd.DataFrame, placed: pd.DataFrame) -> Iterator[Contradiction]:
    """Later rows of an order against its PLACE row."""
    at = placed.index.get_indexer(pd.Index(orders["order_id"]))
    known = (at >= 0) & (orders["action"] != "PLACE").to_numpy()
    used = known & orders["action"].isin(ACTIONS).to_numpy()
    begun = placed["recv_ms"].to_numpy(dtype=np.float64)[at] - CLOCK_TOLERANCE_MS
    recv = orders["recv_ms"].to_numpy()
    yield "orders", used & (recv < begun), "column recv_ms: before its order was placed"
    for name in ("cancel_effective_ms", "expire_recv_ms"):
        if name in orders:
            early = orders[name].to_numpy() < begun
            yield "orders", known & early, f"column {name}: before its order was placed"
    side = orders["side"].to_numpy(dtype=object)
    other = (side != "") & (side != placed["side"].to_numpy(dtype=object)[at])
    yield "orders", used & other, "column side: not the one the order was placed with"
    price, limit = orders["price"].to_numpy(), placed["price"].to_numpy()[at]
    off = np.abs(price / limit - 1.0)
    tolerance = np.where(orders["action"].isin(_FILLS), _FILL_PRICE, 1e-9)
    moved = (price > 0) & (off > tolerance)
    yield "orders", known & moved, "column price: not the one the order was placed with"


def _without_end(
    orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame
) -> tuple[Mask, str]:
    """Rows that say an order has ended of orders that nothing ends: a row of it is lost."""
    action = orders["action"]
    ends = action.isin(("CANCEL_ACK", "EXPIRE", *_FILLS)).to_numpy(copy=True)
    for name in ("cancel_effective_ms", "expire_recv_ms"):
        if name in orders:
            ends |= orders[name].notna().to_numpy()
    ended = set(orders.loc[ends, "order_id"]) | set(fills["order_id"])
    end_ms = max(int(orders["recv_ms"].max()), int(state["recv_ms"].max()))
    old = (orders["recv_ms"] < end_ms - _CANCEL_MS).to_numpy()
    says = (action == "CANCEL_REQ").to_numpy() & old
    if "status" in orders:
        says |= orders["status"].isin(_ENDED).to_numpy()
    says &= action.isin(ACTIONS).to_numpy()
    says[says] = ~orders.loc[says, "order_id"].isin(ended).to_numpy()
    return says, "says that the order ended, but no row says when"


def _fill_rows(fills: pd.DataFrame, placed: pd.DataFrame) -> Iterator[Contradiction]:
    """Fill rows against the order they fill."""
    at = placed.index.get_indexer(pd.Index(fills["order_id"]))
    known = at >= 0
    if "side" in fills:
        side = fills["side"].to_numpy(dtype=object)
        other = (side != "") & (side != placed["side"].to_numpy(dtype=object)[at])
        yield "fills", known & other, "column side: not that of its order"
    if "price" in fills:
        off = np.abs(fills["price"].to_numpy() / placed["price"].to_numpy()[at] - 1.0)
        far = off > _FILL_PRICE
        yield "fills", known & far, "column price: far from the price of its order"
    if "qty" in fills and "qty" in placed:
        qty = np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
        total = np.bincount(at[known], weights=qty[known], minlength=len(placed))
        wanted = placed["qty"].to_numpy(dtype=np.float64)
        over = total > wanted * (1.0 + 1e-6)
        yield "fills", known & np.append(over, False)[at], "column qty: more than its order's"


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


def fill_shift_ms(orders: pd.DataFrame, fills: pd.DataFrame) -> float:
    """How much later the fills file has first fills than the FILL rows have, ms; 0 unless that is
    certain: more than the tolerance in the middle, or the same to the ms for nearly all."""
    told = orders[orders["action"] == "FILL"].groupby("order_id")["recv_ms"].min()
    first = fills.groupby("order_id")["recv_ms"].min()
    late = (first - told).dropna().to_numpy(dtype=np.float64)
    if len(late) < 3:
        return 0.0
    middle = float(np.median(late))
    certain = abs(middle) > CLOCK_TOLERANCE_MS or (late == middle).mean() > 0.9
    return middle if certain else 0.0


def missing_fills(orders: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Fill rows that only the orders file tells of, in the columns of the fills file.

    An order's FILL rows (its CLOSE_FILLED row where it has none) that lie before its first row
    in the fills file, by more than the clocks' tolerance. Quantities come from remaining_qty.
    """
    placed = placements(orders)
    rows = orders[orders["action"].isin(_FILLS) & orders["order_id"].isin(placed.index)]
    first = fills.groupby("order_id")["recv_ms"].min()
    known = rows["order_id"].map(first).to_numpy(dtype=np.float64)
    early = np.isnan(known) | (rows["recv_ms"].to_numpy() < known - CLOCK_TOLERANCE_MS)
    rows = rows[early]
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


def state_shift_ms(orders: pd.DataFrame, state: pd.DataFrame) -> float:
    """By how much the orders' clock is off that of the state rows; 0 unless that is certain.

    A backtester acts on ticks: it places orders in the ms of a state row. Where hardly one order
    was placed in such a ms, but nearly all are once a constant is added, that is the shift.
    """
    time = np.unique(placements(orders)["recv_ms"].to_numpy(dtype=np.int64))
    rows = np.unique(state["recv_ms"].to_numpy(dtype=np.int64))
    if len(time) < 20 or len(rows) < 20 or _share(time, rows) > 0.5:
        return 0.0
    probes = time[np.linspace(0, len(time) - 1, 9).astype(int)]
    for anchor in probes[::4]:
        # Every row is a candidate for the anchor's; the few that suit the other probes are tried.
        shifts = rows - anchor
        suits = sum((_among(probe + shifts, rows).astype(np.int8) for probe in probes), 0 * shifts)
        for shift in shifts[np.argsort(-suits, kind="stable")[:5]].tolist():
            if _share(time + shift, rows) > 0.9:
                return float(-shift)
    return 0.0


def _among(time: Ints, rows: Ints) -> Mask:
    """Which times are those of a row; ``rows`` are sorted."""
    at = np.minimum(np.searchsorted(rows, time), len(rows) - 1)
    return np.asarray(rows[at] == time, dtype=np.bool_)


def _share(time: Ints, rows: Ints) -> float:
    return float(_among(time, rows).mean())


def seams(
    orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame, intervals: RestingIntervals
) -> list[int]:
    """Times at which a second run begins behind the first, ms.

    The sign: state rows stop and go on later, orders rest at that moment, and no row ever tells
    of one of them again. In one run they would be cancelled or filled at some time.
    """
    time = state["recv_ms"].to_numpy(dtype=np.int64)
    last = pd.concat([orders[["order_id", "recv_ms"]], fills[["order_id", "recv_ms"]]])
    heard = last.groupby("order_id")["recv_ms"].max().reindex(intervals.order_id)
    heard_ms: Floats = heard.to_numpy(dtype=np.float64)
    found = []
    for gap in np.flatnonzero(np.diff(time) > _SEAM_MS):
        stop, go_on = int(time[gap]), int(time[gap + 1])
        if stop - time[0] < _RUN_MS or time[-1] - go_on < _RUN_MS:
            continue
        before = intervals.start_ms <= stop
        resting = before & (intervals.end_ms >= go_on)
        if resting.any() and not (heard_ms[before] >= go_on).any():
            found.append(go_on)
    return found


def restarts(fills: pd.DataFrame, state: pd.DataFrame) -> list[int]:
    """Times at which inventory and cash are those of the first state row again, without a fill:
    a second run begins there, ms."""
    if "cash" not in state or "inventory" not in state:
        return []
    cash, inventory = state["cash"].to_numpy(), state["inventory"].to_numpy()
    initial = (cash == cash[0]) & (inventory == inventory[0])
    back = np.flatnonzero(initial[1:] & ~initial[:-1]) + 1
    time, fill = state["recv_ms"].to_numpy(), np.sort(fills["recv_ms"].to_numpy())
    before = np.searchsorted(fill, time[back - 1], side="left")
    none = np.searchsorted(fill, time[back], side="right") == before
    return [int(t) for t in time[back[none]]]
