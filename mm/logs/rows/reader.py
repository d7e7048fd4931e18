"""Check one table row by row: a row is good, or it is set aside with its number and a cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints
from mm.core.errors import InputError
from mm.logs.bookkeeping import Ledger
from mm.logs.rows.columns import EVIDENCE, TEXT, TIMES, RawTable, check_header, wanted
from mm.logs.rows.rules import (
    ACTIONS,
    FAR_MS,
    Findings,
    check_fills,
    check_mids,
    check_orders,
    check_symbol,
    check_times,
)
from mm.logs.rows.units import check_unit_of_time

#: Python takes them for numbers, or compares them with some.
_NO_NUMBERS = (bool, np.bool_, complex, np.complexfloating)
#: No price and no quantity is larger, in any currency.
_LARGEST = 1e15
#: Up to so many cells without a number in an else empty column are bad rows.
_FEW = 3


@dataclass(frozen=True)
class Checked:
    """The good rows of one file, and what is known of the others.

    ``line``: row number of each good row. ``of``: all rows of the file. ``bad``: (rows, of,
    what, first row) by cause. ``tainted``: ids on malformed rows, whose orders can't be trusted.
    ``lost``: recv_ms, side, price, action (NaN or empty where unreadable) of malformed rows
    without a readable id. ``blind_ms``: times from which the mid is unknown until the next row.
    ``ledger``: the books of a state file, where they are not columns of its table.
    """

    table: pd.DataFrame
    line: Ints
    of: int
    bad: tuple[tuple[int, int, str, int], ...]
    tainted: frozenset[str]
    lost: pd.DataFrame
    blind_ms: Ints
    ledger: Ledger | None = None

    @property
    def first_cause(self) -> str:
        """The first malformed row with its cause, empty without any."""
        if not self.bad:
            return ""
        _, _, what, row = min(self.bad, key=lambda entry: entry[3])
        return f"row {row}: {what}"


def check_table(raw: RawTable, kind: str, label: str) -> Checked:
    """Check one table row by row.

    Returns the good rows with times as int64 (required) or float64 with NaN (optional) ms,
    prices as float64 and sides and actions in capitals.
    Raises InputError for missing columns, more than one symbol, times that are not ms.
    """
    check_header(raw.header, kind, label)
    columns = [name for name in wanted(kind) if name in raw.table.columns]
    cells = raw.table[columns]
    text = [name for name in columns if name in TEXT]
    # In CSV an empty text is a text: a row of commas only is as blank as a blank line.
    nothing = np.zeros(len(cells), dtype=np.bool_)
    odd = np.flatnonzero(cells["recv_ms"].isna().to_numpy())
    if len(odd):
        some = cells.iloc[odd]
        some = some.replace(r"^\s*$", np.nan, regex=True) if text else some
        nothing[odd] = some.isna().all(axis=1).to_numpy()
    table = (cells.loc[~nothing] if nothing.any() else cells).reset_index(drop=True)
    line = raw.line[~nothing]
    findings = Findings(len(table), line)

    for name in columns:
        if name in TEXT:
            table[name] = _text(table[name])
        else:
            table[name] = _number(table[name], name, findings, label)
    for name in (name for name in TIMES if name in columns):
        check_unit_of_time(table[name].to_numpy(), label, name)
    check_symbol(table, line, label)
    check_times(table, findings)
    if raw.cut and len(table):
        last = np.arange(len(table)) == len(table) - 1
        findings.add(last, raw.header[-1], "the line is not ended, so its last number may be cut")
    if "order_id" in table:
        # A SKIP row tells of no order.
        told = table["action"].str.upper().isin((*ACTIONS, "")) if "action" in table else True
        findings.add(((table["order_id"] == "") & told).to_numpy(), "order_id", "empty")
    if kind == "orders":
        check_orders(table, findings)
    elif kind == "fills":
        check_fills(table, findings)
    else:
        check_mids(table, findings)
    for number, (what, _) in raw.bad_lines.items():
        findings.skipped(number, what)
    return _checked(table, raw, findings, kind)


def _checked(table: pd.DataFrame, raw: RawTable, findings: Findings, kind: str) -> Checked:
    bad = findings.bad
    good = table.loc[~bad].reset_index(drop=True) if bad.any() else table
    good["recv_ms"] = good["recv_ms"].astype("int64")
    tainted: set[str] = set()
    lost = pd.DataFrame(columns=["recv_ms", "side", "price", "action"])
    blind = np.zeros(0, dtype=np.int64)
    if kind == "state":
        blind = _blind(table["recv_ms"].to_numpy(), findings, raw)
    elif bad.any() or raw.bad_lines:
        known = set(table["order_id"])
        malformed = table.loc[bad]
        tainted = set(malformed["order_id"]) - {""}
        lost = malformed[malformed["order_id"] == ""]
        rows = []
        for _, cells in raw.bad_lines.values():
            named = {cell.strip() for cell in cells} & known - {""}
            tainted |= named
            if not named:
                rows.append({"recv_ms": np.nan, "side": "", "price": np.nan, "action": ""})
        lost = pd.concat([lost, pd.DataFrame(rows)]) if rows else lost
        lost = lost.reindex(columns=["recv_ms", "side", "price", "action"]).reset_index(drop=True)
    of = len(table) + len(raw.bad_lines)
    line = findings.line[~bad]
    return Checked(good, line, of, findings.listed(), frozenset(tainted), lost, blind)


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text without blanks around it, empty for nothing; 7.0 in a column of numbers is 7."""
    if column.dtype.kind == "f":
        values = column.to_numpy(dtype=np.float64)
        there = np.isfinite(values)
        texts = [f"{v:.0f}" if v == np.rint(v) else repr(v) for v in values[there].tolist()]
        out = np.full(len(values), "", dtype=object)
        out[there] = texts
        return pd.Series(out, index=column.index, dtype="str")
    return column.astype("str").where(column.notna(), "").str.strip()


def _number(column: pd.Series[Any], name: str, findings: Findings, label: str) -> pd.Series[Any]:
    kind = column.dtype.kind
    if kind in "iuf":
        values = column.astype("float64")
    elif kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        micro = column.to_numpy(dtype="datetime64[us]")
        ms = np.where(np.isnat(micro), np.nan, micro.astype("int64") / 1000.0)
        return pd.Series(ms, index=column.index)
    else:
        # A truth value is no number, though Python would take it for one; nor is 1j.
        texts = column
        if kind in "bOc":
            truth = np.array([isinstance(value, _NO_NUMBERS) for value in column], dtype=bool)
            texts = column.astype(object).where(~truth, "no number")
        values = pd.to_numeric(texts, errors="coerce").astype("float64")
        blank = column.isna() | (column.astype("str").str.strip() == "")
        wrong = (values.isna() & ~blank).to_numpy()
        if name not in EVIDENCE and wrong.sum() > _FEW and wrong.sum() == (~blank).sum():
            raise InputError(
                f"holds no number at all (for example {str(column[wrong].iloc[0])[:40]!r})",
                where=label,
                row=int(findings.line[wrong][0]),
                column=name,
                remedy="write integer milliseconds since the epoch"
                if name in TIMES
                else "write plain numbers with a decimal point",
            )
        if name not in EVIDENCE:
            findings.add(wrong, name, "no number", column)
    found = values.to_numpy()
    if name in EVIDENCE:
        return values.where(np.abs(found) < _LARGEST)
    findings.add(np.isinf(found), name, "infinite")
    if name not in TIMES:
        findings.add(np.abs(found) > _LARGEST, name, "larger than any price or quantity", column)
    return values


def _blind(recv: Floats, findings: Findings, raw: RawTable) -> Ints:
    """From when a malformed state row leaves the mid unknown, ms.

    Its own time where that can be read, else right after the row before it in the file. At one
    ms the last row counts, so a good row behind it there takes the blindness away.
    """
    if not findings.bad.any() and not raw.bad_lines:
        return np.zeros(0, dtype=np.int64)
    line, bad = findings.line, findings.bad
    good_line, good_ms = line[~bad], recv[~bad]
    blind = []
    for number, time in zip(line[bad].tolist(), recv[bad].tolist(), strict=True):
        blind.append((number, time))
    blind += [(number, np.nan) for number in raw.bad_lines]
    out = []
    for number, time in blind:
        before = int(np.searchsorted(good_line, number)) - 1
        sane = time == np.rint(time) and len(good_ms) and abs(time - good_ms[before]) < FAR_MS
        at = time if sane else good_ms[before] + 1 if before >= 0 else np.nan
        behind = good_ms[before + 1 : before + 4]
        if np.isfinite(at) and not (behind == at).any():
            out.append(int(at))
    return np.unique(np.array(out, dtype=np.int64))
