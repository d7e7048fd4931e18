"""Check one table row by row: a row is good, or it is set aside with its number and a cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints
from mm.core.errors import InputError
from mm.logs.columns import (
    CAPITALS,
    EVIDENCE,
    LARGEST,
    TEXT,
    TIMES,
    Checked,
    RawTable,
    SetAside,
    check_header,
    wanted,
)
from mm.logs.rules import (
    FAR_MS,
    NUMBERS,
    OF_KIND,
    OF_TIMES,
    Rows,
    Rule,
    check_file,
    rejected_by_reason,
)
from mm.logs.words import understood

#: Python takes them for numbers, or compares them with some.
_NO_NUMBERS = (bool, np.bool_, complex, np.complexfloating)
#: Up to so many cells without a number in an else empty column are bad rows.
_FEW = 3


class Findings:
    """Collects what is wrong with which row of one file."""

    def __init__(self, rows: int, line: Ints) -> None:
        self.line, self.bad = line, np.zeros(rows, dtype=np.bool_)
        self._causes: dict[str, tuple[list[int], str]] = {}

    def check(
        self, rules: Iterable[Rule], table: pd.DataFrame, raw: pd.DataFrame | None = None
    ) -> None:
        """Set aside the rows that break a rule; a row counts for the first one it breaks. ``raw``:
        the cells to quote, if not those of the table."""
        rows = Rows(table, self.bad)
        for rule in rules:
            if rule.column in rows:
                cells = (table if raw is None else raw)[rule.column] if rule.quoted else None
                self.add(rule.broken(rows), rule.column, rule.what, cells)

    def add(
        self, rows: npt.NDArray[Any], column: str, what: str, found: pd.Series[Any] | None = None
    ) -> None:
        """Set rows aside for one cause; ``found`` are the cells, the first one is quoted."""
        new = rows & ~self.bad
        if new.any():
            cell = None if found is None else found[new].iloc[0]
            shown = "" if cell is None or cell != cell else f" ({str(cell)[:40]!r})"
            self._lines(f"column {column}: {what}", shown).extend(self.line[new].tolist())
            self.bad |= new

    def skipped(self, number: int, what: str) -> None:
        """A line that is no row."""
        self._lines(what).append(number)

    def _lines(self, what: str, shown: str = "") -> list[int]:
        return self._causes.setdefault(what, ([], shown))[0]

    def listed(self, label: str, of: int) -> tuple[SetAside, ...]:
        """The rows by cause, of so many in all."""
        return tuple(
            SetAside(label, len(at), of, what + shown, min(at))
            for what, (at, shown) in self._causes.items()
        )


def check_table(raw: RawTable, kind: str, label: str) -> Checked:
    """Check one table row by row.

    Raises InputError for missing columns, more than one symbol, times that are not ms.
    """
    check_header(raw.header, kind, label)
    cells, line = _without_blank(raw, [n for n in wanted(kind) if n in raw.table.columns])
    cells, line, said = _without_headers(cells, line, label)
    table, findings = cells.copy(deep=False), Findings(len(cells), line)
    for name in map(str, cells.columns):
        if name in TEXT:
            table[name] = _text(cells[name])
        else:
            table[name] = _number(cells[name], name, findings, label)
            if cells[name].dtype == np.float32:
                said += (f"{label}, column {name}: float32, read as the decimals it shows",)
            findings.check(NUMBERS.get(name, ()), table, cells)
    check_file(table, line, label)
    findings.check(OF_TIMES, table)
    if raw.cut and len(table):
        last = np.arange(len(table)) == len(table) - 1
        findings.add(last, raw.header[-1], "the line is not ended, so its last number may be cut")
    for name in CAPITALS:
        if name in table:
            table[name] = table[name].str.upper()
    table, words = understood(table)
    if words:
        read_as = ", ".join(f"{word} as {meant}" for word, meant in list(words.items())[:6])
        said += (f"{label}: {read_as[:200]}",)
    if "reject_reason" in table:
        rejected = rejected_by_reason(table)
        del table["reject_reason"]
        if rejected.any():
            status = table.get("status", pd.Series("", index=table.index, dtype="str"))
            table["status"] = status.where(~rejected, "REJECTED")
    if kind == "state":
        said += _no_mid(table, findings, label)
    findings.check(OF_KIND[kind], table)
    for number, (what, _) in raw.bad_lines.items():
        findings.skipped(number, what)
    return replace(_checked(table, raw, findings, kind, label), said=said)


def _without_blank(raw: RawTable, columns: list[str]) -> tuple[pd.DataFrame, Ints]:
    """The used columns without rows in which nothing stands, and the row numbers of the others.

    In CSV an empty text is a text: a row of commas only is as blank as a blank line.
    """
    cells = raw.table[columns]
    nothing = np.zeros(len(cells), dtype=np.bool_)
    without_time = np.flatnonzero(cells["recv_ms"].isna().to_numpy())
    if len(without_time):
        some = cells.iloc[without_time].replace(r"^\s*$", np.nan, regex=True)
        nothing[without_time] = some.isna().all(axis=1).to_numpy()
    return (cells.loc[~nothing] if nothing.any() else cells).reset_index(drop=True), raw.line[
        ~nothing
    ]


def _without_headers(
    cells: pd.DataFrame, line: Ints, label: str
) -> tuple[pd.DataFrame, Ints, tuple[str, ...]]:
    """The rows without header lines, which a recorder writes again when it starts again."""
    if cells["recv_ms"].dtype.kind in "iufM" or not len(cells):
        return cells, line, ()
    again = np.ones(len(cells), dtype=np.bool_)
    for name in map(str, cells.columns):
        again &= (cells[name].astype("str").str.strip() == name).to_numpy(dtype=np.bool_)
    if not again.any():
        return cells, line, ()
    said = f"{label}, row {line[again][0]}: the header line again"
    more = int(again.sum()) - 1
    said += f", and {more} more times; skipped" if more else "; skipped"
    return cells.loc[~again].reset_index(drop=True), line[~again], (said,)


def _no_mid(table: pd.DataFrame, findings: Findings, label: str) -> tuple[str, ...]:
    """State rows without a mid, as where one side of the book was empty: nobody knows it there."""
    rows = np.isnan(table["mid"].to_numpy(dtype=np.float64)) & ~findings.bad
    if not rows.any() or rows.all():
        return ()
    findings.bad |= rows
    return (
        f"{label}, row {findings.line[rows][0]}: {int(rows.sum()):,} rows without a mid; until the "
        "next one it counts as unknown, as in an outage",
    )


def _checked(
    table: pd.DataFrame, raw: RawTable, findings: Findings, kind: str, label: str
) -> Checked:
    bad, of = findings.bad, len(table) + len(raw.bad_lines)
    good = table.loc[~bad].reset_index(drop=True) if bad.any() else table
    good["recv_ms"] = good["recv_ms"].astype("int64")
    checked = Checked(good, findings.line[~bad], of, findings.listed(label, of))
    if not bad.any() and not raw.bad_lines:
        return checked
    if kind == "state":
        return replace(checked, blind_ms=_blind(table["recv_ms"].to_numpy(), findings, raw))
    # A line that is no row may hold the id of an order; else it may be any order's.
    known = set(table["order_id"]) - {""} if raw.bad_lines else set()
    named = [{cell.strip() for cell in cells} & known for _, cells in raw.bad_lines.values()]
    malformed = table.loc[bad]
    tainted = set(malformed["order_id"]).union(*named) - {""}
    lost = malformed[malformed["order_id"] == ""]
    if not all(named):
        unread = {"recv_ms": np.nan, "side": "", "price": np.nan, "action": ""}
        lost = pd.concat([lost, pd.DataFrame([unread for ids in named if not ids])])
    lost = lost.reindex(columns=checked.lost.columns).reset_index(drop=True)
    return replace(checked, tainted=frozenset(tainted), lost=lost)


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
    if column.dtype == np.float32:  # 0.1 is no 0.10000000149: of such prices no grid is seen
        values = pd.Series(column.to_numpy().astype("str").astype("float64"), index=column.index)
    elif kind in "iuf":
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
    return values.where(values.abs() < LARGEST) if name in EVIDENCE else values


def _blind(recv: Floats, findings: Findings, raw: RawTable) -> Ints:
    """From when a malformed state row leaves the mid unknown, ms.

    Its own time where that can be read, else right after the row before it in the file. At one
    ms the last row counts, so a good row behind it there takes the blindness away.
    """
    line, bad = findings.line, findings.bad
    good_line, good_ms = line[~bad], recv[~bad]
    blind = list(zip(line[bad].tolist(), recv[bad].tolist(), strict=True))
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
