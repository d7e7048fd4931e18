"""The rules that a row must keep by itself, kind by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, Mask
from mm.core.errors import InputError
from mm.logs.rows.columns import TIMES

#: Two times of one order may contradict each other by this much: rows are written at the next
#: tick, and a clock that is off by more is another clock.
CLOCK_TOLERANCE_MS = 1000
_DAY_MS = 86_400_000
#: A row this far from the middle of its file is no row of that run.
FAR_MS = 400 * _DAY_MS
#: A mid that differs by more than this from those around it is a slip of the pen.
SPIKE = 0.10
_AROUND = 21
NO_REASON = ("", "NONE", "NAN", "NULL", "NA", "N/A", "-", "0", "OK")
ACTIONS = ("PLACE", "CANCEL_REQ", "CANCEL_ACK", "FILL", "CLOSE_FILLED", "EXPIRE")


class Findings:
    """Collects what is wrong with which row of one file."""

    def __init__(self, rows: int, line: Ints) -> None:
        self.line, self.bad = line, np.zeros(rows, dtype=np.bool_)
        self._causes: dict[str, tuple[list[int], str]] = {}
        self._extra = 0

    def add(
        self, rows: npt.NDArray[Any], column: str, what: str, found: pd.Series[Any] | None = None
    ) -> None:
        """Set rows aside for one cause; ``found`` are the cells, the first one is quoted."""
        new = rows & ~self.bad
        if new.any():
            key = f"column {column}: {what}"
            cell = None if found is None else found[new].iloc[0]
            shown = "" if cell is None or cell != cell else f" ({str(cell)[:40]!r})"
            lines, _ = self._causes.setdefault(key, ([], shown))
            lines.extend(self.line[new].tolist())
            self.bad |= new

    def skipped(self, number: int, what: str) -> None:
        """A line that is no row."""
        self._causes.setdefault(what, ([], ""))[0].append(number)
        self._extra += 1

    def listed(self) -> tuple[tuple[int, int, str, int], ...]:
        """(rows, of, what, first row) by cause."""
        total = len(self.bad) + self._extra
        return tuple(
            (len(at), total, what + shown, min(at)) for what, (at, shown) in self._causes.items()
        )


def check_symbol(table: pd.DataFrame, line: Ints, label: str) -> None:
    """Raise InputError for rows of several symbols."""
    if "symbol" not in table:
        return
    names = table.loc[table["symbol"] != "", "symbol"]
    if names.nunique() > 1:
        other = np.flatnonzero((table["symbol"] != names.iloc[0]) & (table["symbol"] != ""))[0]
        some = ", ".join(sorted(names.unique())[:3])
        raise InputError(
            f"rows of several symbols ({some[:80]})",
            where=label,
            row=int(line[other]),
            column="symbol",
            remedy="write one file per symbol",
        )


def check_times(table: pd.DataFrame, findings: Findings) -> None:
    """Times that are none, and rows that are no part of the run."""
    findings.add(table["recv_ms"].isna().to_numpy(), "recv_ms", "no time")
    for name in (n for n in TIMES if n in table.columns):
        values = table[name].to_numpy()
        findings.add(values <= 0, name, "a time that is not positive", table[name])
        whole = ~np.isfinite(values) | (values == np.rint(values))
        findings.add(~whole, name, "no whole ms", table[name])
    recv = table["recv_ms"].to_numpy()
    good = recv[~findings.bad]
    if len(good):
        far = np.abs(recv - np.median(good)) > FAR_MS
        findings.add(far, "recv_ms", "more than a year from the other rows", table["recv_ms"])


def check_orders(table: pd.DataFrame, findings: Findings) -> None:
    """What an order row needs, and what its own cells contradict."""
    for name in ("action", "side", "status"):
        if name in table:
            table[name] = _capitals(table[name])
    _mark_rejected(table)
    action, side = table["action"], table["side"]
    recv, price = table["recv_ms"].to_numpy(), table["price"].to_numpy()
    findings.add((action == "").to_numpy(), "action", "empty")
    place = (action == "PLACE").to_numpy()
    used = action.isin(ACTIONS).to_numpy()
    findings.add(place & ~(price > 0), "price", "no positive price", table["price"])
    findings.add(used & (price < 0), "price", "no positive price", table["price"])
    known = side.isin(("BUY", "SELL")).to_numpy()
    unknown = ~known & (place | (used & (side != "").to_numpy()))
    findings.add(unknown, "side", "neither BUY nor SELL", side)
    for name, rows, wrong, what in _contradictions(table, recv, place):
        findings.add(rows & wrong, name, what, table[name])


def _capitals(column: pd.Series[Any]) -> pd.Series[Any]:
    """Words in capitals; the fast reader's are so already."""
    return column if isinstance(column.dtype, pd.CategoricalDtype) else column.str.upper()


def _mark_rejected(table: pd.DataFrame) -> None:
    """Where no status says so, a reason to reject does: else the order would seem to rest."""
    if "reject_reason" not in table:
        return
    reason = table.pop("reject_reason")
    told = (table["action"] == "PLACE") & ~reason.str.upper().isin(NO_REASON)
    if "status" in table:
        told &= table["status"] == ""
    elif told.any():
        table["status"] = ""
    if told.any():
        table.loc[told, "status"] = "REJECTED"


def _contradictions(
    table: pd.DataFrame, recv: Floats, place: Mask
) -> Iterator[tuple[str, Mask, npt.NDArray[Any], str]]:
    """Times that contradict the time of their own row: (column, of these rows, which, what)."""
    every = np.ones(len(table), dtype=np.bool_)
    tolerance = CLOCK_TOLERANCE_MS

    def of(action: str) -> Mask:
        return np.asarray(table["action"] == action, dtype=np.bool_)

    if "active_recv_ms" in table:
        active = table["active_recv_ms"].to_numpy()
        yield "active_recv_ms", place, active < recv - tolerance, "before the order was placed"
        far = np.abs(active - recv) > _DAY_MS
        yield "active_recv_ms", place, far, "more than a day from its row"
    if "expire_recv_ms" in table:
        expire = table["expire_recv_ms"].to_numpy()
        yield "expire_recv_ms", place, expire < recv - tolerance, "before the order was placed"
        late = expire > recv + tolerance
        yield "expire_recv_ms", of("EXPIRE"), late, "after the row that says it expired"
    if "cancel_effective_ms" in table:
        cancel = table["cancel_effective_ms"].to_numpy()
        yield "cancel_effective_ms", place, cancel < recv - tolerance, "before it was placed"
        early = cancel < recv - tolerance
        yield "cancel_effective_ms", of("CANCEL_REQ"), early, "before the cancel was asked for"
        late = cancel > recv + tolerance
        yield "cancel_effective_ms", of("CANCEL_ACK"), late, "after the row that acknowledges it"
        far = np.abs(cancel - recv) > _DAY_MS
        yield "cancel_effective_ms", every, far, "more than a day from its row"


def check_fills(table: pd.DataFrame, findings: Findings) -> None:
    """What a fill row needs."""
    if "side" in table:
        table["side"] = _capitals(table["side"])
        unknown = ~table["side"].isin(("BUY", "SELL", "")).to_numpy()
        findings.add(unknown, "side", "neither BUY nor SELL", table["side"])
    for name, what in (("price", "no positive price"), ("qty", "no positive quantity")):
        if name in table:
            findings.add(table[name].to_numpy() <= 0, name, what, table[name])


def check_mids(table: pd.DataFrame, findings: Findings) -> None:
    """Mids that are no price, or a slip of the pen."""
    mid = table["mid"].to_numpy()
    findings.add(~(mid > 0), "mid", "no positive price", table["mid"])
    rows = np.flatnonzero(~findings.bad)
    time = table["recv_ms"].to_numpy()[rows]
    if (np.diff(time) < 0).any():
        rows = rows[np.argsort(time, kind="stable")]
    good = mid[rows]
    # Hardly a log has such a jump: only then is the slow look at the neighbours worth it.
    if len(good) > 2 and np.abs(np.diff(np.log(good))).max() > SPIKE:
        series = pd.Series(good)
        around = series.rolling(_AROUND, center=True, min_periods=1).median().to_numpy()
        spike = np.zeros(len(mid), dtype=np.bool_)
        spike[rows] = np.abs(good / around - 1.0) > SPIKE
        findings.add(spike, "mid", "far from the mids around it", table["mid"])
