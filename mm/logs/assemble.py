"""From three tables to one run: hold them against each other, repair, leave out, and say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from mm.core.arrays import Ints, Mask
from mm.core.concurrency import side_by_side
from mm.core.errors import InputError
from mm.logs import bookkeeping, consistency
from mm.logs.as_in_file import as_written
from mm.logs.bookkeeping import Ledger
from mm.logs.files import KINDS, Kind
from mm.logs.intervals import resting_intervals
from mm.logs.log import RunLog, SetAside
from mm.logs.order_ids import is_accepted, is_one_of, order_codes, share_ids
from mm.logs.rows import Checked, RawTable, check_table
from mm.logs.rows.columns import TEXT
from mm.logs.rows.rules import ACTIONS
from mm.logs.timestamps import (
    appended,
    check_overlap,
    in_time_order,
    restarts,
    rounded,
    seams,
    shifted,
)

#: Real logs stay below a third of it: fills in the very ms of a state row.
UNMATCHED = 0.05


def run_log(raw: Mapping[Kind, RawTable], name: str, labels: Mapping[Kind, str]) -> RunLog:
    """Check three tables as they were read and make them a :class:`RunLog`.

    Raises InputError (required column missing, no usable state row, ids that contradict
    each other).
    """
    checked = {kind: check_table(raw[kind], kind, labels[kind]) for kind in KINDS}
    log = assembled(checked, name, labels, {kind: raw[kind].sha256 for kind in KINDS})
    tables: dict[Kind, pd.DataFrame] = {
        "orders": log.orders.astype({"order_id": "str"}),
        "fills": log.fills.astype({"order_id": "str"}),
        "state": log.state,
    }
    return replace(
        log,
        orders=tables["orders"],
        fills=tables["fills"],
        written=as_written(raw, tables, log.n_repaired),
    )


def assembled(
    checked: Mapping[Kind, Checked],
    name: str,
    labels: Mapping[Kind, str],
    sha256: Mapping[Kind, str],
) -> RunLog:
    """Hold checked tables against each other; ``order_id`` comes back numbered.

    Raises InputError as :func:`run_log`.
    """
    _check_symbols(checked, labels)
    orders, fills = share_ids(checked["orders"].table, checked["fills"].table)
    state = checked["state"].table
    if state.empty:
        raise InputError(
            _none("state", checked["state"]),
            where=labels["state"],
            remedy="the mid path is needed: run the backtest with state logging",
        )
    _need_placements(orders, checked["orders"], labels["orders"])
    _check_placements(orders, checked["orders"].line, labels["orders"])
    check_overlap(checked, labels)
    second = appended(checked, labels)
    aside = [SetAside(labels[kind], *bad) for kind in KINDS for bad in checked[kind].bad]
    state, blind_ms, mid_offset = _by_value(checked["state"], labels["state"], aside)
    state, warnings = in_time_order(state, labels["state"])
    time_ms = state["recv_ms"].to_numpy(dtype=np.int64)
    ledger = checked["state"].ledger or Ledger.of(state)
    contradicting, late = side_by_side(
        len(orders),
        lambda: [one for one in consistency.contradictions(orders, fills, state) if one[1].any()],
        lambda: shifted(orders, fills, state, labels),
    )
    off = rounded(state, labels["state"]) + late
    tainted = set(checked["orders"].tainted | checked["fills"].tainted)
    false: dict[str, Mask] = {
        "orders": np.zeros(len(orders), dtype=np.bool_),
        "fills": np.zeros(len(fills), dtype=np.bool_),
    }
    for kind, rows, what in contradicting:
        new = rows & ~false[kind]
        if new.any():
            row = int(checked[kind].line[new].min())
            count = int(new.sum())
            aside.append(SetAside(labels[kind], count, checked[kind].of, what, row))
            tainted.update(checked[kind].table.loc[new, "order_id"])
            false[kind] |= new
    if false["orders"].any() or false["fills"].any():
        orders, fills = orders.loc[~false["orders"]], fills.loc[~false["fills"]]

    n_repaired = 0
    if not off:
        fills, n_repaired, repaired = _repaired(orders, fills, tainted, labels)
        orders, fills = share_ids(orders, fills)
        warnings += repaired
    lost = pd.concat([checked["orders"].lost, checked["fills"].lost], ignore_index=True)
    end_ms = max(int(table["recv_ms"].max()) for table in (orders, fills, state) if len(table))
    if len(lost):
        intervals = resting_intervals(orders, fills, end_ms)
        tainted |= consistency.suspects(lost, intervals)
    orders, left_out = _without(orders, tainted, labels["orders"])
    if not is_one_of(orders["action"], "PLACE").any():
        first = min(aside, key=lambda entry: entry.file != labels["orders"])
        raise InputError(
            f"no usable order row ({first})",
            where=labels["orders"],
            remedy="write the file again",
        )
    orders, fills = orders.reset_index(drop=True), fills.reset_index(drop=True)
    second += tuple(
        f"{labels['state']}: after {time} ms no row tells of the orders that rested before"
        for time in seams(orders, fills, state, end_ms)
    ) + tuple(
        f"{labels['state']}: at {time} ms inventory and cash start again without a fill"
        for time in restarts(fills, time_ms, ledger)[:1]
    )
    disagree, price_offset = side_by_side(
        len(fills),
        lambda: _disagree(fills, time_ms, ledger, labels),
        lambda: bookkeeping.prices_against_cash(fills, time_ms, ledger),
    )
    return RunLog(
        orders,
        fills,
        state,
        end_ms,
        name,
        tuple(aside),
        warnings + left_out + _unknown_actions(orders, labels["orders"]),
        second,
        off,
        n_repaired,
        {labels[kind]: sha256[kind] for kind in KINDS if sha256[kind]},
        labels=labels,
        ledger=ledger,
        disagree=disagree,
        mid_offset=mid_offset,
        price_offset=price_offset,
        blind_ms=blind_ms,
    )


def _by_value(
    checked: Checked, label: str, aside: list[SetAside]
) -> tuple[pd.DataFrame, Ints, float]:
    """The state rows without those whose own mtm_value was counted with another mid; times from
    which the mid is unknown, ms; and by how much all mids are off alike."""
    state = checked.table
    false, offset = bookkeeping.mids_against_value(state)
    if not false.any():
        return state, checked.blind_ms, offset
    what = "column mid: not the one by which the row's mtm_value was counted"
    first = int(checked.line[false].min())
    aside.append(SetAside(label, int(false.sum()), checked.of, what, first))
    good = state.loc[~false].reset_index(drop=True)
    if good.empty:
        raise InputError(f"no usable state row ({aside[-1]})", where=label, remedy="write it again")
    blind = np.setdiff1d(state.loc[false, "recv_ms"], good["recv_ms"])
    return good, np.union1d(checked.blind_ms, blind).astype(np.int64), offset


def _disagree(
    fills: pd.DataFrame, time_ms: Ints, ledger: Ledger, labels: Mapping[Kind, str]
) -> tuple[str, ...]:
    """Whether the inventory in the state rows moves when the fills say so."""
    moves, wrong = bookkeeping.unmatched_moves(fills, time_ms, ledger)
    if not moves or wrong / moves <= UNMATCHED:
        return ()
    return (
        f"{labels['fills']}: {wrong:,} of {moves:,} times at which a fill or the inventory in "
        f"{labels['state']} says that something was traded, the other does not",
    )


def _none(kind: str, checked: Checked) -> str:
    cause = checked.first_cause
    return f"no usable {kind} row" + (f" ({cause})" if cause else "; header only")


def _check_symbols(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> None:
    """Raise InputError where the files' own symbol columns name different symbols."""
    first: tuple[str, str] | None = None
    for kind in KINDS:
        table = checked[kind].table
        for symbol in table.get("symbol", pd.Series(dtype="str")).unique():
            if symbol and first and symbol != first[1]:
                raise InputError(
                    f"holds {symbol[:40]}, but {first[0]} holds {first[1][:40]}",
                    where=labels[kind],
                    column="symbol",
                    remedy="take the three files of one symbol",
                )
            if symbol:
                first = first or (labels[kind], str(symbol))


def _need_placements(orders: pd.DataFrame, checked: Checked, label: str) -> None:
    if orders.empty:
        raise InputError(
            _none("order", checked),
            where=label,
            remedy="nothing was quoted, so there is nothing to calibrate",
        )
    if not is_one_of(orders["action"], "PLACE").any():
        names = ", ".join(str(name)[:20] for name in orders["action"].unique()[:6])
        cause = checked.first_cause
        raise InputError(
            f"no usable PLACE row ({cause})" if cause else f"no PLACE row (actions found: {names})",
            where=label,
            column="action",
            remedy="an order needs the row that placed it",
        )


def _check_placements(orders: pd.DataFrame, line: Ints, label: str) -> None:
    """Raise InputError for one id that names two orders."""
    place = is_accepted(orders)
    if not pd.Series(order_codes(orders, orders)[0][place]).duplicated().any():
        return
    distinct = orders.loc[place].drop_duplicates()
    again = distinct.index[distinct["order_id"].duplicated()]
    if len(again):
        name = str(orders.loc[again[0], "order_id"])[:60]
        raise InputError(
            f"order {name} is placed twice with different terms",
            where=label,
            row=int(line[again[0]]),
            remedy="an id names one order: was a second run appended to the file?",
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
    more = consistency.missing_fills(orders, fills)
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
    names = Counter(orders.loc[~is_one_of(orders["action"], *ACTIONS, "SKIP"), "action"])
    if not names:
        return ()
    some = ", ".join(f"{count} {str(name)[:20]}" for name, count in names.most_common(5))
    return (f"{label}: rows of unknown actions are ignored ({some})",)
