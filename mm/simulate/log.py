"""From orders and a market to the three tables that a backtester writes, and their truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from mm.simulate.engine import Exchange, Order
from mm.simulate.market import Market, make_market
from mm.simulate.scenario import Scenario

FEE_RATE = 0.001  # of the notional
INITIAL_CASH = 100_000.0  # quote currency

ORDER_COLUMNS = [
    *("recv_ms", "order_id", "action", "status", "side", "price", "qty", "remaining_qty"),
    *("active_recv_ms", "expire_recv_ms", "cancel_req_ms", "cancel_effective_ms"),
    *("reject_reason", "cancel_reason"),
]
FILL_COLUMNS = ["recv_ms", "order_id", "side", "price", "qty", "fee", "reason"]
STATE_COLUMNS = ["recv_ms", "inventory", "cash", "mid", "mtm_value", "open_orders"]
_TEXT = {"order_id", "action", "status", "side", "reason", "reject_reason", "cancel_reason"}
_REJECT_REASON = {"BUY": "insufficient_cash", "SELL": "insufficient_inventory"}
_FILLS, _ENDS, _CANCELS, _PLACES = range(4)  # what comes first where rows share a ms


@dataclass(frozen=True, slots=True)
class SimulatedLog:
    """One run as a backtester would have logged it, in the shape `read_csv` would give it.

    `orders`, `fills` and `state` have the columns of real logs (times in int ms, absent times
    NaN); `truth` holds A (1/s), k (1/tick), tick_size, dt_ms and the whole scenario.
    """

    orders: pd.DataFrame
    fills: pd.DataFrame
    state: pd.DataFrame
    truth: dict[str, Any]


def simulate(scenario: Scenario, seed: int) -> SimulatedLog:
    """Simulate one run. The same scenario and seed give the same log, bit for bit."""
    rng = np.random.default_rng(seed)
    market = make_market(scenario, rng)
    orders = Exchange(scenario, market, rng).run()
    orders.sort(key=lambda order: order.place_ms)
    ids = _order_ids(len(orders), rng)
    fills = _fill_table(scenario, orders, ids)
    return SimulatedLog(
        orders=_order_table(scenario, orders, ids),
        fills=fills,
        state=_state_table(scenario, market, orders, fills),
        truth=_truth(scenario, seed, market),
    )


def _order_ids(n: int, rng: np.random.Generator) -> list[str]:
    digits = rng.bytes(16 * n).hex()
    return [
        f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
        for h in (digits[i : i + 32] for i in range(0, 32 * n, 32))
    ]


def _price(scenario: Scenario, half_grids: int) -> float:
    # rounded as it is written, so that a log in memory equals the one read back
    return round(half_grids * scenario.price_grid / 2.0, 8)


def _qty(scenario: Scenario, lots: int) -> float:
    return round(lots * scenario.lot_size, 8)


def _order_table(scenario: Scenario, orders: Sequence[Order], ids: Sequence[str]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for order_id, order in zip(ids, orders, strict=True):
        rows += _order_rows(scenario, order_id, order)
    rows.sort(key=itemgetter(0, 1))  # stable: an order's prints stay together
    return _frame([row[:1] + row[2:] for row in rows], ORDER_COLUMNS)


def _order_rows(scenario: Scenario, order_id: str, order: Order) -> list[tuple[Any, ...]]:
    """Return the order's rows, each preceded by (recv_ms, rank of the row within that ms)."""
    price, qty = _price(scenario, order.price), _qty(scenario, scenario.quote_lots)
    expire_ms = _or_nan(order.expire_ms)
    requested = math.inf if order.cancel_req_ms is None else order.cancel_req_ms

    def row(
        ms: int, rank: int, action: str, status: str, left: int, reject: str | float = math.nan
    ) -> tuple[Any, ...]:
        cancelling = rank != _PLACES and (ms > requested or rank == _CANCELS)
        reason = "QUOTE_CHANGE" if cancelling else math.nan
        return (
            *(ms, rank, order_id, action, status, order.side, price, qty),
            *(_qty(scenario, left), order.active_ms, expire_ms),
            _or_nan(order.cancel_req_ms if cancelling else None),
            _or_nan(order.cancel_effective_ms if cancelling else None),
            *(reject, "TTL_EXPIRE" if action == "EXPIRE" else reason),
        )

    if order.rejected:
        return [row(order.place_ms, _PLACES, "PLACE", "REJECTED", 0, _REJECT_REASON[order.side])]
    left = scenario.quote_lots
    rows = [row(order.place_ms, _PLACES, "PLACE", "OPEN", left)]
    left_at_request = left
    for ms, lots in order.prints:
        left -= lots
        pending = ms > requested
        rows.append(row(ms, _FILLS, "FILL", "CANCEL_PENDING" if pending else "OPEN", left))
        if not pending:
            left_at_request = left
    if left == 0:
        rows.append(row(order.prints[-1][0], _FILLS, "CLOSE_FILLED", "FILLED", 0))
    if order.cancel_req_ms is not None:
        rows.append(
            row(order.cancel_req_ms, _CANCELS, "CANCEL_REQ", "CANCEL_PENDING", left_at_request)
        )
    if order.gone_ms is not None:
        end = ("EXPIRE", "EXPIRED") if order.expires_first else ("CANCEL_ACK", "CANCELLED")
        rows.append(row(order.gone_ms, _ENDS, *end, left))
    return rows


def _fill_table(scenario: Scenario, orders: Sequence[Order], ids: Sequence[str]) -> pd.DataFrame:
    reason = "poisson" if scenario.fill_mode == "per_tick" else "trade_cross"
    rows: list[tuple[Any, ...]] = []
    for order_id, order in zip(ids, orders, strict=True):
        price = _price(scenario, order.price)
        for ms, lots in order.prints:
            qty = _qty(scenario, lots)
            fee = round(FEE_RATE * price * qty, 8)
            rows.append((ms, order_id, order.side, price, qty, fee, reason))
    rows.sort(key=itemgetter(0))
    return _frame(rows, FILL_COLUMNS)


def _state_table(
    scenario: Scenario, market: Market, orders: Sequence[Order], fills: pd.DataFrame
) -> pd.DataFrame:
    """Account for inventory and cash at each row, after that tick's fills."""
    tick_ms = market.tick_ms
    sign = np.where(fills["side"] == "BUY", 1.0, -1.0)
    qty, notional = sign * fills["qty"], sign * fills["qty"] * fills["price"]
    seen = np.searchsorted(fills["recv_ms"], tick_ms, side="right")
    inventory = np.concatenate(([0.0], np.cumsum(qty)))[seen].round(8) + 0.0  # no -0.0
    paid = np.concatenate(([0.0], np.cumsum(notional + fills["fee"])))[seen]
    cash = (INITIAL_CASH - paid).round(8)
    mid = (market.mid * scenario.price_grid / 2.0).round(8)

    live = [order for order in orders if not order.rejected]
    placed = [order.place_ms for order in live]
    closed = sorted(order.closed_ms for order in live if order.closed_ms is not None)
    opened_rows = np.searchsorted(placed, tick_ms, side="right")
    closed_rows = np.searchsorted(np.asarray(closed, dtype=np.int64), tick_ms, side="right")
    columns = (
        *(tick_ms, inventory, cash, mid, (cash + inventory * mid).round(8)),
        opened_rows - closed_rows,
    )
    return pd.DataFrame(dict(zip(STATE_COLUMNS, columns, strict=True)))


def _truth(scenario: Scenario, seed: int, market: Market) -> dict[str, Any]:
    return {
        "symbol": scenario.symbol,
        "seed": seed,
        "A": scenario.A,
        "k": scenario.k,
        "tick_size": scenario.tick_size,
        "dt_ms": scenario.dt_ms if scenario.fill_mode == "per_tick" else None,
        "A_time_average": scenario.A * scenario.mean_activity,
        "burst_share": float(np.mean(market.activity[:-1] != 1.0)),
        "scenario": asdict(scenario),
    }


def _or_nan(ms: int | None) -> float:
    return math.nan if ms is None else float(ms)


def _frame(rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return pd.DataFrame(
        {
            name: np.array(column, dtype=_dtype(name))
            for name, column in zip(columns, values, strict=True)
        }
    )


def _dtype(name: str) -> type:
    if name in _TEXT:
        return object
    return np.int64 if name in ("recv_ms", "active_recv_ms") else np.float64
