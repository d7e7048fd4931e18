"""The state rows keep books: inventory, cash and value. Held against fills, their prices and mids.

Double entry: what the fills file says was bought and sold must move the inventory, and
``mtm_value`` = cash + inventory × mid must hold with the mid of its row. A log whose books are
empty, or are kept by another rule, says nothing here; remove the column if it means another thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask, distinct_of
from mm.logs.order_ids import is_one_of

#: State columns of which only the rows that change them are kept: however many rows a second a
#: log holds, these change only with orders and fills.
NAMES = ("inventory", "cash", "open_orders")
#: Fewer moves or rows than this say nothing.
_FEW_MOVES, _FEW_ROWS = 20, 50
#: A value further than this, of the mid, from cash + inventory × mid is counted by another rule; in
#: real logs none is off by more than rounding.
_OTHER_RULE = 0.02
#: Spread of the implied error, of the error itself, below which all mids or prices are off alike;
#: fees go with the price, so that prices spread a little more.
_ALIKE, _PRICES_ALIKE = 0.1, 0.25
#: Books are written with this many decimals, or more.
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Changes:
    """A column of ``n`` cells: ``value[i]`` stands from row ``row[i]`` to the one before the next.

    ``row``: int32 (m,), increasing from 0; ``value``: float64 (m,), NaN for nothing.
    """

    row: npt.NDArray[np.int32]
    value: Floats
    n: int

    @classmethod
    def of(cls, values: npt.NDArray[np.generic]) -> Changes:
        """Those of a whole column."""
        column = np.ascontiguousarray(values, dtype=np.float64)
        row = changed(column, None)
        return cls(row.astype(np.int32), column[row], len(column))

    def at(self, rows: Ints) -> Floats:
        """The cells of some rows, in the shape of these."""
        return self.value[np.searchsorted(self.row, rows, side="right") - 1]

    def cells(self, begin: int, end: int) -> Floats:
        """The cells of the rows from ``begin`` to before ``end``."""
        # Of the rows' own type: for another one numpy would copy them all.
        first = int(np.searchsorted(self.row, np.int32(begin), side="right")) - 1
        last = int(np.searchsorted(self.row, np.int32(end), side="left"))
        borders = np.clip(np.append(self.row[first:last], end), begin, end)
        return np.repeat(self.value[first:last], np.diff(borders))

    def without_nothing(self) -> tuple[Changes, Mask | None]:
        """The column without its empty cells, and which rows that leaves (None for all)."""
        there = np.isfinite(self.value)
        if there.all():
            return self, None
        length = np.diff(np.append(self.row, self.n))
        kept = length[there]
        row = (np.cumsum(kept) - kept).astype(np.int32)
        left = Changes(row, self.value[there], int(kept.sum()))
        return left, np.repeat(there, length)


def changed(values: Floats, before: float | None) -> Ints:
    """Rows that do not hold what the row before them does; ``before``: what stood before the
    first. Compared bit by bit, so that nothing is as nothing."""
    bits = values.view(np.int64)
    new = np.empty(len(bits), dtype=np.bool_)
    np.not_equal(bits[1:], bits[:-1], out=new[1:])
    new[:1] = before is None or bits[:1] != np.array([before]).view(np.int64)
    return np.flatnonzero(new)


@dataclass(frozen=True)
class Ledger:
    """The books of one run's state rows, in time order; None for a column the log has not."""

    inventory: Changes | None = None
    cash: Changes | None = None
    open_orders: Changes | None = None

    @classmethod
    def of(cls, state: pd.DataFrame) -> Ledger:
        """The books that a table of state rows holds."""
        return cls(**{n: Changes.of(state[n].to_numpy()) for n in NAMES if n in state})


def unmatched_moves(fills: pd.DataFrame, time: Ints, ledger: Ledger) -> tuple[int, int]:
    """(n, m): n times between two state rows in which Σ ±qty of the fills ≠ 0 or the inventory
    changed, m of them in which only one of both did; (0, 0) without an inventory that changes.

    ``time``: of the state rows, ms, in order.
    """
    held = ledger.inventory
    if held is None or not {"side", "qty"} <= set(fills.columns) or fills.empty:
        return 0, 0
    held, there = held.without_nothing()
    if held.n < 2:
        return 0, 0
    time = time if there is None else time[there]
    largest = max(-float(held.value.min()), float(held.value.max()))
    moved = held.row[1:][np.abs(np.diff(held.value)) > 4.0 * float(np.spacing(largest))]
    if not len(moved):
        return 0, 0
    sign = np.where(is_one_of(fills["side"], "SELL"), -1.0, 1.0)
    signed = sign * np.nan_to_num(fills["qty"].to_numpy(dtype=np.float64))
    best: tuple[int, int] = (0, 0)
    # A fill in the very ms of a row may have been booked in it or in the next; rows may also be
    # written before their tick's fills.
    fill_ms = fills["recv_ms"].to_numpy(dtype=np.int64)
    before = np.searchsorted(time, fill_ms, side="left")
    behind = np.searchsorted(time, fill_ms, side="right")
    for at in (before, behind, before + 1):
        traded = _traded(at, signed, len(time))
        both = len(np.intersect1d(moved, traded, assume_unique=True))
        either = len(moved) + len(traded) - both
        wrong = either - both
        if not best[0] or wrong * best[0] < best[1] * either:
            best = either, wrong
    if best[0] < _FEW_MOVES:
        return 0, 0
    if best[1]:
        # Some fills of a row's ms booked in it and others in the next: only the sums tell.
        best = best[0], min(best[1], _jumps(time, held, fill_ms, signed))
    return best


def _jumps(time: Ints, held: Changes, fill_ms: Ints, signed: Floats) -> int:
    """How often inventory less all fills booked so far jumps: once for each that one side lacks.

    A row holds all fills before the ms of the row before it, and any of those since, its own ms
    included: what is lost inside such a window shows in the first row that has none.
    """
    order = np.argsort(fill_ms, kind="stable")
    fill_ms, signed = fill_ms[order], signed[order]
    bought, sold = (
        np.append(0.0, np.cumsum(part)) for part in (signed.clip(0), signed.clip(max=0))
    )
    booked = bought + sold
    largest = max(float(np.abs(booked).max()), float(np.abs(held.value).max()))
    close = 1e-9 * largest + 8.0 * float(np.spacing(largest))
    value = held.cells(0, len(time))
    behind = np.searchsorted(fill_ms, time, side="right")
    before = np.append(0, np.searchsorted(fill_ms, time[:-1], side="left"))
    busy = np.flatnonzero((before < behind) | (np.diff(value, prepend=value[:1]) != 0.0))
    # and the first one behind, whose window is empty again
    busy = np.intersect1d(np.union1d(busy, busy + 1), np.arange(len(time)))
    jumps, offset = 0, float(value[0] - booked[behind[0]])

    lowest = booked[before] + sold[behind] - sold[before]
    highest = booked[before] + bought[behind] - bought[before]
    for row in busy.tolist():
        low, high = value[row] - highest[row], value[row] - lowest[row]
        if not low - close <= offset <= high + close:
            # Before the first move nothing says how much of its ms the first row holds.
            jumps += row > int(busy[0])
            offset = float(value[row] - booked[behind[row]])
    return jumps


def _traded(at: Ints, signed: Floats, n_rows: int) -> Ints:
    """Rows since the one before which the fills leave another quantity; ``at``: the row of each."""
    inside = (at > 0) & (at < n_rows)
    rows, of = distinct_of(at[inside])
    net = np.bincount(of, weights=signed[inside], minlength=len(rows))
    gross = np.bincount(of, weights=np.abs(signed[inside]), minlength=len(rows))
    return np.asarray(rows[np.abs(net) > 1e-9 * np.maximum(gross, 1e-300)], dtype=np.int64)


def value_error(
    held: Floats, cash: Floats, value: Floats, mid: Floats
) -> tuple[Mask, Floats, Floats]:
    """off = mtm_value − cash − inventory × mid of each state row, in quote currency, shape (n,):
    (whether enough is held to tell a wrong mid, off, by how much rounding may make it off)."""
    rounding = _ROUNDING * (mid + np.abs(held) + 2.0)
    rounding += 8.0 * np.spacing(np.maximum(np.abs(value), np.abs(cash)))
    off = value - cash - held * mid
    # Where next to nothing is held, no mid can be inferred.
    tells = np.isfinite(off) & (np.abs(held) * mid * 1e-3 > rounding)
    return tells, off, rounding


def mids_against_value(state: pd.DataFrame) -> tuple[Mask, float]:
    """Rows with mtm_value ≠ cash + inventory × mid, mask (n,), where most rows are right; and where
    most are wrong alike, the median of off / inventory, in quote currency, else 0."""
    none = np.zeros(len(state), dtype=np.bool_)
    if not {"inventory", "cash", "mtm_value"} <= set(state.columns):
        return none, 0.0
    names = ("inventory", "cash", "mtm_value", "mid")
    held, cash, value, mid = (state[name].to_numpy(dtype=np.float64) for name in names)
    tells, off, rounding = value_error(held, cash, value, mid)
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


def prices_against_cash(fills: pd.DataFrame, time: Ints, ledger: Ledger) -> float:
    """(e_buy + e_sell) / 2 with e = median of (Δcash + Σ ±qty × price) / Σ ±qty over the times
    between two state rows in which the inventory moved by Σ ±qty: by how much all fill prices are
    off alike, in quote currency. 0 where they are not, or the books don't say.

    Buyers and sellers both pay the fee: half the sum is without it. ``time``: of the state rows,
    ms, in order.
    """
    needed = {"recv_ms", "side", "price", "qty"}
    held, cash = ledger.inventory, ledger.cash
    if held is None or cash is None or not needed <= set(fills.columns):
        return 0.0
    at = np.searchsorted(time, fills["recv_ms"].to_numpy(dtype=np.int64), side="left")
    inside = (at > 0) & (at < len(time))
    rows, of = distinct_of(at[inside])
    sign = np.where(is_one_of(fills["side"], "SELL"), -1.0, 1.0)[inside]
    price, qty = (fills[name].to_numpy(dtype=np.float64)[inside] for name in ("price", "qty"))
    bought = np.bincount(of, weights=sign * qty, minlength=len(rows))
    paid = np.bincount(of, weights=sign * qty * price, minlength=len(rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = held.at(rows) - held.at(rows - 1)
        missing = (cash.at(rows) - cash.at(rows - 1) + paid) / bought
    tells = np.isfinite(missing) & (np.abs(moved - bought) <= 1e-6 * np.abs(bought))
    sides = [missing[tells & (bought > 0)], missing[tells & (bought < 0)]]
    if min(len(side) for side in sides) < _FEW_MOVES // 2:
        return 0.0
    middle = [float(np.median(side)) for side in sides]
    error = 0.5 * (middle[0] + middle[1])
    spread = max(float(np.median(np.abs(side - m))) for side, m in zip(sides, middle, strict=True))
    largest = _OTHER_RULE * float(np.median(price))
    alike = spread <= _PRICES_ALIKE * abs(error)
    return error if alike and abs(error) <= largest else 0.0
