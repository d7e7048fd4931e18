"""The original notebook's table by bucket, on arrays: for checked tables, at a tenth of the cost.

Step for step what ``mm.original`` does on tables as they stand in their files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mm.arrays import Floats, Ints, sums_by
from mm.order_ids import earliest, is_one_of
from mm.run import Run


def points_of(
    run: Run, tick_size: float, min_delta_ticks: float, max_delta_ticks: float
) -> pd.DataFrame | None:
    """One row a bucket; see ``mm.original.OriginalFit.points``. None where a table was changed by
    checking, lacks what the notebook reads, or has orders at no known distance."""
    orders, fills, state = run.orders, run.fills, run.state
    needed = ("active_recv_ms", "cancel_effective_ms")
    if run.written or "qty" not in fills or not all(name in orders for name in needed):
        return None
    codes, fill_codes, n = run.codes
    if min(codes.min(initial=0), fill_codes.min(initial=0)) < 0:
        return None
    recv_ms = orders["recv_ms"].to_numpy()
    action = orders["action"]
    placed = is_one_of(action, "PLACE")
    if "status" in orders:
        placed &= ~is_one_of(orders["status"], "REJECTED")
    rows = np.flatnonzero(placed)
    active = orders["active_recv_ms"].to_numpy(dtype=np.float64)[rows]
    active_ms = np.where(np.isnan(active), recv_ms[rows], active).astype(np.int64)
    mid = _mid_at(state, active_ms)
    ticks = np.abs(orders["price"].to_numpy(dtype=np.float64)[rows] - mid) / tick_size
    if not (len(rows) and np.isfinite(ticks).all()):
        return None

    requests = np.flatnonzero(is_one_of(action, "CANCEL_REQ"))
    effective = orders["cancel_effective_ms"].to_numpy(dtype=np.float64)[requests]
    last = max(int(t["recv_ms"].max()) for t in (state, orders, fills) if len(t))
    own = codes[rows]
    first_fill = earliest(fill_codes, fills["recv_ms"].to_numpy(), n)[own]
    cancelled = earliest(codes[requests], effective, n)[own]
    end_ms = np.fmin(np.fmin(float(last), first_fill), cancelled)
    rested_ms = np.maximum(end_ms - active_ms, 0.0)

    bucket = np.floor(ticks).astype(np.int64)
    inside = (bucket >= min_delta_ticks) & (bucket <= max_delta_ticks)
    of, labels = pd.factorize(bucket[inside], sort=True)
    if not len(labels):
        return None
    qty = np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
    of_order = (
        np.bincount(fill_codes, minlength=n),
        np.bincount(fill_codes, weights=qty, minlength=n),
    )
    n_rows, filled = (sums_by(of, values[own[inside]], len(labels)) for values in of_order)
    seconds = sums_by(of, rested_ms[inside], len(labels)) / 1000.0
    at_risk = np.where(seconds > 0, seconds, np.nan)
    return pd.DataFrame(
        {
            "delta_bucket": labels,
            "exposure_s": seconds,
            "fill_events": n_rows.astype(np.int64),
            "filled_qty": filled,
            "n_orders": np.bincount(of, minlength=len(labels)),
            "lambda_events_per_s": n_rows / at_risk,
            "lambda_qty_per_s": filled / at_risk,
        }
    )


def _mid_at(state: pd.DataFrame, time_ms: Ints) -> Floats:
    """Mid of the last state row up to each time, NaN before the first."""
    row_ms = state["recv_ms"].to_numpy(dtype=np.int64)
    mid = state["mid"].to_numpy(dtype=np.float64)
    if not (row_ms[1:] > row_ms[:-1]).all():
        # Of rows that share a ms the notebook takes the one that its sorting leaves last.
        order = np.argsort(row_ms, kind="quicksort")
        row_ms, mid = row_ms[order], mid[order]
    row = np.searchsorted(row_ms, time_ms, side="right") - 1
    return np.where(row >= 0, mid[row], np.nan)
