"""The three tables of one run: what the statistics are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from mm.core.arrays import Ints
from mm.logs.ledger import Ledger
from mm.logs.order_ids import Codes, OrderNames, order_codes


@dataclass(frozen=True)
class Run:
    """One run, typed and checked; see ``mm.logs.load`` for how it gets there.

    ``orders``: recv_ms (int64), order_id, action, side, price (float64), and status, qty,
    active_recv_ms, expire_recv_ms, cancel_effective_ms (float64, NaN where empty) where the
    backtester wrote them. ``fills``: recv_ms, order_id, and qty, reason. ``state``: recv_ms, mid,
    in time order; of rows that share a ms all are kept, in file order. ``end_ms``: time of the
    last row in any of the three. Times are ms since the epoch. ``blind_ms``: times from which
    the mid is unknown until the next state row, because a malformed row stood there.
    ``ledger``: the state rows' inventory, cash and open orders, None to take the table's.
    ``order_names``: of a long log, whose ``order_id`` are numbers; its tables have neither
    remaining_qty nor mtm_value, nor what is in the ledger.
    ``written``: by kind, a table as it stands in its file, where checking changed it.
    """

    orders: pd.DataFrame
    fills: pd.DataFrame
    state: pd.DataFrame
    end_ms: int
    blind_ms: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64), kw_only=True)
    ledger: Ledger | None = field(default=None, kw_only=True)
    order_names: OrderNames | None = field(default=None, kw_only=True)
    written: Mapping[str, pd.DataFrame] = field(default_factory=dict, kw_only=True)

    @property
    def start_ms(self) -> int:
        """Time of the first state row, ms since the epoch."""
        return int(self.state["recv_ms"].iloc[0])

    @cached_property
    def codes(self) -> tuple[Codes, Codes, int]:
        """Number of each row's order in orders and fills, and one more than the largest."""
        return order_codes(self.orders, self.fills)
