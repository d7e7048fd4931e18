"""The original notebook's table by bucket, on arrays: for checked tables, at a tenth of the cost.

Step for step what ``mm.fitting.original_notebook`` does on tables as they stand in their files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, repeats, slices, sums_by
from mm.logs.log import Run
from mm.logs.order_ids import earliest, is_accepted, is_one_of


class BucketSums:
    """Sums of columns by a whole number, such as a bucket of distances."""

    def __init__(self) -> None:
        self._labels: list[Ints] = []
        self._sums: list[Floats] = []

    def add(self, bucket: Ints, columns: Sequence[npt.NDArray[np.generic]]) -> None:
        """Items with their bucket and what is summed of them, shape (m,) each."""
        of, labels = pd.factorize(bucket)
        self._labels.append(labels)
        self._sums.append(np.array([sums_by(of, values, len(labels)) for values in columns]))

    def total(self) -> tuple[Ints, Floats]:
        """The buckets that hold anything, in order, and their sums, shape (columns, buckets)."""
        of, labels = pd.factorize(np.concatenate(self._labels), sort=True)
        columns = np.concatenate(self._sums, axis=1)
        return labels, np.array([sums_by(of, values, len(labels)) for values in columns])


def points_of(
    run: Run, tick_size: float, min_delta_ticks: float, max_delta_ticks: float
) -> pd.DataFrame | None:
    """One row a bucket; see ``OriginalFit.points``. None where a table was changed by
    checking, lacks what the notebook reads, or has orders at no known distance."""
    orders, fills, state = run.orders, run.fills, run.state
    needed = ("active_recv_ms", "cancel_effective_ms")
    if run.written or "qty" not in fills or not all(name in orders for name in needed):
        return None
    codes, fill_codes, n = run.codes
    if min(codes.min(initial=0), fill_codes.min(initial=0)) < 0:
        return None
    recv_ms = orders["recv_ms"].to_numpy()
    rows = np.flatnonzero(is_accepted(orders))
    requests = np.flatnonzero(is_one_of(orders["action"], "CANCEL_REQ"))
    effective = orders["cancel_effective_ms"].to_numpy(dtype=np.float64)[requests]
    first_fill = earliest(fill_codes, fills["recv_ms"].to_numpy(), n)
    cancelled = earliest(codes[requests], effective, n)
    n_fills = np.bincount(fill_codes, minlength=n)
    qty = np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
    filled_qty = np.bincount(fill_codes, weights=qty, minlength=n)
    last = float(max(int(t["recv_ms"].max()) for t in (state, orders, fills) if len(t)))

    active, price = (
        orders[name].to_numpy(dtype=np.float64) for name in ("active_recv_ms", "price")
    )
    row_ms, mids = _mids(state)
    sums = BucketSums()
    for some in slices(len(rows)):
        at = rows[some]
        own = codes[at]
        active_ms = np.where(np.isnan(active[at]), recv_ms[at], active[at]).astype(np.int64)
        row = np.searchsorted(row_ms, active_ms, side="right") - 1
        ticks = np.abs(price[at] - mids[row]) / tick_size
        if not (row >= 0).all() or not np.isfinite(ticks).all():
            return None
        end_ms = np.fmin(np.fmin(last, first_fill[own]), cancelled[own])
        rested_ms = np.maximum(end_ms - active_ms, 0.0)
        bucket = np.floor(ticks).astype(np.int64)
        inside = (bucket >= min_delta_ticks) & (bucket <= max_delta_ticks)
        columns = (rested_ms, n_fills[own], filled_qty[own], np.ones(len(own)))
        sums.add(bucket[inside], [values[inside] for values in columns])
    if not len(rows):
        return None
    labels, (rested_ms, n_rows, filled, n_orders) = sums.total()
    if not len(labels):
        return None
    seconds = rested_ms / 1000.0
    at_risk = np.where(seconds > 0, seconds, np.nan)
    return pd.DataFrame(
        {
            "delta_bucket": labels,
            "exposure_s": seconds,
            "fill_events": n_rows.astype(np.int64),
            "filled_qty": filled,
            "n_orders": n_orders.astype(np.int64),
            "lambda_events_per_s": n_rows / at_risk,
            "lambda_qty_per_s": filled / at_risk,
        }
    )


def _mids(state: pd.DataFrame) -> tuple[Ints, Floats]:
    """Times and mids as the notebook looks them up."""
    row_ms = state["recv_ms"].to_numpy(dtype=np.int64)
    mid = state["mid"].to_numpy(dtype=np.float64)
    if repeats(row_ms):
        # Of rows that share a ms it takes the one that its sorting leaves last.
        order = np.argsort(row_ms, kind="quicksort")
        row_ms, mid = row_ms[order], mid[order]
    return row_ms, mid
