"""Amended orders: the same id at a new price goes on in a resting interval of its own.

An accepted AMEND row, or a second PLACE row of a resting order (cancel/replace under one id), sets
new terms from its ``active_recv_ms``, else its ``recv_ms``. A new price ends the resting interval
and starts another; a new size alone does not. The order's first fill ends all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask
from mm.logs import order_ids
from mm.logs.order_ids import Codes, is_one_of
from mm.logs.rules import CLOCK_TOLERANCE_MS


def sets_terms(orders: pd.DataFrame) -> Mask:
    """Which rows say at what price and size an order rests: accepted PLACE and AMEND rows."""
    rows = is_one_of(orders["action"], "PLACE", "AMEND")
    if "status" in orders:
        rows &= ~is_one_of(orders["status"], "REJECTED")
    return rows


@dataclass(frozen=True)
class Pieces:
    """Orders cut where their price was amended, up to their first fill. Arrays of shape (m,), the
    pieces of an order one behind the other.

    ``rows``: position of the row that set each piece's terms. ``placed``: that of its order's PLACE
    row. ``goes_on``: whether it continues an order. ``qty``: size of the order at its first fill,
    else at last. ``codes``, ``fill_codes``: number of each row's order, anew from each PLACE row
    that amends; ``n``: one more than the largest. ``n_again``: PLACE rows that amend.
    """

    rows: Ints
    placed: Ints
    goes_on: Mask
    qty: Floats
    codes: Codes
    fill_codes: Codes
    n: int
    n_again: int

    def cut(self, start: Floats, end: Floats, ended_by: npt.NDArray[np.int8], name: int) -> None:
        """Let each piece end where the next one starts (``name``), in place; times in ms, (m,)."""
        behind = np.flatnonzero(self.goes_on)
        behind = behind[start[behind] < end[behind - 1]]
        end[behind - 1], ended_by[behind - 1] = start[behind], name


def pieces(
    orders: pd.DataFrame, fills: pd.DataFrame, rows: Ints, codes: Codes, fill_codes: Codes, n: int
) -> Pieces | None:
    """The orders placed by ``rows`` cut at their amendments; None where nothing was amended.

    ``codes``, ``fill_codes``: the number of each row's order, below ``n``.
    """
    again = sets_terms(orders)
    again[rows] = False
    placed = order_ids.index_of(rows, codes, n)
    again &= placed[codes] >= 0
    if not again.any():
        return None
    several = np.zeros(n + 1, dtype=np.bool_)  # the last one for -1, no order
    several[codes[again]] = True
    first = order_ids.earliest(fill_codes, fills["recv_ms"].to_numpy(), n)
    terms = _terms(orders, np.flatnonzero(several[codes] & sets_terms(orders)), again, codes, first)
    later, at_fill = terms["again"], terms["again"] & (terms["start"] == first[terms["code"]])
    if at_fill.any() and "price" in fills:
        # Filled in the very ms of the amendment: at which of both prices?
        later = later & ~(
            at_fill & (_first_price(fills, fill_codes, n)[terms["code"]] == terms["was"])
        )
    moved = terms[later & (terms["price"] != terms["was"])]
    begins = np.concatenate([rows, moved["row"].to_numpy(dtype=np.int64)])
    order = placed[codes[begins]]
    sort = np.argsort(order, kind="stable")  # those that move behind the placement, by time
    begins, order = begins[sort], order[sort]
    qty = np.full(n, np.nan)
    qty[codes[rows]] = orders["qty"].to_numpy(np.float64)[rows] if "qty" in orders else np.nan
    known = terms[(later | ~terms["again"]) & terms["qty"].notna()]
    qty[known["code"]] = known["qty"]  # of several the last one stands
    by_place = is_one_of(orders["action"], "PLACE") & again
    new = _numbered(orders, moved.loc[by_place[moved["row"]], "row"].to_numpy(), codes, n)
    return Pieces(
        rows=begins,
        placed=rows[order],
        goes_on=np.append(False, order[1:] == order[:-1]),
        qty=qty[codes[begins]],
        codes=new,
        fill_codes=_last_of(new[begins], codes[begins], n)[fill_codes],
        n=max(n, int(new.max()) + 1),
        n_again=int(np.count_nonzero(by_place[terms.loc[terms["differs"], "row"]])),
    )


def _terms(
    orders: pd.DataFrame, rows: Ints, again: Mask, codes: Codes, first: Floats
) -> pd.DataFrame:
    """The rows that set terms of some orders up to their first fill (ms), each order's by time:
    ``row``, ``code``, ``again`` (whether it amends), ``start``; ``price`` and ``qty`` from then on,
    ``was``: the price before; ``differs``: whether it changes either."""
    some = orders.iloc[rows]
    time = some["recv_ms"].to_numpy(dtype=np.float64)
    start = some["active_recv_ms"].to_numpy(np.float64) if "active_recv_ms" in some else time
    terms = pd.DataFrame(
        {
            "row": rows,
            "code": codes[rows].astype(np.int64),
            "again": again[rows],
            "start": np.where(np.isnan(start), time, start),
            "price": some["price"].to_numpy(dtype=np.float64),
            "qty": some["qty"].to_numpy(np.float64) if "qty" in some else np.nan,
        }
    ).iloc[np.lexsort((rows, time, again[rows], codes[rows]))]
    terms = terms[~(terms["again"] & (terms["start"] > first[terms["code"]]))]
    terms = terms.assign(**terms.groupby("code")[["price", "qty"]].ffill())
    before = terms.groupby("code")[["price", "qty"]].shift()
    differs = (terms["price"] != before["price"]) | (
        terms["qty"].notna() & (terms["qty"] != before["qty"])
    )
    terms = terms.assign(was=before["price"], differs=terms["again"] & differs)
    return terms.reset_index(drop=True)


def _first_price(fills: pd.DataFrame, codes: Codes, n: int) -> Floats:
    """Price of each order's first fill, NaN where it has none."""
    by_time = np.argsort(fills["recv_ms"].to_numpy(), kind="stable")[::-1]
    out = np.full(n, np.nan)
    out[codes[by_time]] = fills["price"].to_numpy(dtype=np.float64)[by_time]
    return out


def _numbered(orders: pd.DataFrame, place_rows: Ints, codes: Codes, n: int) -> Codes:
    """The number of each row's order, where these PLACE rows and what comes behind them count as
    other orders: what ended one before it was placed again does not end it then."""
    if not len(place_rows):
        return codes
    begins = np.zeros(len(orders), dtype=np.bool_)
    begins[place_rows] = True
    of = np.zeros(n + 1, dtype=np.bool_)
    of[codes[place_rows]] = True
    rows = np.flatnonzero(of[codes])
    rows = rows[np.lexsort((rows, orders["recv_ms"].to_numpy()[rows], codes[rows]))]
    out = codes.astype(np.int64)
    passed = np.cumsum(begins[rows])  # in all orders: each gets numbers of its own
    first = np.searchsorted(codes[rows], codes[rows], side="left")
    behind = passed > passed[first]  # an order's first row is no second placement
    out[rows[behind]] = n - 1 + passed[behind]
    return out


def _last_of(new: Codes, old: Codes, n: int) -> Codes:
    """By old number the last new one of its order, shape (n + 1,) with -1, no order, at its end."""
    out = np.append(np.arange(n, dtype=np.int64), -1)
    out[old] = new
    return out


def amends(orders: pd.DataFrame, codes: Codes) -> Mask:
    """Which second PLACE rows of an id amend its order: they come later, on its side, at another
    price or size, while it rests or as its end took effect (to CLOCK_TOLERANCE_MS)."""
    placing = np.flatnonzero(order_ids.is_accepted(orders))
    rows = np.flatnonzero(np.isin(codes, codes[placing][pd.Series(codes[placing]).duplicated()]))
    names = ["recv_ms", "side", "price", "qty", "cancel_effective_ms", "expire_recv_ms"]
    some = orders.iloc[rows].reindex(columns=names).astype({"side": "str"}).fillna({"qty": -1.0})
    placed, out = np.isin(rows, placing), np.zeros(len(orders), dtype=np.bool_)
    acknowledged = is_one_of(orders["action"], "CANCEL_ACK", "EXPIRE", "CLOSE_FILLED")[rows]
    standing: dict[int, list[Any]] = {}
    ended: dict[int, float] = {}
    for at, cells in enumerate(some.to_numpy(dtype=object).tolist()):
        code, (time, *terms, cancel, expiry) = int(codes[rows[at]]), cells
        if placed[at]:
            if code in standing:
                then, side, *was = standing[code]
                late = time - ended[code] > CLOCK_TOLERANCE_MS
                out[rows[at]] = terms[0] == side and terms[1:] != was and time > then and not late
            standing[code], ended[code] = [time, *terms], np.inf
        elif acknowledged[at]:
            ended[code] = min(ended.get(code, np.inf), time)
        ended[code] = np.fmin(ended.get(code, np.inf), np.fmin(cancel, expiry))
    return out
