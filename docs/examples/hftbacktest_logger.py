"""An order log for hftbacktest 2.4, whose Recorder writes none: paste, call it in your loop, save.

    rows, seen, n = np.zeros(1_000_000, ORDER), new_seen(), 0
    while hbt.wait_next_feed(True, 10_000_000_000) in (0, 2, 3):  # 1: the end; others: errors
        n = log_changes(hbt, 0, rows, n, seen)
        ...  # your strategy
    np.savez("orders_BTCUSDT.npz", orders=rows[:n], quotes=quotes[:m], tick_size=0.1)

``wait_next_feed(True, …)`` also wakes at order responses: no change is missed. ``quotes`` are
rows of QUOTE, one at each change of the depth's best bid or ask. Several assets: ``rows``,
``seen``, ``n`` and a file for each. Call it before ``clear_inactive_orders``. Then:

    python -m mm.convert --from hftbacktest orders_BTCUSDT.npz OUT_DIR
"""

import numpy as np
from numba import njit, types
from numba.typed import Dict

ORDER = np.dtype(
    [
        *(
            ("now_ns", "i8"),
            ("order_id", "u8"),
            ("side", "i1"),
            ("price_tick", "i8"),
            ("qty", "f8"),
        ),
        *(("leaves_qty", "f8"), ("exec_qty", "f8"), ("exec_price_tick", "i8"), ("status", "u1")),
        *(("req", "u1"), ("maker", "?"), ("exch_timestamp", "i8"), ("local_timestamp", "i8")),
    ]
)
QUOTE = np.dtype([("now_ns", "i8"), ("best_bid", "f8"), ("best_ask", "f8")])
STATE = types.UniTuple(types.float64, 5)


def new_seen():
    """What is known of each order; one for each asset and backtest."""
    return Dict.empty(types.uint64, STATE)


@njit
def log_changes(hbt, asset, rows, n, seen):
    """Write a row of ORDER for each order that changed since the last call; returns the next n."""
    values = hbt.orders(asset).values()
    while values.has_next():
        o = values.get()
        now = (
            float(o.status),
            float(o.req),
            o.leaves_qty,
            float(o.price_tick),
            float(o.exch_timestamp),
        )
        if o.order_id in seen and seen[o.order_id] == now:
            continue
        seen[o.order_id] = now
        if n == len(rows):
            raise IndexError("rows is full: make it longer")
        row = rows[n]
        row["now_ns"], row["order_id"], row["side"] = hbt.current_timestamp, o.order_id, o.side
        row["price_tick"], row["qty"], row["leaves_qty"] = o.price_tick, o.qty, o.leaves_qty
        row["exec_qty"], row["exec_price_tick"] = o.exec_qty, o.exec_price_tick
        row["status"], row["req"], row["maker"] = o.status, o.req, o.arr[0].maker
        row["exch_timestamp"], row["local_timestamp"] = o.exch_timestamp, o.local_timestamp
        n += 1
    return n
