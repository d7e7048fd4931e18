"""The rules that a row must keep, one table for both readers.

A rule is a predicate of whole columns. The row reader sets the rows that break it aside, by
number; the columnar reader asks only whether there is one, and leaves such a log to the row reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask, never_falls, slices
from mm.core.errors import InputError
from mm.logs.columns import ACTIONS, LARGEST, TIMES
from mm.logs.order_ids import is_one_of, words_of

#: Two times of one order may contradict each other by this much: rows are written at the next
#: tick (real logs: after 0.39 s at most), and a clock that is off by more is another clock.
CLOCK_TOLERANCE_MS = 1000
_DAY_MS = 86_400_000
#: A row this far from the middle of its file is no row of that run.
FAR_MS = 400 * _DAY_MS
#: A mid that differs by more than this from the median of so many around it is no mid. Real logs:
#: 0.0011 at most from row to row.
_SPIKE, _AROUND = 0.10, 21
#: Share of negative prices from which on the market is taken for one that can be negative.
_NEGATIVE = 0.05
#: A median time up to the first is a clock that starts at zero (5 days in ms, 1985 in s), one from
#: the second (1973 in ms, 5138 in s) to before the third (5138 in ms, 1973 in µs) is ms.
_FROM_ZERO, _MS_FROM, _MS_TO, _US_TO = 5e8, 1e11, 1e14, 1e17
_NO_REASON = ("", "NONE", "NAN", "NULL", "NA", "N/A", "-", "0", "OK")


class Rows:
    """Columns of a table for rules to look at; ``bad``: rows that broke one before."""

    def __init__(self, table: pd.DataFrame, bad: Mask | None = None) -> None:
        self._table = table
        self.bad = np.zeros(len(table), dtype=np.bool_) if bad is None else bad
        self._said: dict[tuple[str, ...], Mask] = {}

    def __contains__(self, column: str) -> bool:
        return column in self._table

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """A column of numbers."""
        return self._table[column].to_numpy()

    def say(self, column: str, *words: str) -> Mask:
        """Which rows hold one of these words. To be looked at only."""
        key = (column, *words)
        if key not in self._said:
            self._said[key] = is_one_of(self._table[column], *words)
        return self._said[key]


@dataclass(frozen=True)
class Rule:
    """``broken``: which rows break it; of a file without the ``column`` none does. ``what``: what
    is then said, with the cell where it is ``quoted``. ``of_all``: it holds rows against the
    others of their file, so that it must see all of them."""

    column: str
    what: str
    broken: Callable[[Rows], npt.NDArray[Any]]
    quoted: bool = True
    of_all: bool = False


def _number(name: str) -> Iterator[Rule]:
    yield Rule(name, "infinite", lambda rows: np.isinf(rows[name]), quoted=False)
    if name not in TIMES:
        what = "larger than any price or quantity"
        yield Rule(name, what, lambda rows: np.abs(rows[name]) > LARGEST)


def _time(name: str) -> Iterator[Rule]:
    yield Rule(name, "a time that is not positive", lambda rows: rows[name] <= 0)
    yield Rule(name, "no whole ms", lambda rows: _in_parts(rows[name]))


def _in_parts(values: npt.NDArray[Any]) -> Mask:
    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=np.bool_)
    return np.asarray((np.rint(values) != values) & ~np.isnan(values), dtype=np.bool_)


def _far_from_others(rows: Rows) -> Mask:
    time = rows["recv_ms"]
    if not len(time) or not float(np.fmax.reduce(time)) - float(np.fmin.reduce(time)) > FAR_MS:
        return np.zeros(len(time), dtype=np.bool_)
    good = time[~rows.bad]
    return np.asarray(np.abs(time - np.median(good)) > FAR_MS if len(good) else rows.bad)


def _no_id(rows: Rows) -> Mask:
    if "action" not in rows:
        return rows.say("order_id", "")
    # A SKIP row tells of no order.
    return rows.say("order_id", "") & rows.say("action", *ACTIONS, "")


def _no_price(rows: Rows) -> Mask:
    return np.asarray(rows.say("action", "PLACE") & np.isnan(rows["price"]))


def not_positive(values: Floats) -> Mask:
    """Prices that are none: at or below zero where the market is not. It is, as of a spread, where
    one in twenty of them is negative: of good logs of other markets none is."""
    out = np.asarray(values <= 0, dtype=np.bool_)
    if out.any() and np.count_nonzero(values < 0) > _NEGATIVE * np.count_nonzero(values == values):
        out[:] = False
    return out


def _no_order_price(rows: Rows) -> Mask:
    """A later row may have 0 for no price."""
    placed, price = rows.say("action", "PLACE"), rows["price"]
    if not len(price) or not float(np.fmin.reduce(price)) <= 0:
        return np.zeros(len(price), dtype=np.bool_)
    out = np.zeros(len(price), dtype=np.bool_)
    used = rows.say("action", *ACTIONS) & ((price != 0) | placed)
    out[used] = not_positive(price[used])
    return out


def _no_side(rows: Rows) -> Mask:
    needed = (rows.say("action", *ACTIONS) & ~rows.say("side", "")) | rows.say("action", "PLACE")
    return needed & ~rows.say("side", "BUY", "SELL")


def _late(name: str, actions: str, wrong: Callable[[Floats], Mask], what: str) -> Rule:
    """A time held against that of its own row, on the rows of some actions, or all: ``wrong`` is
    given by how many ms it is later."""

    def broken(rows: Rows) -> Mask:
        found = wrong(rows[name] - rows["recv_ms"])
        return found & rows.say("action", *actions.split()) if actions else found

    return Rule(name, what, broken)


def _before(late: Floats) -> Mask:
    return late < -CLOCK_TOLERANCE_MS


def _after(late: Floats) -> Mask:
    return late > CLOCK_TOLERANCE_MS


def _far(late: Floats) -> Mask:
    return np.abs(late) > _DAY_MS


def _spikes(rows: Rows) -> Mask:
    out = np.zeros(len(rows.bad), dtype=np.bool_)
    time, mid = rows["recv_ms"], rows["mid"]
    at = np.flatnonzero(~rows.bad) if rows.bad.any() else None
    if at is not None:
        time, mid = time[at], mid[at]
    if not never_falls(time):
        order = np.argsort(time, kind="stable")
        at, mid = order if at is None else at[order], mid[order]
    if len(mid) and not float(np.fmin.reduce(mid)) > 0:
        return out  # the mids of a spread: a small one may double from row to row
    # Hardly a log has such a jump: only then is the slow look at the neighbours worth it.
    with_one_before = (slice(max(some.start - 1, 0), some.stop) for some in slices(len(mid)))
    if len(mid) > 2 and any(_jumps(mid[some]) for some in with_one_before):
        around = pd.Series(mid).rolling(_AROUND, center=True, min_periods=1).median().to_numpy()
        out[slice(None) if at is None else at] = np.abs(mid / around - 1.0) > _SPIKE
    return out


def _jumps(mid: Floats) -> bool:
    return bool(np.abs(np.diff(np.log(mid))).max(initial=0.0) > _SPIKE)


#: Of each column of numbers that an estimate uses, right behind its parsing.
NUMBERS = {name: tuple(_number(name)) for name in (*TIMES, "price", "qty", "mid")}
#: Of times, in any file.
OF_TIMES = (
    Rule("recv_ms", "no time", lambda rows: np.isnan(rows["recv_ms"]), quoted=False),
    *(rule for name in TIMES for rule in _time(name)),
    Rule("recv_ms", "more than a year from the other rows", _far_from_others, of_all=True),
)
_ACTIVE, _EXPIRE, _CANCEL = TIMES[1:]
#: Of the rest, by kind of file.
OF_KIND = {
    "orders": (
        Rule("order_id", "empty", _no_id, quoted=False),
        Rule("action", "empty", lambda rows: rows.say("action", ""), quoted=False),
        Rule("price", "no price", _no_price, quoted=False),
        Rule("price", "no positive price", _no_order_price, of_all=True),
        Rule("side", "neither BUY nor SELL", _no_side),
        _late(_ACTIVE, "PLACE AMEND", _before, "before the order was placed"),
        _late(_ACTIVE, "PLACE AMEND", _far, "more than a day from its row"),
        _late(_EXPIRE, "PLACE", _before, "before the order was placed"),
        _late(_EXPIRE, "EXPIRE", _after, "after the row that says it expired"),
        _late(_CANCEL, "PLACE", _before, "before it was placed"),
        _late(_CANCEL, "CANCEL_REQ", _before, "before the cancel was asked for"),
        _late(_CANCEL, "CANCEL_ACK", _after, "after the row that acknowledges it"),
        _late(_CANCEL, "", _far, "more than a day from its row"),
    ),
    "fills": (
        Rule("order_id", "empty", _no_id, quoted=False),
        Rule("side", "neither BUY nor SELL", lambda rows: ~rows.say("side", "BUY", "SELL", "")),
        Rule("price", "no positive price", lambda rows: not_positive(rows["price"]), of_all=True),
        Rule("qty", "no positive quantity", lambda rows: rows["qty"] <= 0),
    ),
    "state": (
        Rule("mid", "no mid", lambda rows: np.isnan(rows["mid"]), quoted=False),
        Rule("mid", "no positive price", lambda rows: not_positive(rows["mid"]), of_all=True),
        Rule("mid", "far from the mids around it", _spikes, of_all=True),
    ),
}


def first_broken(table: pd.DataFrame, kind: str) -> Rule | None:
    """A rule that any row breaks, None where all are kept; in bounded memory."""
    rules = [rule for of_name in NUMBERS.values() for rule in of_name]
    rules = [rule for rule in (*rules, *OF_TIMES, *OF_KIND[kind]) if rule.column in table]
    for some in slices(len(table)):
        rows = Rows(table.iloc[some])
        for rule in rules:
            if not rule.of_all and rule.broken(rows).any():
                return rule
    whole = Rows(table)
    return next((rule for rule in rules if rule.of_all and rule.broken(whole).any()), None)


def rejected_by_reason(table: pd.DataFrame) -> Mask:
    """Placements that a reason to reject says were rejected where no status does: else they would
    seem to rest."""
    reason = table["reject_reason"]
    given = [word for word in words_of(reason) if word.upper() not in _NO_REASON]
    rejected = is_one_of(reason, *given) & is_one_of(table["action"], "PLACE")
    return rejected & is_one_of(table["status"], "") if "status" in table else rejected


def check_file(table: pd.DataFrame, line: Ints, label: str) -> None:
    """Raise InputError for times that are not in ms, and for rows of several symbols.

    ``line``: the row numbers.
    """
    for name in (name for name in TIMES if name in table):
        _check_unit(table[name].to_numpy(), label, name)
    names = [word for word in words_of(table["symbol"]) if word] if "symbol" in table else []
    if len(names) > 1:
        other = np.flatnonzero(is_one_of(table["symbol"], *names[1:]))[0]
        raise InputError(
            f"rows of several symbols ({', '.join(sorted(names)[:3])[:80]})",
            where=label,
            row=int(line[other]),
            column="symbol",
            remedy="write one file per symbol",
        )


def _check_unit(times: npt.NDArray[Any], label: str, column: str) -> None:
    """Times in other units give plausible wrong numbers; the middle one tells."""
    if not len(times):
        return
    low, high = float(np.fmin.reduce(times)), float(np.fmax.reduce(times))
    if high <= _FROM_ZERO or (low > _MS_FROM and high < _MS_TO):
        return  # so is the middle, without a copy of a long column
    finite = times[np.isfinite(times)]
    middle = float(np.median(finite)) if len(finite) else 0.0
    unit = "s" if _FROM_ZERO < middle < _MS_FROM else "µs" if _MS_TO < middle < _US_TO else ""
    unit = "ns" if middle >= _US_TO else unit
    if unit:
        raise InputError(
            f"times are in {unit} (for example {middle:.0f})",
            where=label,
            column=column,
            remedy="write milliseconds since the epoch",
        )
