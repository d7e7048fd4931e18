"""The original notebook's accounting and fit, step for step, to show beside the exact ones.

Kept as it was, faults included: distance frozen at activation, buckets cut by floor, exposure
up to the first fill or cancel (never the expiry), every partial fill row counted, ``polyfit``
weighted by exposure (which squares it) over the buckets that had fills. It reproduces the old
numbers digit for digit, so that users can see what changed and why.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mm.core.display import html
from mm.core.errors import OriginalError
from mm.fitting.original_points import points_of
from mm.logs.log import Run

_POINT_COLUMNS = (
    "exposure_s",
    "fill_events",
    "filled_qty",
    "n_orders",
    "lambda_events_per_s",
    "lambda_qty_per_s",
)


@dataclass(frozen=True)
class OriginalFit:
    """A in 1/s and k in 1/tick as the original notebook prints them.

    ``points``: its table by bucket (delta_bucket, exposure_s, fill_events, filled_qty, n_orders,
    lambda_events_per_s, lambda_qty_per_s, used).
    """

    A: float
    k: float
    n_buckets: int
    points: pd.DataFrame

    def _repr_html_(self) -> str:
        return html(
            f"Original notebook: A = {self.A:.6g} /s, k = {self.k:.6g} /tick "
            f"({self.n_buckets} buckets)."
        )


def fit_original(
    run: Run,
    *,
    tick_size: float,
    min_delta_ticks: float,
    max_delta_ticks: float,
    min_exposure_s: float,
) -> OriginalFit:
    """The original notebook's A and k for one run.

    Raises OriginalError, with the notebook's own exception as text, where it would raise.
    """
    # On malformed rows the notebook computes with what they hold, and so must this.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        args = (run, tick_size, min_delta_ticks, max_delta_ticks)
        points = points_of(*args)
        try:
            return _fitted(_points(*args) if points is None else points, min_exposure_s)
        except (KeyError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
            text = " ".join(str(error).split())
            raise OriginalError(f"{type(error).__name__}: {text}") from None


def _fitted(points: pd.DataFrame, min_exposure_s: float) -> OriginalFit:
    points["used"] = (points["exposure_s"] >= min_exposure_s) & (points["lambda_events_per_s"] > 0)
    used = points[points["used"]]
    if len(used) < 2:
        raise RuntimeError(
            "Not enough buckets with positive intensity and sufficient exposure to fit. "
            "Try lowering MIN_EXPOSURE_S or increasing MAX_DELTA_TICKS."
        )
    slope, level = np.polyfit(
        used["delta_bucket"].to_numpy(dtype=float),
        np.log(used["lambda_events_per_s"].to_numpy(dtype=float)),
        deg=1,
        w=used["exposure_s"].to_numpy(dtype=float),
    )
    A, k = float(np.exp(level)), -float(slope)
    if not (math.isfinite(A) and math.isfinite(k)):
        raise ValueError(f"the notebook's fit gives A = {A}, k = {k}")
    return OriginalFit(A, k, len(used), points)


def _as_written(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The tables as the notebook reads them: no row left out or repaired, cells that are no time
    empty, words as they were written."""
    times = ("recv_ms", "active_recv_ms", "cancel_effective_ms")
    tables = []
    for kind, checked in (("orders", run.orders), ("fills", run.fills), ("state", run.state)):
        table = run.written.get(kind, checked)
        names = [name for name in times if name in table]
        coerced = {name: pd.to_numeric(table[name], errors="coerce") for name in names}
        tables.append(table.assign(**coerced))
    orders, fills, state = tables
    return orders, fills, state


def _points(
    run: Run, tick_size: float, min_delta_ticks: float, max_delta_ticks: float
) -> pd.DataFrame:
    orders, fills, state = _as_written(run)
    placed = orders[orders["action"] == "PLACE"]
    if "status" in placed:
        placed = placed[placed["status"] != "REJECTED"]
    if placed.empty:
        return pd.DataFrame(columns=["delta_bucket", *_POINT_COLUMNS])
    active = placed["active_recv_ms"].fillna(placed["recv_ms"]).astype("int64")
    placed = placed.assign(active_ms=active)

    last = max(int(t["recv_ms"].max()) for t in (state, orders, fills) if len(t))
    by_order = fills.groupby("order_id")
    first_fill = placed["order_id"].map(by_order["recv_ms"].min())
    requests = orders[orders["action"] == "CANCEL_REQ"]
    end = pd.Series(float(last), index=placed.index)
    end = end.where(~(first_fill < end), first_fill)
    if "cancel_effective_ms" in requests:
        effective = requests.groupby("order_id")["cancel_effective_ms"].min()
        cancelled = placed["order_id"].map(effective)
        end = end.where(~(cancelled < end), cancelled)
    placed = placed.assign(exposure_s=(end - placed["active_ms"]).clip(lower=0) / 1000.0)

    mids = state[["recv_ms", "mid"]].sort_values("recv_ms")
    table = pd.merge_asof(
        placed.sort_values("active_ms"),
        mids.rename(columns={"recv_ms": "state_ms"}),
        left_on="active_ms",
        right_on="state_ms",
        direction="backward",
    )
    ticks = (table["price"] - table["mid"]).abs() / tick_size
    table["delta_bucket"] = np.floor(ticks).astype(int)
    bucket = table["delta_bucket"]
    table = table[(bucket >= min_delta_ticks) & (bucket <= max_delta_ticks)]

    n_rows, qty = by_order.size(), by_order["qty"].sum()
    table = table.assign(
        fill_events=table["order_id"].map(n_rows).fillna(0).astype(int),
        filled_qty=table["order_id"].map(qty).fillna(0.0),
    )
    points = table.groupby("delta_bucket", as_index=False).agg(
        exposure_s=("exposure_s", "sum"),
        fill_events=("fill_events", "sum"),
        filled_qty=("filled_qty", "sum"),
        n_orders=("order_id", "count"),
    )
    seconds = points["exposure_s"].replace(0, np.nan)
    points["lambda_events_per_s"] = points["fill_events"] / seconds
    points["lambda_qty_per_s"] = points["filled_qty"] / seconds
    return points
