"""The tables as they stand in their files: what the original notebook's numbers are of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mm.logs.columns import RawTable
from mm.logs.files import KINDS, Kind
from mm.logs.log import RunLog

#: What the original notebook reads of each file, and the words by which it chooses rows.
_READ: Mapping[Kind, tuple[str, ...]] = {
    "orders": (
        *("recv_ms", "order_id", "action", "status", "price"),
        *("active_recv_ms", "cancel_effective_ms"),
    ),
    "fills": ("recv_ms", "order_id", "qty"),
    "state": ("recv_ms", "mid"),
}
_WORDS = ("order_id", "action", "status")


def as_in_file(raw: Mapping[Kind, RawTable], log: RunLog) -> dict[str, pd.DataFrame]:
    """The tables that checking changed, as they stood: the original's numbers are of those. The
    others need no second copy."""
    out: dict[str, pd.DataFrame] = {}
    for kind, table in zip(KINDS, (log.orders, log.fills, log.state), strict=True):
        names = [name for name in _READ[kind] if name in raw[kind].table]
        before = raw[kind].table[names]
        same = len(before) == len(table) and not (kind == "fills" and log.n_repaired)
        if same and kind == "state":
            same = bool(before["recv_ms"].is_monotonic_increasing)
        if not (same and all(_same_words(before, table, name) for name in _WORDS)):
            out[kind] = before
    return out


def _same_words(one: pd.DataFrame, other: pd.DataFrame, name: str) -> bool:
    if name not in one or name not in other:
        return name not in one and name not in other
    if one[name].dtype == other[name].dtype and one[name].equals(other[name]):
        return True
    return np.array_equal(one[name].to_numpy(dtype=object), other[name].to_numpy(dtype=object))
