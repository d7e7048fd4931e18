"""Do the three files tell of one stretch of time, to the ms, in order?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mm.core.arrays import Ints, Mask, distinct, never_falls, steps_over
from mm.logs.bookkeeping import Ledger
from mm.logs.columns import Checked
from mm.logs.files import KINDS, Kind
from mm.logs.intervals import is_virtual, resting_intervals
from mm.logs.order_ids import accepted_rows, earliest, is_one_of, latest, order_codes
from mm.logs.rules import CLOCK_TOLERANCE_MS

#: Times on a grid as wide as this, most of which several state rows share, were rounded.
_ROUNDED_MS, _SHARED = 100, 0.5
#: A stretch without state rows that may be the seam of two runs (real logs: 0.39 s at most within
#: one), and the least length of each.
_SEAM_MS, _RUN_MS = 5_000, 30_000
#: A clock that is set right steps back by less than this; a run that starts again, by its length.
_STEP_MS = 5_000


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
    late = fill_shift_ms(orders, fills)
    if late:
        out.append(
            f"{labels['fills']}: first fills come {late:+.0f} ms after the FILL rows of "
            f"{labels['orders']}"
        )
    # Virtual orders on a tape are placed by no recorder's clock.
    late = 0.0 if is_virtual(fills) else state_shift_ms(orders, state)
    if late:
        out.append(
            f"{labels['orders']}: placed in the ms of the rows of {labels['state']} only once "
            f"{-late:+.0f} ms are added"
        )
    return tuple(out)


def fill_shift_ms(orders: pd.DataFrame, fills: pd.DataFrame) -> float:
    """How much later the fills file has first fills than the FILL rows have, ms; 0 unless that is
    certain: more than the tolerance in the middle, or the same to the ms for nearly all."""
    codes, fill_codes, n = order_codes(orders, fills)
    rows = is_one_of(orders["action"], "FILL")
    in_orders = earliest(codes[rows], orders["recv_ms"].to_numpy()[rows], n)
    late = earliest(fill_codes, fills["recv_ms"].to_numpy(), n) - in_orders
    late = late[~np.isnan(late)]
    if len(late) < 3:
        return 0.0
    middle = float(np.median(late))
    certain = abs(middle) > CLOCK_TOLERANCE_MS or (late == middle).mean() > 0.9
    return middle if certain else 0.0


def state_shift_ms(orders: pd.DataFrame, state: pd.DataFrame) -> float:
    """By how much the orders' clock is off that of the state rows; 0 unless that is certain.

    A backtester acts on ticks: it places orders in the ms of a state row. Where hardly one order
    was placed in such a ms, but nearly all are once a constant is added, that is the shift.
    """
    codes, _, n = order_codes(orders, orders)
    placed = accepted_rows(orders, codes, n)
    time = distinct(orders["recv_ms"].to_numpy(dtype=np.int64)[placed])
    rows = distinct(state["recv_ms"].to_numpy(dtype=np.int64))
    if len(time) < 20 or len(rows) < 20 or _share(time, rows) > 0.5:
        return 0.0
    probes = time[np.linspace(0, len(time) - 1, 9).astype(int)]
    for anchor in probes[::4]:
        # Every row is a candidate for the anchor's; the few that suit the other probes are tried.
        shifts = rows - anchor
        suits = sum((_among(probe + shifts, rows).astype(np.int8) for probe in probes), 0 * shifts)
        for shift in shifts[np.argsort(-suits, kind="stable")[:5]].tolist():
            if _share(time + shift, rows) > 0.9:
                return float(-shift)
    return 0.0


def _among(time: Ints, rows: Ints) -> Mask:
    """Which times are those of a row; ``rows`` are sorted."""
    at = np.minimum(np.searchsorted(rows, time), len(rows) - 1)
    return np.asarray(rows[at] == time, dtype=np.bool_)


def _share(time: Ints, rows: Ints) -> float:
    return float(_among(time, rows).mean())


def appended(checked: Mapping[Kind, Checked], labels: Mapping[Kind, str]) -> tuple[str, ...]:
    """Files that hold several runs, one behind the other."""
    pieces = {
        kind: _pieces(checked[kind].table["recv_ms"].to_numpy(dtype=np.int64)) for kind in KINDS
    }
    return tuple(
        f"{labels[kind]}: time starts again {n - 1} times" for kind, n in pieces.items() if n > 1
    )


def _pieces(time_ms: Ints) -> int:
    """Number of runs written one behind the other: stretches in time order between jumps back.

    Rows that were shuffled, or a few that are late, are one run: only long stretches count.
    """
    back = np.flatnonzero(time_ms[1:] < time_ms[:-1] - _STEP_MS) + 1
    if not len(back):
        return 1
    lengths = np.diff(np.concatenate([[0], back, [len(time_ms)]]))
    long = lengths >= max(10, 0.05 * len(time_ms))
    return int(long.sum()) if long.sum() >= 2 and lengths[~long].sum() < 0.05 * len(time_ms) else 1


def in_time_order(state: pd.DataFrame, label: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The state rows by time, those of one ms in file order, and whether that changed any."""
    time = state["recv_ms"].to_numpy()
    if never_falls(time):
        return state, ()
    backwards = int(np.count_nonzero(time[1:] < time[:-1]))
    ordered = state.sort_values("recv_ms", kind="stable", ignore_index=True)
    return ordered, (f"{label}: time goes backwards at {backwards} rows; sorted by recv_ms",)


def seams(orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame, end_ms: int) -> list[int]:
    """Times at which a second run begins behind the first, ms.

    The sign: state rows stop and go on later, orders rest at that moment, no row ever tells of one
    of them again, and others are placed. In one run they would be cancelled or filled at some
    time, unless it lets all of its orders rest to the end and places no more.
    """
    time = state["recv_ms"].to_numpy(dtype=np.int64)
    gaps = steps_over(time, _SEAM_MS)
    long = (time[gaps] - time[0] >= _RUN_MS) & (time[-1] - time[gaps + 1] >= _RUN_MS)
    gaps = gaps[long]
    if not len(gaps):
        return []
    intervals = resting_intervals(orders, fills, end_ms)
    codes, fill_codes, n = order_codes(orders, fills)
    both = np.concatenate([codes, fill_codes])
    times = np.concatenate([orders["recv_ms"].to_numpy(), fills["recv_ms"].to_numpy()])
    rows = accepted_rows(orders, codes, n)
    last = latest(both, times, n)[codes[rows]]
    begun = intervals.whole(intervals.start_ms)
    end = intervals.whole(intervals.end_ms, last=True)
    last_placed = int(orders["recv_ms"].to_numpy()[rows].max(initial=0))
    found = []
    for gap in gaps:
        stop, go_on = int(time[gap]), int(time[gap + 1])
        if last_placed <= stop:
            break
        before = begun <= stop
        if (before & (end >= go_on)).any() and not (last[before] >= go_on).any():
            found.append(go_on)
    return found


def restarts(fills: pd.DataFrame, time: Ints, ledger: Ledger) -> list[int]:
    """Times at which inventory and cash are those of the first state row again, without a fill:
    a second run begins there, ms. ``time``: of the state rows, in order."""
    held, cash = ledger.inventory, ledger.cash
    if held is None or cash is None:
        return []
    rows = distinct(np.concatenate([held.row, cash.row]))
    initial = (held.at(rows) == held.value[0]) & (cash.at(rows) == cash.value[0])
    back = rows[np.flatnonzero(initial[1:] & ~initial[:-1]) + 1]
    if not len(back):
        return []
    fill = np.sort(fills["recv_ms"].to_numpy())
    before = np.searchsorted(fill, time[back - 1], side="left")
    none = np.searchsorted(fill, time[back], side="right") == before
    return [int(t) for t in time[back[none]]]
