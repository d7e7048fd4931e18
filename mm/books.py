"""The state rows keep books: inventory, cash and value. Held against fills and mids.

Double entry: what the fills file says was bought and sold must move the inventory, and
``mtm_value`` = cash + inventory × mid must hold with the mid of its row. A log whose books are
empty, or are kept by another rule, says nothing here; remove the column if it means another thing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mm.arrays import Floats, Ints, Mask
from mm.order_ids import is_one_of

#: Fewer moves or rows than this say nothing.
_FEW_MOVES, _FEW_ROWS = 20, 50
#: A value further than this from cash + inventory × mid is counted by another rule.
_OTHER_RULE = 0.02
#: Spread of the implied error of the mids, of the error itself, below which all are off alike.
_ALIKE = 0.1
#: Books are written with this many decimals, or more.
_ROUNDING = 1e-8


def unmatched_moves(fills: pd.DataFrame, state: pd.DataFrame) -> tuple[int, int]:
    """Times between two state rows in which either the fills or the inventory moved, and how
    many of them only one of both did. (0, 0) without an inventory that moves. ``state`` is in
    time order."""
    if "inventory" not in state or not {"side", "qty"} <= set(fills.columns) or fills.empty:
        return 0, 0
    known = np.isfinite(state["inventory"].to_numpy(dtype=np.float64))
    time = state["recv_ms"].to_numpy(dtype=np.int64)[known]
    held = state["inventory"].to_numpy(dtype=np.float64)[known]
    if len(held) < 2:
        return 0, 0
    moved = np.abs(np.diff(held)) > 4.0 * np.spacing(np.abs(held).max())
    if not moved.any():
        return 0, 0
    sign = np.where(is_one_of(fills["side"], "SELL"), -1.0, 1.0)
    signed = sign * np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
    best: tuple[int, int] = (0, 0)
    # A fill in the very ms of a row may have been booked in it or in the next; rows may also be
    # written before their tick's fills.
    for side, lag in (("left", 0), ("right", 0), ("left", 1)):
        traded = _traded(fills["recv_ms"].to_numpy(dtype=np.int64), signed, time, side, lag)
        either = int((moved | traded).sum())
        wrong = int((moved ^ traded).sum())
        if not best[0] or wrong * best[0] < best[1] * either:
            best = either, wrong
    return best if best[0] >= _FEW_MOVES else (0, 0)


def _traded(fill_ms: Ints, signed: Floats, time: Ints, side: str, lag: int) -> Mask:
    """Whether the fills of each time between two rows leave another quantity."""
    at = np.searchsorted(time, fill_ms, side=side) + lag  # type: ignore[call-overload]
    inside = (at > 0) & (at < len(time))
    net = np.bincount(at[inside], weights=signed[inside], minlength=len(time))[1:]
    gross = np.bincount(at[inside], weights=np.abs(signed[inside]), minlength=len(time))[1:]
    return np.asarray(np.abs(net) > 1e-9 * np.maximum(gross, 1e-300), dtype=np.bool_)


def mids_against_value(state: pd.DataFrame) -> tuple[Mask, float]:
    """Rows whose mid is not the one by which ``mtm_value`` was counted, where most rows' is; and
    by how much all mids are off alike, in units of price (0 where they are not)."""
    none = np.zeros(len(state), dtype=np.bool_)
    if not {"inventory", "cash", "mtm_value"} <= set(state.columns):
        return none, 0.0
    names = ("inventory", "cash", "mtm_value", "mid")
    held, cash, value, mid = (state[name].to_numpy(dtype=np.float64) for name in names)
    rounding = _ROUNDING * (mid + np.abs(held) + 2.0)
    rounding += 8.0 * np.spacing(np.maximum(np.abs(value), np.abs(cash)))
    off = value - cash - held * mid
    # Where next to nothing is held, no mid can be told.
    tells = np.isfinite(off) & (np.abs(held) * mid * 1e-3 > rounding)
    if tells.sum() < _FEW_ROWS:
        return none, 0.0
    false = tells & (np.abs(off) > rounding)
    if false.sum() <= 0.5 * tells.sum():
        return np.asarray(false, dtype=np.bool_), 0.0
    error = off[tells] / held[tells]
    middle = float(np.median(error))
    spread = float(np.median(np.abs(error - middle)))
    if abs(middle) > _OTHER_RULE * float(np.median(mid)) or spread > _ALIKE * abs(middle):
        return none, 0.0
    return none, middle
