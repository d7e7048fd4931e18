"""Three checked tables to one run: hold them against each other, repair, leave out, and say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mm.core.arrays import Ints
from mm.core.concurrency import side_by_side
from mm.core.errors import InputError
from mm.logs import bookkeeping
from mm.logs.bookkeeping import Ledger
from mm.logs.columns import TEXT, Checked, SetAside
from mm.logs.consistency import Contradiction, contradictions, missing_fills, suspects
from mm.logs.files import KINDS, Kind
from mm.logs.intervals import ignored_actions, resting_intervals
from mm.logs.log import RunLog
from mm.logs.one_run import check_one_run
from mm.logs.order_ids import is_one_of, share_ids
from mm.logs.timestamps import (
    appended,
    in_time_order,
    restarts,
    rounded,
    seams,
    shifted,
)
from mm.logs.words import REJECT

#: Share of the moves of inventory or fills that the other does not have. Real logs: 0.011 at most,
#: of fills in the very ms of a state row.
UNMATCHED = 0.05


def assembled(
    checked: Mapping[Kind, Checked],
    name: str,
    labels: Mapping[Kind, str],
    sha256: Mapping[Kind, str],
) -> RunLog:
    """Hold checked tables against each other; ``order_id`` comes back numbered.

    Raises InputError: no usable order or state row, an id that names two orders, files that are
    not of one symbol or time.
    """
    orders, fills = share_ids(checked["orders"].table, checked["fills"].table)
    check_one_run(checked, orders, labels)
    second_run = appended(checked, labels)
    state = _state_rows(checked["state"], labels["state"])
    contradicting, off = side_by_side(
        len(orders),
        lambda: [one for one in contradictions(orders, fills, state.table) if one[1].any()],
        lambda: shifted(orders, fills, state.table, labels),
    )
    off = rounded(state.table, labels["state"]) + off
    orders, fills, tainted, untrue = _agreeing(checked, orders, fills, contradicting, labels)
    malformed = (one for kind in KINDS for one in checked[kind].set_aside)
    set_aside = (*malformed, *state.set_aside, *untrue)
    n_repaired = 0
    warnings = tuple(text for kind in KINDS for text in checked[kind].said) + state.warnings
    if not off:
        fills, n_repaired, repaired = _repaired(orders, fills, tainted, labels)
        orders, fills = share_ids(orders, fills)
        warnings += repaired
    end_ms = max(int(t["recv_ms"].max()) for t in (orders, fills, state.table) if len(t))
    tainted |= _suspects(checked, orders, fills, end_ms)
    orders, left_out = _without(orders, tainted, labels["orders"])
    _check_any_left(orders, set_aside, labels["orders"])
    orders, fills = orders.reset_index(drop=True), fills.reset_index(drop=True)
    second_run += _second_run(orders, fills, state, end_ms, labels["state"])
    disagree, price_offset = side_by_side(
        len(fills),
        lambda: _disagree(fills, state, labels),
        lambda: bookkeeping.prices_against_cash(fills, state.time_ms, state.ledger),
    )
    return RunLog(
        orders,
        fills,
        state.table,
        end_ms,
        name,
        set_aside,
        warnings + left_out + _unknown_actions(orders, labels["orders"]),
        second_run,
        off,
        n_repaired,
        {labels[kind]: sha256[kind] for kind in KINDS if sha256[kind]},
        labels=labels,
        ledger=state.ledger,
        disagree=disagree,
        mid_offset=state.mid_offset,
        price_offset=price_offset,
        blind_ms=state.blind_ms,
    )


@dataclass(frozen=True)
class _State:
    """The state rows that can be used, in time order, their books, and what was left out.

    ``blind_ms``: times from which the mid is unknown, ms. ``mid_offset``: by how much all mids are
    off alike, in units of price.
    """

    table: pd.DataFrame
    ledger: Ledger
    blind_ms: Ints
    mid_offset: float
    set_aside: tuple[SetAside, ...]
    warnings: tuple[str, ...]

    @property
    def time_ms(self) -> Ints:
        """Of each row, ms since the epoch."""
        return self.table["recv_ms"].to_numpy(dtype=np.int64)


def _state_rows(checked: Checked, label: str) -> _State:
    """The state rows without those whose own mtm_value was counted with another mid."""
    table, blind = checked.table, checked.blind_ms
    set_aside: tuple[SetAside, ...] = ()
    false, offset = bookkeeping.mids_against_value(table)
    if false.any():
        what = "column mid: not the one by which the row's mtm_value was counted"
        set_aside = (checked.left_out(label, false, what),)
        lost_ms, table = table.loc[false, "recv_ms"], table.loc[~false].reset_index(drop=True)
        if table.empty:
            what = f"no usable state row ({set_aside[0]})"
            raise InputError(what, where=label, remedy="write it again")
        blind = np.union1d(blind, np.setdiff1d(lost_ms, table["recv_ms"])).astype(np.int64)
    table, warnings = in_time_order(table, label)
    ledger = checked.ledger or Ledger.of(table)
    return _State(table, ledger, blind, offset, set_aside, warnings)


def _agreeing(
    checked: Mapping[Kind, Checked],
    orders: pd.DataFrame,
    fills: pd.DataFrame,
    contradicting: Iterable[Contradiction],
    labels: Mapping[Kind, str],
) -> tuple[pd.DataFrame, pd.DataFrame, set[str], list[SetAside]]:
    """Orders and fills without the rows that contradict others; the ids on any malformed row,
    whose orders can't be trusted; and what was set aside. A row counts for its first cause."""
    tainted = set(checked["orders"].tainted | checked["fills"].tainted)
    tables, set_aside = {"orders": orders, "fills": fills}, []
    false = {kind: np.zeros(len(table), dtype=np.bool_) for kind, table in tables.items()}
    for kind, rows, what in contradicting:
        new = rows & ~false[kind]
        if new.any():
            set_aside.append(checked[kind].left_out(labels[kind], new, what))
            tainted.update(tables[kind].loc[new, "order_id"])
            false[kind] |= new
    if any(rows.any() for rows in false.values()):
        orders, fills = orders.loc[~false["orders"]], fills.loc[~false["fills"]]
    return orders, fills, tainted, set_aside


def _suspects(
    checked: Mapping[Kind, Checked], orders: pd.DataFrame, fills: pd.DataFrame, end_ms: int
) -> set[str]:
    """Ids of orders that a malformed row without an id may have belonged to."""
    lost = pd.concat([checked["orders"].lost, checked["fills"].lost], ignore_index=True)
    return suspects(lost, resting_intervals(orders, fills, end_ms)) if len(lost) else set()


def _check_any_left(orders: pd.DataFrame, set_aside: Iterable[SetAside], label: str) -> None:
    if not is_one_of(orders["action"], "PLACE").any():
        first = min(set_aside, key=lambda entry: entry.file != label)
        raise InputError(
            f"no usable order row ({first})", where=label, remedy="write the file again"
        )


def _second_run(
    orders: pd.DataFrame, fills: pd.DataFrame, state: _State, end_ms: int, label: str
) -> tuple[str, ...]:
    """Signs of a second run behind the first."""
    return tuple(
        f"{label}: after {time} ms no row tells of the orders that rested before"
        for time in seams(orders, fills, state.table, end_ms)
    ) + tuple(
        f"{label}: at {time} ms inventory and cash start again without a fill"
        for time in restarts(fills, state.time_ms, state.ledger)[:1]
    )


def _disagree(fills: pd.DataFrame, state: _State, labels: Mapping[Kind, str]) -> tuple[str, ...]:
    """Whether the inventory in the state rows moves when the fills say so."""
    moves, wrong = bookkeeping.unmatched_moves(fills, state.time_ms, state.ledger)
    if not moves or wrong / moves <= UNMATCHED:
        return ()
    return (
        f"{labels['fills']}: {wrong:,} of {moves:,} times at which a fill or the inventory in "
        f"{labels['state']} says that something was traded, the other does not",
    )


def _without(
    orders: pd.DataFrame, tainted: set[str], label: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The orders without the PLACE rows of those that can't be trusted: an order any of whose
    rows is malformed must not count half."""
    if not tainted:
        return orders, ()
    out = is_one_of(orders["action"], "PLACE") & orders["order_id"].isin(tainted).to_numpy()
    if not out.any():
        return orders, ()
    names = orders.loc[out, "order_id"].unique()
    text = f"{label}: {len(names)} orders are left out whole for malformed rows of theirs"
    return orders.loc[~out], (f"{text} (the first: {str(names[0])[:60]})",)


def _repaired(
    orders: pd.DataFrame, fills: pd.DataFrame, tainted: set[str], labels: Mapping[Kind, str]
) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """The fills with those that only FILL or CLOSE_FILLED rows in orders tell of."""
    more = missing_fills(orders, fills)
    more = more[~more["order_id"].isin(tainted)]
    if more.empty:
        return fills, 0, ()
    names = more["order_id"].unique()
    text = (
        f"{labels['fills']}: the fills of {len(names)} orders are missing; taken from their FILL "
        f"or CLOSE_FILLED rows in {labels['orders']} (the first: {names[0][:60]})"
    )
    if fills.empty:
        fills = more.astype({"recv_ms": "int64"}).reset_index(drop=True)
    else:
        fills = fills.astype(dict.fromkeys(TEXT.intersection(fills.columns), "str"))
        fills = pd.concat([fills, more.astype(fills.dtypes)], ignore_index=True)
    return fills, len(names), (text,)


def _unknown_actions(orders: pd.DataFrame, label: str) -> tuple[str, ...]:
    known = ("SKIP", REJECT)
    counts = [(n, name) for name, n in ignored_actions(orders).items() if name not in known]
    some = ", ".join(f"{n} {name[:20]}" for n, name in counts[:5])
    return (f"{label}: rows of unknown actions are ignored ({some})",) if some else ()
