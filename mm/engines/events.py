"""Order events and quotes of any engine, and the three tables that say the same.

| event | in the tables |
|---|---|
| place | a PLACE row at the time the order was sent |
| accept | the ``active_recv_ms`` of its PLACE row |
| reject | status REJECTED on its PLACE row; so too where nothing ever came back |
| amend | an AMEND row, active when the exchange changed the order |
| cancel | a CANCEL_ACK row, effective when the exchange took the order away |
| expire | an EXPIRE row, with the exchange's time |
| fill | a row of the fills, with the exchange's time and the liquidity side |

Times are cut to whole ms, never rounded: what comes first stays first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mm.core.errors import InputError

KINDS = ("place", "accept", "reject", "amend", "cancel", "expire", "fill")
#: Columns of events beside ``kind``, ``order_id`` and ``time_ns``; a missing one is empty.
_MORE = ("sent_ns", "side", "price", "qty", "fee", "liquidity", "reason")
_NS_PER_MS = 1_000_000
#: From which number on times since the epoch are in a unit (1973 and later), and its ns.
_UNITS = (("s", 1e8, 10**9), ("ms", 1e11, 10**6), ("us", 1e14, 10**3), ("ns", 1e17, 1))


@dataclass(frozen=True)
class Tables:
    """One symbol as the backtester's own three tables. ``notes``: what the source does not say, or
    what was left out, one line each."""

    symbol: str
    orders: pd.DataFrame
    fills: pd.DataFrame
    state: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass
class Recording:
    """What an adapter read of one symbol.

    ``events``: ``kind`` (of KINDS), ``order_id``, ``time_ns`` (the exchange's, int64), and where
    known ``sent_ns`` (of all events: when the user asked or heard, int64), ``side``, ``price``,
    ``qty`` (of the order; of the print for a fill), ``fee``, ``liquidity``, ``reason``; in time
    order an order.
    ``quotes``: ``time_ns`` and ``mid``. ``blind_ns``: spans in which nobody listened: no mid holds
    there. ``notes``: losses.
    """

    symbol: str
    events: pd.DataFrame
    quotes: pd.DataFrame
    blind_ns: Sequence[tuple[int, int]] = ()
    notes: list[str] = field(default_factory=list)

    def tables(self, where: str) -> Tables:
        """The three tables. Raises InputError where there is no order or no mid."""
        events = self.events.reindex(columns=["kind", "order_id", "time_ns", *_MORE])
        if "sent_ns" not in self.events:
            events["sent_ns"] = events["time_ns"]
        placed = events[events["kind"] == "place"].drop_duplicates("order_id")
        if placed.empty or self.quotes.empty:
            what = "no order is placed" if placed.empty else "no quote, so no mid"
            remedy = "record best quotes with the orders" if self.quotes.empty else "look there"
            raise InputError(f"{self.symbol}: {what}", where=where, remedy=remedy)
        notes = list(self.notes)
        unknown = ~events["order_id"].isin(placed["order_id"])
        if unknown.any():
            n = events.loc[unknown, "order_id"].nunique()
            notes.append(f"{n} orders were placed before the recording began; left out")
            events = events[~unknown]
        market = ~(placed["price"] > 0)
        if market.any():
            notes.append(
                f"{int(market.sum())} orders that rest at no price (market, stop) are left out"
            )
            events = events[~events["order_id"].isin(placed.loc[market, "order_id"])]
            placed = placed[~market]
        return Tables(
            self.symbol, _orders(events, placed), _fills(events), self._state(), tuple(notes)
        )

    def _state(self) -> pd.DataFrame:
        quotes = self.quotes
        for start, end in self.blind_ns:
            quotes = quotes[~quotes["time_ns"].between(start, end, inclusive="neither")]
        state = pd.DataFrame({"recv_ms": quotes["time_ns"] // _NS_PER_MS, "mid": quotes["mid"]})
        # Of rows in one ms the last counts.
        state = state.sort_values("recv_ms", kind="stable").drop_duplicates("recv_ms", keep="last")
        return state[state["mid"] > 0].reset_index(drop=True)


def _orders(events: pd.DataFrame, placed: pd.DataFrame) -> pd.DataFrame:
    def first(*kinds: str) -> pd.DataFrame:
        rows = events[events["kind"].isin(kinds)].drop_duplicates("order_id")
        return rows.set_index("order_id")

    accepted, rejected = first("accept")["time_ns"], first("reject")
    ids = placed["order_id"]
    begun = ids.isin(accepted.index)
    heard = ids.isin(first("fill", "amend", "cancel", "expire").index)
    reason = ids.map(rejected["reason"].where(rejected["reason"].notna(), "rejected").to_dict())
    reason = reason.where(reason.notna(), "never accepted")
    refused = ~begun & (ids.isin(rejected.index) | ~heard)
    place = _rows(placed, "PLACE").assign(
        status=np.where(refused, "REJECTED", "OPEN"),
        # To ms first: beside a missing one ns become floats, which do not hold them.
        active_recv_ms=ids.map(accepted // _NS_PER_MS).astype("Int64"),
        reject_reason=reason.where(refused, ""),
    )
    parts = [place]
    for kind, action, column in (
        ("amend", "AMEND", "active_recv_ms"),
        ("cancel", "CANCEL_ACK", "cancel_effective_ms"),
        ("expire", "EXPIRE", "expire_recv_ms"),
    ):
        some = events[events["kind"] == kind]
        time = (some["time_ns"] // _NS_PER_MS).astype("Int64")
        rows = _rows(some, action).assign(**{column: time})
        # What ended an order may name a price that it never rested at: one it was refused.
        parts.append(rows if kind == "amend" else rows.assign(price=np.nan))
    whole = pd.concat(parts).sort_values(["recv_ms", "_at"], kind="stable")
    columns = ["recv_ms", "order_id", "action", "status", "side", "price", "qty"]
    columns += ["active_recv_ms", "expire_recv_ms", "cancel_effective_ms", "reject_reason"]
    return whole.reindex(columns=columns).reset_index(drop=True)


def _rows(events: pd.DataFrame, action: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recv_ms": events["sent_ns"] // _NS_PER_MS,
            "order_id": events["order_id"],
            "action": action,
            "side": events["side"].fillna(""),
            "price": events["price"].astype("float64"),
            "qty": events["qty"].astype("float64"),
            "_at": np.arange(len(events)),
        }
    )


def _fills(events: pd.DataFrame) -> pd.DataFrame:
    fills = events[events["kind"] == "fill"].sort_values("time_ns", kind="stable")
    names = ["order_id", "side", "price", "qty", "fee", "liquidity"]
    words = {name: fills[name].astype("object").fillna("") for name in ("side", "liquidity")}
    rows = fills[names].assign(**words)
    rows.insert(0, "recv_ms", fills["time_ns"] // _NS_PER_MS)
    return rows.reset_index(drop=True)


def in_ns(times: pd.Series, unit: str, where: str, column: str) -> pd.Series:
    """Whole ns since the epoch from numbers in s, ms, us or ns, or from text with a date.

    Raises InputError with the row for a time that is missing or in another unit: such times give
    plausible wrong numbers.
    """
    if not pd.api.types.is_numeric_dtype(times):
        numbers = pd.to_numeric(times, errors="coerce")
        if numbers.notna().any() or not len(times):
            times = numbers
        else:
            dates = pd.to_datetime(times, utc=True, errors="coerce", format="ISO8601")
            _check(dates.isna().to_numpy(), times, "no time", where, column)
            found: pd.Series[Any] = dates.dt.as_unit("ns").astype("int64")
            return found
    names = [name for name, _, _ in _UNITS]
    nth = names.index(unit)
    low, per_ns = _UNITS[nth][1:]
    high = _UNITS[nth + 1][1] if nth + 1 < len(_UNITS) else np.inf
    wrong = ~((times >= low) & (times < high)).to_numpy(dtype=np.bool_)
    if wrong.any():
        found = times[wrong].iloc[0]
        its = next((name for name, least, _ in reversed(_UNITS) if found >= least), "")
        what = f"a time in {its}, where {unit} are expected" if its else "no time"
        _check(wrong, times, what, where, column)
    if pd.api.types.is_integer_dtype(times):
        in_integers: pd.Series[Any] = times.astype("int64") * per_ns
        return in_integers
    values = times.to_numpy(dtype=np.float64)
    rest = np.rint(np.mod(values, 1.0) * per_ns).astype(np.int64)
    return pd.Series(np.floor(values).astype(np.int64) * per_ns + rest, index=times.index)


def _check(wrong: np.ndarray, cells: pd.Series, what: str, where: str, column: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{what} ({str(cells.iloc[row])[:40]})",
            where=where,
            row=row + 2,
            column=column,
            remedy="one recording has one unit: mend it, or take the other files away",
        )
