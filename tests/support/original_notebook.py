"""The original notebook's code, statement for statement: the oracle of its accounting and fit.

Only what it printed and drew is left out, and its cells are the body of one function. The
statements are its own, faults included; do not improve them.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def run_notebook(
    orders_path: Path,
    fills_path: Path,
    state_path: Path,
    TICK_SIZE: float,
    MIN_DELTA_TICKS: float = 0,
    MAX_DELTA_TICKS: float = 50,
    MIN_EXPOSURE_S: float = 5.0,
) -> tuple[float, float]:
    """Return (A_hat, k_hat), or raise what the notebook raises."""
    orders = pd.read_csv(orders_path)
    fills  = pd.read_csv(fills_path)
    state  = pd.read_csv(state_path)

    # Ensure correct dtypes
    for col in ['recv_ms','active_recv_ms','expire_recv_ms','cancel_effective_ms']:
        if col in orders.columns:
            orders[col] = pd.to_numeric(orders[col], errors='coerce')

    fills['recv_ms'] = pd.to_numeric(fills['recv_ms'], errors='coerce')
    state['recv_ms'] = pd.to_numeric(state['recv_ms'], errors='coerce')

    # Consider only PLACE events as order creations
    placed = orders[orders['action'] == 'PLACE'].copy()

    # Drop rejected placements if present
    if 'status' in placed.columns:
        placed = placed[placed['status'] != 'REJECTED'].copy()

    # Active time: if missing, fall back to recv_ms
    placed['active_ms'] = placed['active_recv_ms'].fillna(placed['recv_ms']).astype('int64')

    # Determine an end-of-run timestamp
    end_run_ms = int(max(state['recv_ms'].max(), orders['recv_ms'].max(), fills['recv_ms'].max()))

    # First fill time per order
    first_fill_ms = fills.groupby('order_id', as_index=False)['recv_ms'].min().rename(columns={'recv_ms':'first_fill_ms'})

    # Cancel effective time per order (from CANCEL_REQ rows)
    cancel_req = orders[orders['action'] == 'CANCEL_REQ'].copy()
    if 'cancel_effective_ms' in cancel_req.columns:
        cancel_eff = cancel_req.groupby('order_id', as_index=False)['cancel_effective_ms'].min().rename(columns={'cancel_effective_ms':'cancel_eff_ms'})
    else:
        cancel_eff = pd.DataFrame(columns=['order_id','cancel_eff_ms'])

    # Merge into placed
    placed = placed.merge(first_fill_ms, on='order_id', how='left')
    placed = placed.merge(cancel_eff, on='order_id', how='left')

    # Compute end time = min(first fill, cancel effective, end)
    placed['end_ms'] = end_run_ms
    mask = placed['first_fill_ms'].notna()
    placed.loc[mask, 'end_ms'] = np.minimum(placed.loc[mask, 'end_ms'], placed.loc[mask, 'first_fill_ms'])
    mask = placed['cancel_eff_ms'].notna()
    placed.loc[mask, 'end_ms'] = np.minimum(placed.loc[mask, 'end_ms'], placed.loc[mask, 'cancel_eff_ms'])

    # Exposure time in seconds (clip at >=0)
    placed['exposure_s'] = (placed['end_ms'] - placed['active_ms']).clip(lower=0) / 1000.0

    # Mid at activation time: merge_asof
    state_sorted = state[['recv_ms','mid']].sort_values('recv_ms')
    placed_sorted = placed.sort_values('active_ms')
    mid_at_active = pd.merge_asof(
        placed_sorted,
        state_sorted,
        left_on='active_ms',
        right_on='recv_ms',
        direction='backward'
    ).rename(columns={'mid':'mid_at_active'})

    # Distance in ticks
    mid_at_active['delta_ticks'] = (np.abs(mid_at_active['price'] - mid_at_active['mid_at_active']) / TICK_SIZE)
    mid_at_active['delta_bucket'] = np.floor(mid_at_active['delta_ticks']).astype(int)

    # Filter buckets
    mid_at_active = mid_at_active[(mid_at_active['delta_bucket'] >= MIN_DELTA_TICKS) & (mid_at_active['delta_bucket'] <= MAX_DELTA_TICKS)].copy()

    mid_at_active[['order_id','side','price','mid_at_active','delta_ticks','delta_bucket','exposure_s']].head(10)

    # Fill event counts and filled qty per order
    fill_event_counts = fills.groupby('order_id').size().rename('fill_events').reset_index()
    filled_qty = fills.groupby('order_id', as_index=False)['qty'].sum().rename(columns={'qty':'filled_qty'})

    df = mid_at_active.merge(fill_event_counts, on='order_id', how='left').merge(filled_qty, on='order_id', how='left')
    df['fill_events'] = df['fill_events'].fillna(0).astype(int)
    df['filled_qty'] = df['filled_qty'].fillna(0.0)

    # Aggregate by delta bucket
    agg = df.groupby('delta_bucket', as_index=False).agg(
        exposure_s=('exposure_s','sum'),
        fill_events=('fill_events','sum'),
        filled_qty=('filled_qty','sum'),
        n_orders=('order_id','count')
    )

    agg['lambda_events_per_s'] = agg['fill_events'] / agg['exposure_s'].replace(0, np.nan)
    agg['lambda_qty_per_s'] = agg['filled_qty'] / agg['exposure_s'].replace(0, np.nan)

    fit_df = agg[(agg['exposure_s'] >= MIN_EXPOSURE_S) & (agg['lambda_events_per_s'] > 0)].copy()

    if len(fit_df) < 2:
        raise RuntimeError('Not enough buckets with positive intensity and sufficient exposure to fit. Try lowering MIN_EXPOSURE_S or increasing MAX_DELTA_TICKS.')

    x = fit_df['delta_bucket'].to_numpy(dtype=float)
    y = np.log(fit_df['lambda_events_per_s'].to_numpy(dtype=float))
    w = fit_df['exposure_s'].to_numpy(dtype=float)

    # Weighted linear fit: y = b0 + b1*x, where b1 = -k and b0 = log(A)
    b1, b0 = np.polyfit(x, y, deg=1, w=w)
    k_hat = -b1
    A_hat = float(np.exp(b0))
    return A_hat, k_hat
