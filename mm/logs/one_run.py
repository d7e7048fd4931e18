"""Can the three files be one run at all? If not, an error says which of them is not."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mm.core.arrays import Ints
from mm.core.errors import InputError
from mm.logs.amendments import amends
from mm.logs.columns import Checked
from mm.logs.files import KINDS, Kind
from mm.logs.order_ids import is_accepted, is_one_of, order_codes, words_of

#: Files of one run overlap, or nearly so; clocks that are off by more than this are no matter of
#: a constant.
_APART_MS = 7 * 86_400_000
_REWRITE = "write that column as docs/input.md says"


def check_one_run(
    checked: Mapping[Kind, Checked], orders: pd.DataFrame, labels: Mapping[Kind, str]
) -> None:
    """Raise InputError for files of several symbols or times, without a usable order or state row,
    or with an id that names two orders."""
    _check_symbols(checked, labels)
    if checked["state"].table.empty:
        raise InputError(
            _none("state", checked["state"]),
            where=labels["state"],
            remedy=_REWRITE
            if checked["state"].first_cause
            else "the mid path is needed: run the backtest with state logging",
        )
    _need_placements(orders, checked["orders"], labels["orders"])
    _check_placements(orders, checked["orders"].line, labels["orders"])
    _check_overlap(checked, labels)


def _check_symbols(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> None:
    tables = {kind: checked[kind].table for kind in KINDS}
    named = [
        (word, labels[kind])
        for kind, table in tables.items()
        if "symbol" in table
        for word in words_of(table["symbol"])
        if word
    ]
    for symbol, label in named:
        if symbol != named[0][0]:
            raise InputError(
                f"holds {symbol[:40]}, but {named[0][1]} holds {named[0][0][:40]}",
                where=label,
                column="symbol",
                remedy="take the three files of one symbol",
            )


def _none(kind: str, checked: Checked) -> str:
    cause = checked.first_cause
    return f"no usable {kind} row" + (f" ({cause})" if cause else "; header only")


def _need_placements(orders: pd.DataFrame, checked: Checked, label: str) -> None:
    if orders.empty:
        raise InputError(
            _none("order", checked),
            where=label,
            remedy=_REWRITE
            if checked.first_cause
            else "nothing was quoted, so there is nothing to calibrate",
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
    codes, _, _ = order_codes(orders, orders)
    if not pd.Series(codes[place]).duplicated().any():
        return
    distinct = orders.loc[place].drop_duplicates()
    again = distinct[distinct["order_id"].duplicated()]
    if again.empty:
        return
    wrong = again.index[~amends(orders, codes)[again.index]]
    if len(wrong):
        name = str(orders.loc[wrong[0], "order_id"])[:60]
        raise InputError(
            f"order {name} is placed twice with different terms",
            where=label,
            row=int(line[wrong[0]]),
            remedy="an id names one order: was a second run appended to the file?",
        )


def _check_overlap(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> None:
    """Raise InputError for files more than a week apart."""
    spans = {
        kind: (int(table["recv_ms"].min()), int(table["recv_ms"].max()))
        for kind in KINDS
        if len(table := checked[kind].table)
    }
    begun, ended = spans["state"]
    for kind, (first, last) in spans.items():
        if first > ended + _APART_MS or last < begun - _APART_MS:
            raise InputError(
                f"from {_utc(first)} to {_utc(last)}, but {labels['state']} is from {_utc(begun)} "
                f"to {_utc(ended)}",
                where=labels[kind],
                column="recv_ms",
                remedy="write all files with one clock, milliseconds UTC",
            )


def _utc(time_ms: int) -> str:
    return str(pd.Timestamp(time_ms, unit="ms").strftime("%Y-%m-%d %H:%M:%S"))
