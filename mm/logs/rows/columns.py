"""The columns of the three logs, and whether a file has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mm.core.arrays import Ints
from mm.core.errors import InputError

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
    "fills": ("side", "price", "qty", "reason", "symbol"),
    "state": ("inventory", "cash", "mtm_value", "open_orders", "symbol"),
}
TEXT = frozenset({"order_id", "action", "status", "side", "reason", "reject_reason", "symbol"})
TIMES = ("recv_ms", "active_recv_ms", "expire_recv_ms", "cancel_effective_ms")
#: Evidence only: no number comes from them, so a bad cell there costs no row.
EVIDENCE = frozenset({"remaining_qty", "inventory", "cash", "mtm_value", "open_orders"})


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
