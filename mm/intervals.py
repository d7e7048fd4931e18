"""Resting intervals: when each order was in the book, and what ended it.

DESIGN, section 4 of the project's definitions: an order rests over [start, end). It starts when
it becomes active and ends at the earliest of its first fill, its cancel taking effect, its
expiry and the end of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.arrays import Floats, Ints
from mm.errors import InputError

#: What ended an order, and what became of a filled one; ``OPEN`` is the end of the run.
FILLED, CANCELLED, EXPIRED, OPEN = 0, 1, 2, 3
END_NAMES = ("first fill", "cancel", "expiry", "end of run")

#: Why a fill row is no event (``fill_fate`` per order for its first fill, then the other rows).
FATES = (
    "event",
    "before the order was active",
    "after the order's end",
)
EVENT, BEFORE_ACTIVE, AFTER_END = 0, 1, 2
NO_FILL = -1


@dataclass(frozen=True)
class RestingIntervals:
    """One entry an accepted order, in the order of the PLACE rows. Arrays of shape (n,).

    ``start_ms``, ``end_ms``: int64, end >= start (an interval that would end before it starts
    is empty and counted in ``n_reversed``). ``ended_by``: index into END_NAMES.
    ``side``: +1 BUY, -1 SELL. ``first_fill_ms``: -1 without a fill. ``fate``: of the first
    fill, index into FATES, -1 without one. ``fill_qty``: quantity of all rows in the first
    fill's ms, ``filled_qty`` of all rows (base currency, NaN where the log has none).
    """

    order_id: npt.NDArray[Any]
    side: npt.NDArray[np.int8]
    price: Floats
    qty: Floats
    start_ms: Ints
    end_ms: Ints
    ended_by: npt.NDArray[np.int8]
    first_fill_ms: Ints
    fate: npt.NDArray[np.int8]
    fill_qty: Floats
    filled_qty: Floats
    n_reversed: int
    n_rejected: int
    fill_rows: dict[str, int]
    ignored_actions: dict[str, int]
    warnings: tuple[str, ...]


def resting_intervals(
    orders: pd.DataFrame, fills: pd.DataFrame, end_of_run_ms: int
) -> RestingIntervals:
    """Resting intervals of every accepted order of one run.

    Parameters
    ----------
    orders, fills : tables as in ``mm.run.Run``.
    end_of_run_ms : time of the run's last row in any file.

    Raises InputError for one id with two different PLACE rows.
    """
    placed, n_rejected, warnings = _placements(orders)
    index = pd.Index(placed["order_id"])
    n = len(index)

    # Times that can end an order: the earliest wins, the first named at a tie.
    start = _filled(_column(placed, "active_recv_ms"), placed["recv_ms"].to_numpy())
    cancel = _filled(
        _earliest(orders, "cancel_effective_ms", index), _row_time(orders, "CANCEL_ACK", index)
    )
    expiry = _filled(_earliest(orders, "expire_recv_ms", index), _row_time(orders, "EXPIRE", index))
    ends = np.vstack([cancel, expiry, np.full(n, float(end_of_run_ms))])
    ends[np.isnan(ends)] = np.inf
    other_end = ends.min(axis=0)
    ended_by = (ends.argmin(axis=0) + 1).astype(np.int8)

    place_of = index.get_indexer(fills["order_id"])
    first = np.full(n, np.inf)
    known = place_of >= 0
    fill_ms = fills["recv_ms"].to_numpy()
    np.minimum.at(first, place_of[known], fill_ms[known])

    filled = np.isfinite(first)
    fate = np.full(n, NO_FILL, dtype=np.int8)
    fate[filled] = EVENT
    fate[filled & (first > other_end)] = AFTER_END
    fate[filled & (first < start)] = BEFORE_ACTIVE
    # A fill before the order was active leaves neither exposure nor event.
    end = np.where(filled, np.minimum(first, other_end), other_end)
    ended_by[filled & (first <= other_end)] = FILLED
    reversed_ = end < start
    end = np.maximum(end, start)

    in_first_ms = known & (fill_ms == np.append(first, np.inf)[place_of])
    qty = _column(fills, "qty")
    return RestingIntervals(
        order_id=index.to_numpy(),
        side=np.where(placed["side"] == "BUY", 1, -1).astype(np.int8),
        price=placed["price"].to_numpy(dtype=np.float64),
        qty=_column(placed, "qty"),
        start_ms=start.astype(np.int64),
        end_ms=end.astype(np.int64),
        ended_by=ended_by,
        first_fill_ms=np.where(filled, first, -1).astype(np.int64),
        fate=fate,
        fill_qty=_total(qty, place_of, in_first_ms, n),
        filled_qty=_total(qty, place_of, known, n),
        n_reversed=int(np.count_nonzero(reversed_)),
        n_rejected=n_rejected,
        fill_rows=_fill_rows(orders, fills, place_of, in_first_ms, fate),
        ignored_actions=_ignored(orders),
        warnings=warnings,
    )


def _placements(orders: pd.DataFrame) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """Accepted PLACE rows, one an id; the number of rejected ones; warnings."""
    placed = orders[orders["action"] == "PLACE"]
    rejected = _rejected(placed)
    placed = placed[~rejected]
    repeated = placed["order_id"].duplicated()
    warnings: tuple[str, ...] = ()
    if repeated.any():
        differing = placed.drop_duplicates()["order_id"]
        clash = differing[differing.duplicated()]
        if len(clash):
            raise InputError(
                f"order {clash.iloc[0]} is placed twice with different terms",
                where="orders",
                remedy="an id names one order: was a second run appended to the file?",
            )
        warnings = (f"{int(repeated.sum())} PLACE rows stand twice; each order counts once",)
        placed = placed[~repeated]
    return placed, int(rejected.sum()), warnings


def _rejected(placed: pd.DataFrame) -> npt.NDArray[np.bool_]:
    if "status" not in placed:
        return np.zeros(len(placed), dtype=bool)
    return (placed["status"] == "REJECTED").to_numpy()


def _fill_rows(
    orders: pd.DataFrame,
    fills: pd.DataFrame,
    place_of: npt.NDArray[np.intp],
    in_first_ms: npt.NDArray[np.bool_],
    fate: npt.NDArray[np.int8],
) -> dict[str, int]:
    """Every fill row under one name; the values add up to ``len(fills)``.

    Rows of orders whose first fill is an event are split by the caller's selection.
    """
    known = place_of >= 0
    placed = orders["action"] == "PLACE"
    rejected = orders.loc[placed, "order_id"][_rejected(orders[placed])]
    of_rejected = ~known & fills["order_id"].isin(rejected).to_numpy()
    fate_of_row = np.append(fate, NO_FILL)[place_of]
    _, seen_first = np.unique(place_of[in_first_ms], return_index=True)
    n_first = np.count_nonzero(fate_of_row[in_first_ms][seen_first] == EVENT)
    in_event_order = fate_of_row == EVENT
    return {
        "first fill": int(n_first),
        "same ms as the first fill": int(np.count_nonzero(in_event_order & in_first_ms) - n_first),
        "later partial fill": int(np.count_nonzero(in_event_order & ~in_first_ms)),
        FATES[BEFORE_ACTIVE]: int(np.count_nonzero(fate_of_row == BEFORE_ACTIVE)),
        FATES[AFTER_END]: int(np.count_nonzero(fate_of_row == AFTER_END)),
        "of a rejected order": int(np.count_nonzero(of_rejected)),
        "of an unknown order": int(np.count_nonzero(~known & ~of_rejected)),
    }


def _ignored(orders: pd.DataFrame) -> dict[str, int]:
    used = ("PLACE", "CANCEL_REQ", "CANCEL_ACK", "FILL", "CLOSE_FILLED", "EXPIRE")
    others = orders.loc[~orders["action"].isin(used), "action"]
    return {str(name): int(count) for name, count in others.value_counts().items()}


def _column(table: pd.DataFrame, name: str) -> Floats:
    """A numeric column as float64, NaN throughout where the log has none."""
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=np.float64)


def _filled(values: Floats, default: npt.NDArray[Any]) -> Floats:
    return np.where(np.isnan(values), default, values)


def _earliest(orders: pd.DataFrame, name: str, index: pd.Index[Any]) -> Floats:
    """Smallest value of a time column over each order's rows, NaN where it has none."""
    out = np.full(len(index), np.inf)
    if name in orders:
        values = orders[name].to_numpy(dtype=np.float64)
        there = ~np.isnan(values)
        at = index.get_indexer(orders["order_id"].to_numpy()[there])
        np.minimum.at(out, at[at >= 0], values[there][at >= 0])
    out[np.isinf(out)] = np.nan
    return out


def _row_time(orders: pd.DataFrame, action: str, index: pd.Index[Any]) -> Floats:
    """Time of each order's first row with this action, NaN where it has none."""
    rows = orders[orders["action"] == action]
    return _earliest(rows.assign(_ms=rows["recv_ms"].astype("float64")), "_ms", index)


def _total(
    qty: Floats, place_of: npt.NDArray[np.intp], rows: npt.NDArray[np.bool_], n: int
) -> Floats:
    """Sum of qty by order over the chosen fill rows."""
    return np.bincount(place_of[rows], weights=qty[rows], minlength=n).astype(np.float64)
