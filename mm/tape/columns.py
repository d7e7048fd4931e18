"""Which column of a file of prints, best quotes or mids is what, by the names that venues use.

| column | names |
|---|---|
| when it happened | time, timestamp, trade_time…, transact_time, transaction_time, exch_ts, T |
| when the venue said so | event_time…, E |
| when it was heard | recv_ms, recv_time…, local_timestamp |
| aggressor | is_buyer_maker, m (true: sold); side, aggressor (buy, sell) |
| best quotes | bid, bid_price, best_bid_price, bid1_price, b; the same of ask; or mid |

Files without a header are Binance's archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mm.core.errors import InputError

Clock = Literal["exchange", "event", "received"]
Contents = Literal["prints", "quotes"]
_UNITS = ("", "_ms", "_us", "_ns")
#: In order of preference.
_TIMES: Mapping[Clock, tuple[str, ...]] = {
    "exchange": (
        *("time", "timestamp", *(f"trade_time{unit}" for unit in _UNITS)),
        *("transact_time", "transaction_time", "exch_ts", "ts", "T", "t"),
    ),
    "event": (*(f"event_time{unit}" for unit in _UNITS), "E"),
    "received": ("recv_ms", *(f"recv_time{unit}" for unit in _UNITS), "local_timestamp"),
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "price": ("price", "px", "p"),
    "maker": ("is_buyer_maker", "isbuyermaker", "m"),
    "side": ("side", "aggressor", "aggressor_side", "taker_side"),
    "id": ("id", "trade_id", "agg_trade_id", "aggtradeid"),
    "bid": ("bid", "bid_price", "best_bid_price", "best_bid", "bid1_price", "b"),
    "ask": ("ask", "ask_price", "best_ask_price", "best_ask", "ask1_price", "a"),
    "mid": ("mid", "mid_price"),
}
_ROLES: Mapping[Contents, tuple[str, ...]] = {
    "prints": ("price", "maker", "side", "id"),
    "quotes": ("bid", "ask", "mid"),
}
#: Archives without a header, by their number of cells and where the first truth value stands.
_AGG = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time"),
    "is_buyer_maker",
)
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_BOOK = (
    *("update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty"),
    *("transaction_time", "event_time"),
)
_ARCHIVES: Mapping[tuple[int, int | None], tuple[str, ...]] = {
    (6, 5): _TRADES,
    (7, 5): (*_TRADES, "is_best_match"),
    (7, 6): _AGG,
    (8, 6): (*_AGG, "is_best_match"),
    (7, None): _BOOK,
}


@dataclass(frozen=True)
class Layout:
    """``columns``: all names, in the file's order; ``header``: whether it has them; ``names``: of
    the columns that are used, by what they are; ``clocks``: of the columns of times."""

    columns: tuple[str, ...]
    header: bool
    names: Mapping[str, str]
    clocks: Mapping[Clock, str]


def layout_of(
    first: Sequence[str], second: Sequence[str], contents: Contents, label: str
) -> Layout:
    """The layout of a file whose first rows hold these cells.

    Raises InputError for a file without a name or column that is needed."""
    header = not all(_is_value(cell) for cell in first)
    columns = tuple(cell.strip() for cell in first) if header else _unnamed(first, label)
    by_name = {name.lower(): name for name in reversed(columns)} | {name: name for name in columns}

    def find(known: Sequence[str]) -> str | None:
        return next((by_name[name] for name in known if name in by_name), None)

    clocks = {clock: name for clock, known in _TIMES.items() if (name := find(known))}
    names = {role: name for role in _ROLES[contents] if (name := find(_NAMES[role]))}
    if "maker" in names:
        names.pop("side", None)
    # Ids that are no whole numbers tell nothing here.
    at = columns.index(names["id"]) if "id" in names else len(second)
    if at < len(second) and not second[at].strip().isdecimal():
        del names["id"]
    for what, there, name in (
        ("times", clocks, "time"),
        ("prices", contents == "quotes" or "price" in names, "price"),
        ("aggressors", contents == "quotes" or {"maker", "side"} & names.keys(), "side"),
        ("bids", contents == "prints" or {"bid", "mid"} & names.keys(), "bid"),
        ("asks", contents == "prints" or {"ask", "mid"} & names.keys(), "ask"),
    ):
        if not there:
            raise InputError(
                f"no column of {what} (found: {', '.join(columns[:12])[:160]})",
                where=label,
                row=1,
                remedy=f"name it {name}; docs/tape.md has the names that are known",
            )
    if {"bid", "ask"} <= names.keys():
        names.pop("mid", None)
    return Layout(columns, header, names, clocks)


def common_clock(prints: Layout, quotes: Layout) -> Clock | None:
    """The best clock that both files have, None where they share none."""
    return next((c for c in _TIMES if c in prints.clocks and c in quotes.clocks), None)


def _is_value(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return cell.strip().lower() in ("true", "false")
    return True


def _unnamed(first: Sequence[str], label: str) -> tuple[str, ...]:
    truth = [i for i, cell in enumerate(first) if cell.strip().lower() in ("true", "false")]
    names = _ARCHIVES.get((len(first), truth[0] if truth else None))
    if names is None:
        raise InputError(
            f"has no header, and {len(first)} columns that are no archive's of Binance",
            where=label,
            row=1,
            remedy="put the names of the columns on top",
        )
    return names
