"""Resting intervals: when each order was in the book, and what ended it.

An order rests over [start, end). It starts when it becomes active and ends at the earliest of its
first fill, its cancel taking effect, its expiry, a new price and the end of the run; docs/code.md
has all the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask
from mm.logs import order_ids
from mm.logs.amendments import pieces
from mm.logs.columns import ACTIONS
from mm.logs.order_ids import Codes, is_accepted, is_one_of, order_codes, words_of

#: What ended an order; OPEN: the run ended first.
FILLED, CANCELLED, EXPIRED, OPEN, AMENDED = 0, 1, 2, 3, 4
END_NAMES = ("first fill", "cancel", "expiry", "end of run", "a new price")

#: First-fill status of an order; index by ``fill_status``.
FILL_STATUSES = (
    "event",
    "before the order was active",
    "after the order's end",
    "as a taker",
)
EVENT, BEFORE_ACTIVE, AFTER_END, TAKER = 0, 1, 2, 3
NO_FILL = -1


@dataclass(frozen=True)
class RestingIntervals:
    """One entry an accepted order, in the order of the PLACE rows, and one more behind it for each
    new price (``mm.logs.amendments``). Arrays of shape (n,).

    ``placed_ms``: of the row that set the price. ``goes_on``: positions of the entries that
    continue the order before them.
    ``start_ms``, ``end_ms``: int64, end >= start (an interval that would end before it starts
    is empty and counted in ``n_reversed``). ``ended_by``: index into END_NAMES.
    ``side``: +1 BUY, -1 SELL. ``fill_status``: of the first fill, index into FILL_STATUSES,
    NO_FILL without one.

    Of the orders with a fill only, in their order, shape (m,): ``first_fill_ms``; quantities in
    base currency, NaN where the log has none: ``qty`` of the order, ``fill_qty`` of all rows in
    the first fill's ms, ``filled_qty`` of all rows; ``rows_at_first``, ``rows``: their number.
    """

    order_id: pd.api.extensions.ExtensionArray
    side: npt.NDArray[np.int8]
    price: Floats
    placed_ms: Ints
    start_ms: Ints
    end_ms: Ints
    ended_by: npt.NDArray[np.int8]
    fill_status: npt.NDArray[np.int8]
    first_fill_ms: Ints
    qty: Floats
    fill_qty: Floats
    filled_qty: Floats
    rows_at_first: Ints
    rows: Ints
    goes_on: Ints
    n_reversed: int
    n_rejected: int
    fill_rows: dict[str, int]
    ignored_actions: dict[str, int]
    warnings: tuple[str, ...]

    def with_takers(self, crossed: Mask) -> RestingIntervals:
        """The same where orders that crossed, a mask (n,), and were filled in the ms in which they
        became active took liquidity: their first fill is no event of a maker."""
        has_fill = self.fill_status != NO_FILL
        at_once = np.zeros(len(crossed), dtype=np.bool_)
        at_once[has_fill] = self.first_fill_ms == self.start_ms[has_fill]
        took = crossed & at_once & (self.fill_status == EVENT)
        if not took.any():
            return self
        of_filled = took[has_fill]
        n, first, every = (
            int(np.count_nonzero(took)),
            int(self.rows_at_first[of_filled].sum()),
            int(self.rows[of_filled].sum()),
        )
        rows = dict(self.fill_rows)
        rows["first fill"] -= n
        rows["same ms as the first fill"] -= first - n
        rows["later partial fill"] -= every - first
        rows[FILL_STATUSES[TAKER]] += every
        return replace(self, fill_status=np.where(took, TAKER, self.fill_status), fill_rows=rows)

    def whole(self, values: npt.NDArray[Any], last: bool = False) -> npt.NDArray[Any]:
        """Of values of shape (n,) that of each order's first entry, or of its last one."""
        return np.delete(values, self.goes_on - last) if len(self.goes_on) else values

    @property
    def events(self) -> tuple[Ints, Mask]:
        """Which orders' first fills are events, and which of the first fills that are."""
        status = self.fill_status
        return np.flatnonzero(status == EVENT), status[status != NO_FILL] == EVENT


def resting_intervals(
    orders: pd.DataFrame,
    fills: pd.DataFrame,
    end_of_run_ms: int,
    *,
    codes: tuple[Codes, Codes, int] | None = None,
    expire: bool = True,
) -> RestingIntervals:
    """[start, end) of every accepted order of one run, ms: start = active_recv_ms, else recv_ms of
    its PLACE row; end = min(first fill, cancel_effective_ms, expire_recv_ms, end of run, the start
    of a new price).

    Parameters
    ----------
    orders, fills : tables as in ``mm.logs.log.Run``.
    end_of_run_ms : time of the run's last row in any file.
    codes : the numbers of the orders in both tables, where they are known already.
    expire : whether an expiry ends an order.
    """
    own_codes, fill_codes, n_ids = codes or order_codes(orders, fills)
    accepted = is_accepted(orders)
    n_accepted = int(np.count_nonzero(accepted))
    n_rejected = int(np.count_nonzero(is_one_of(orders["action"], "PLACE"))) - n_accepted
    rows = placed_rows = order_ids.first_of_each(np.flatnonzero(accepted), own_codes, n_ids)
    repeated = n_accepted - len(rows)
    amended = pieces(orders, fills, rows, own_codes, fill_codes, n_ids)
    if amended:
        rows, placed_rows, repeated = amended.rows, amended.placed, repeated - amended.n_again
        own_codes, fill_codes, n_ids = amended.codes, amended.fill_codes, amended.n
    n = len(rows)

    def placed(name: str) -> npt.NDArray[Any]:
        return orders[name].to_numpy()[rows]

    placed_ms = placed("recv_ms").astype(np.int64)
    start = placed_ms.astype(np.float64)
    if "active_recv_ms" in orders:
        start = _filled(placed("active_recv_ms"), start)
    end, ended_by = _recorded_ends(orders, rows, end_of_run_ms, own_codes, n_ids, expire)
    if amended:
        amended.cut(start, end, ended_by, AMENDED)

    order_index = order_ids.index_of(rows, own_codes, n_ids)[fill_codes]
    known = order_index >= 0
    fill_ms = fills["recv_ms"].to_numpy()
    first = order_ids.earliest(order_index[known], fill_ms[known], n)

    filled = ~np.isnan(first)
    fill_status = np.full(n, NO_FILL, dtype=np.int8)
    fill_status[filled] = EVENT
    fill_status[filled & (first > end)] = AFTER_END
    fill_status[filled & (first < start)] = BEFORE_ACTIVE
    # A fill before the order was active leaves neither exposure nor event.
    ended_by[filled & (first <= end)] = FILLED
    np.fmin(first, end, out=end)
    reversed_ = end < start
    np.maximum(end, start, out=end)

    in_first_ms = known & (fill_ms == np.append(first, np.nan)[order_index])
    took = np.zeros(n, dtype=np.bool_)
    took[order_index[in_first_ms & _taker_rows(fills)]] = True
    fill_status[took & (fill_status == EVENT)] = TAKER
    qty = _column(fills, "qty")
    return RestingIntervals(
        order_id=orders["order_id"].array[rows],
        side=np.where(is_one_of(orders["side"], "BUY")[placed_rows], 1, -1).astype(np.int8),
        price=placed("price").astype(np.float64, copy=False),
        placed_ms=placed_ms,
        start_ms=start.astype(np.int64),
        end_ms=end.astype(np.int64),
        ended_by=ended_by,
        fill_status=fill_status,
        first_fill_ms=first[filled].astype(np.int64),
        qty=amended.qty[filled] if amended else _column(orders, "qty", rows[filled]),
        fill_qty=_total(qty, order_index, in_first_ms, n)[filled],
        filled_qty=_total(qty, order_index, known, n)[filled],
        rows_at_first=np.bincount(order_index[in_first_ms], minlength=n)[filled],
        rows=np.bincount(order_index[known], minlength=n)[filled],
        goes_on=np.flatnonzero(amended.goes_on) if amended else np.zeros(0, dtype=np.int64),
        n_reversed=int(np.count_nonzero(reversed_)),
        n_rejected=n_rejected,
        fill_rows=_fill_rows(orders, own_codes, fill_codes, order_index, in_first_ms, fill_status),
        ignored_actions=ignored_actions(orders),
        warnings=(f"{repeated} PLACE rows stand twice; each order counts once",)
        if repeated
        else (),
    )


def _recorded_ends(
    orders: pd.DataFrame, rows: Ints, end_ms: int, codes: Codes, n_ids: int, expire: bool
) -> tuple[Floats, npt.NDArray[np.int8]]:
    """When each order of these rows ends by what the orders file says, ms, and by what: the
    earliest wins, the first named at a tie."""
    end = np.full(len(rows), float(end_ms))
    ended_by = np.full(len(rows), OPEN, dtype=np.int8)
    own = codes[rows]
    for end_name, column, action in (
        (EXPIRED, "expire_recv_ms", "EXPIRE"),
        (CANCELLED, "cancel_effective_ms", "CANCEL_ACK"),
    ):
        if end_name == EXPIRED and not expire:
            continue
        recorded = _row_time(orders, action, codes, n_ids)
        if column in orders:
            values = orders[column].to_numpy(dtype=np.float64)
            recorded = _filled(order_ids.earliest(codes, values, n_ids), recorded)
        recorded = recorded[own]
        sooner = recorded <= end
        np.copyto(end, recorded, where=sooner)
        ended_by[sooner] = end_name
    return end, ended_by


def _fill_rows(
    orders: pd.DataFrame,
    codes: Codes,
    fill_codes: Codes,
    order_index: Ints,
    in_first_ms: npt.NDArray[np.bool_],
    fill_status: npt.NDArray[np.int8],
) -> dict[str, int]:
    """Every fill row under one name; the values add up to the rows of the fills file.

    Rows of orders whose first fill is an event are split by the caller's selection.
    """
    known = order_index >= 0
    of_rejected = ~known
    if of_rejected.any():
        rejected = is_one_of(orders["action"], "PLACE") & ~is_accepted(orders)
        of_rejected &= np.isin(fill_codes, codes[rejected])
    status_of_row = np.append(fill_status, NO_FILL)[order_index]
    _, seen_first = np.unique(order_index[in_first_ms], return_index=True)
    n_first = np.count_nonzero(status_of_row[in_first_ms][seen_first] == EVENT)
    in_event_order = status_of_row == EVENT
    return {
        "first fill": int(n_first),
        "same ms as the first fill": int(np.count_nonzero(in_event_order & in_first_ms) - n_first),
        "later partial fill": int(np.count_nonzero(in_event_order & ~in_first_ms)),
        FILL_STATUSES[BEFORE_ACTIVE]: int(np.count_nonzero(status_of_row == BEFORE_ACTIVE)),
        FILL_STATUSES[AFTER_END]: int(np.count_nonzero(status_of_row == AFTER_END)),
        FILL_STATUSES[TAKER]: int(np.count_nonzero(status_of_row == TAKER)),
        "of a rejected order": int(np.count_nonzero(of_rejected)),
        "of an unknown order": int(np.count_nonzero(~known & ~of_rejected)),
    }


def _taker_rows(fills: pd.DataFrame) -> Mask:
    """Fill rows that say that the order took liquidity."""
    took = np.zeros(len(fills), dtype=np.bool_)
    if "liquidity" in fills:
        took |= is_one_of(fills["liquidity"], "TAKER", "T")
    if "reason" in fills:
        took |= is_one_of(fills["reason"], "taker", "TAKER")
    return took


def is_virtual(fills: pd.DataFrame) -> bool:
    """Whether the fills are those of virtual orders on a tape."""
    return "reason" in fills and words_of(fills["reason"]) == ["virtual"]


def ignored_actions(orders: pd.DataFrame) -> dict[str, int]:
    """Rows of actions that tell of no order, by action, most first."""
    others = ~is_one_of(orders["action"], *ACTIONS)
    if not others.any():
        return {}
    counts = orders.loc[others, "action"].astype("str").value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def _column(table: pd.DataFrame, name: str, rows: Ints | None = None) -> Floats:
    """A numeric column, or some rows of it, as float64; NaN throughout where the log has none."""
    if name not in table:
        return np.full(len(table) if rows is None else len(rows), np.nan)
    column = table[name].to_numpy(dtype=np.float64)
    return column if rows is None else column[rows]


def _filled(values: Floats, default: Floats) -> Floats:
    return np.where(np.isnan(values), default, values)


def _row_time(orders: pd.DataFrame, action: str, codes: Codes, n_ids: int) -> Floats:
    """Time of each id's first row with this action, NaN where it has none."""
    rows = is_one_of(orders["action"], action)
    return order_ids.earliest(codes[rows], orders["recv_ms"].to_numpy()[rows], n_ids)


def _total(qty: Floats, order_index: Ints, rows: npt.NDArray[np.bool_], n: int) -> Floats:
    """Sum of qty by order over the chosen fill rows."""
    return np.bincount(order_index[rows], weights=qty[rows], minlength=n).astype(np.float64)
