"""Do the three files tell of one stretch of time, to the ms, in order?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mm import consistency
from mm.arrays import distinct
from mm.clocks import appended_pieces
from mm.discover import KINDS, Kind
from mm.errors import InputError
from mm.read import Checked

#: Files of one run overlap, or nearly so; clocks that are off by more than this are no matter of
#: a constant.
_APART_MS = 7 * 86_400_000
#: Times on a grid as wide as this, most of which several state rows share, were rounded.
_ROUNDED_MS, _SHARED = 100, 0.5


def check_overlap(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> None:
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


def rounded(state: pd.DataFrame, label: str) -> tuple[str, ...]:
    """Whether times were rounded: most state rows share theirs with others, on a wide grid."""
    time = state["recv_ms"].to_numpy(dtype=np.int64)
    different = distinct(time)
    shared = 1.0 - len(different) / len(time)
    if shared <= _SHARED:
        return ()
    steps = np.diff(different)
    grid = int(np.gcd.reduce(steps)) if len(steps) else 0
    if len(state) < 20 or 0 < grid < _ROUNDED_MS:
        return ()
    what = f"all times are multiples of {grid:,} ms" if grid else "all rows have one time"
    return (f"{label}, column recv_ms: {what}; {shared:.0%} of the rows share theirs",)


def shifted(
    orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame, labels: Mapping[Kind, str]
) -> tuple[str, ...]:
    """Files whose clock is certainly not that of the others."""
    out = []
    late = consistency.fill_shift_ms(orders, fills)
    if late:
        out.append(
            f"{labels['fills']}: first fills come {late:+.0f} ms after the FILL rows of "
            f"{labels['orders']}"
        )
    late = consistency.state_shift_ms(orders, state)
    if late:
        out.append(
            f"{labels['orders']}: placed in the ms of the rows of {labels['state']} only once "
            f"{-late:+.0f} ms are added"
        )
    return tuple(out)


def appended(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> tuple[str, ...]:
    """Files that hold several runs, one behind the other."""
    pieces = {
        kind: appended_pieces(checked[kind].table["recv_ms"].to_numpy(dtype=np.int64))
        for kind in KINDS
    }
    return tuple(
        f"{labels[kind]}: time starts again {n - 1} times" for kind, n in pieces.items() if n > 1
    )


def in_time_order(state: pd.DataFrame, label: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The state rows by time, those of one ms in file order, and whether that changed any."""
    time = state["recv_ms"].to_numpy()
    backwards = int(np.count_nonzero(time[1:] < time[:-1]))
    if not backwards:
        return state, ()
    ordered = state.sort_values("recv_ms", kind="stable", ignore_index=True)
    return ordered, (f"{label}: time goes backwards at {backwards} rows; sorted by recv_ms",)
