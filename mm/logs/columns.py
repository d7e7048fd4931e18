"""The columns of the three logs, whether a file has them, and its table as read and as checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mm.core.arrays import Ints, Mask
from mm.core.errors import InputError
from mm.logs.bookkeeping import Ledger

#: Columns a file must have, and those that are used where they are there.
REQUIRED = {
    "orders": ("recv_ms", "order_id", "action", "side", "price"),
    "fills": ("recv_ms", "order_id"),
    "state": ("recv_ms", "mid"),
}
OPTIONAL = {
    "orders": (
        "status",
        "qty",
        "remaining_qty",
        "active_recv_ms",
        "expire_recv_ms",
        "cancel_effective_ms",
        "reject_reason",
        "symbol",
    ),
    "fills": ("side", "price", "qty", "fee", "reason", "liquidity", "symbol"),
    "state": ("inventory", "cash", "mtm_value", "open_orders", "symbol"),
}
TEXT = frozenset(
    {"order_id", "action", "status", "side", "reason", "reject_reason", "liquidity", "symbol"}
)
#: Words by which rows are chosen, however they are written.
CAPITALS = ("action", "side", "status", "liquidity")
TIMES = ("recv_ms", "active_recv_ms", "expire_recv_ms", "cancel_effective_ms")
#: Beside the estimate: A and k do not come from them, so a bad cell there costs no row.
EVIDENCE = frozenset({"remaining_qty", "fee", "inventory", "cash", "mtm_value", "open_orders"})
#: The actions that tell of an order; rows of others, such as SKIP, are ignored.
ACTIONS = ("PLACE", "AMEND", "CANCEL_REQ", "CANCEL_ACK", "FILL", "CLOSE_FILLED", "EXPIRE")
#: No price, quantity or sum of money is larger, in any currency.
LARGEST = 1e15


@dataclass(frozen=True)
class RawTable:
    """A file as it stands. ``line``: row number of each row, the header being row 1.

    ``header``: all names in the file. ``bad_lines``: (what, cells) by row number of lines that
    are no row at all. ``cut``: the last line has no end and its last cell is used, so that it
    may be half a number. ``sha256``: of the bytes that were read.
    """

    table: pd.DataFrame
    line: Ints
    header: tuple[str, ...]
    bad_lines: Mapping[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    cut: bool = False
    sha256: str = ""

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> RawTable:
        """A table that is in memory already; rows are counted as in a file."""
        line = np.arange(len(frame), dtype=np.int64) + 2
        return cls(frame, line, tuple(str(name) for name in frame.columns))


@dataclass(frozen=True)
class SetAside:
    """Rows that break the contract and were left out, by file and cause."""

    file: str
    rows: int
    of: int
    what: str
    first_row: int

    def __str__(self) -> str:
        more = f" and {self.rows - 1} more" if self.rows > 1 else ""
        return f"{self.file}, row {self.first_row}{more}: {self.what}; left out"


@dataclass(frozen=True)
class Checked:
    """The good rows of one file, and what is known of the others; those are only where its rows
    were read one by one.

    ``table``: times as int64 (required) or float64 with NaN (optional) ms, prices as float64,
    sides and actions in capitals. ``line``: row number of each good row. ``of``: all rows of the
    file. ``tainted``: ids on malformed rows, whose orders can't be trusted. ``lost``: recv_ms,
    side, price, action (NaN or empty where unreadable) of malformed rows without a readable id.
    ``said``: what was read otherwise than it stands, for people. ``blind_ms``: times from which
    the mid is unknown until the next row. ``ledger``: the books of a state file, where they are
    not columns of its table.
    """

    table: pd.DataFrame
    line: Ints
    of: int
    set_aside: tuple[SetAside, ...] = ()
    tainted: frozenset[str] = frozenset()
    lost: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["recv_ms", "side", "price", "action"])
    )
    said: tuple[str, ...] = ()
    blind_ms: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    ledger: Ledger | None = None

    def left_out(self, label: str, rows: Mask, what: str) -> SetAside:
        """Some of the good rows, for a cause that was seen later."""
        return SetAside(label, int(rows.sum()), self.of, what, int(self.line[rows].min()))

    @property
    def first_cause(self) -> str:
        """The first malformed row with its cause, empty without any."""
        if not self.set_aside:
            return ""
        first = min(self.set_aside, key=lambda entry: entry.first_row)
        return f"row {first.first_row}: {first.what}"


def wanted(kind: str) -> tuple[str, ...]:
    """The columns that are used of one kind of file."""
    return (*REQUIRED[kind], *OPTIONAL[kind])


def check_header(header: Sequence[str], kind: str, label: str) -> None:
    """Raise InputError unless every required column is there, and no used one twice."""
    twice = [name for name in wanted(kind) if header.count(name) > 1]
    if twice:
        raise InputError(
            f"column {twice[0]} stands {header.count(twice[0])} times",
            where=label,
            row=1,
            remedy="which one is meant? leave one",
        )
    missing = [name for name in REQUIRED[kind] if name not in header]
    if not missing:
        return
    text = header[0] if header else ""
    mark = next((mark for mark in ";\t|" if mark in text), "")
    if len(header) == 1 and mark:
        raise InputError(
            f"one column only: separated by {mark!r}, not by commas",
            where=label,
            row=1,
            remedy="write it with commas",
        )
    if header and all(_is_number(cell) for cell in header[:1]):
        found = f"no header: the first row holds {', '.join(header[:4])[:80]}"
        raise InputError(
            f"{found}; columns {', '.join(missing)} missing",
            where=label,
            row=1,
            remedy=f"put the names of the columns on top ({kind} need {', '.join(REQUIRED[kind])})",
        )
    names = ", ".join(header[:15])[:200]
    raise InputError(
        f"column {', '.join(missing)} missing (found: {names or 'none'})",
        where=label,
        row=1,
        remedy=f"{kind} need {', '.join(REQUIRED[kind])}",
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
