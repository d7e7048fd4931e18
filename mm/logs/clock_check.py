"""Do the three files tell of the same time? Shifted clocks give plausible wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints, never_falls, slices
from mm.logs.bookkeeping import Ledger
from mm.logs.columns import ACTIONS
from mm.logs.intervals import AFTER_END, BEFORE_ACTIVE, NO_FILL, RestingIntervals
from mm.logs.log import Run
from mm.logs.order_ids import Codes, accepted_rows, first_of_each, index_of, is_one_of, latest


@dataclass(frozen=True)
class ClockCheck:
    """Shares that a log with one clock keeps near zero; NaN where there is nothing to count.

    ``placed_outside``: accepted orders placed where no mid is known. ``misplaced_fills``: first
    fills outside their order's interval, or of orders that are not in the file.
    ``wrong_side``: orders placed through mid. ``misplaced``: their count, of ``n_fills``.
    ``open_too_long``: of the time orders were open by our reading, that by which it exceeds what
    the state rows' open_orders say; ``open_too_short``: the other way round, of theirs.
    ``on_rows``: accepted orders placed in the ms of a state row, near one where rows are whole;
    ``by_chance``: the share that would be if they were placed at any time.
    """

    placed_outside: float
    misplaced_fills: float
    wrong_side: float
    misplaced: int
    n_fills: int
    open_too_long: float = np.nan
    open_too_short: float = np.nan
    on_rows: float = np.nan
    by_chance: float = np.nan


#: A count of open orders that agrees with ours in fewer rows than this, or is below that of the
#: orders which later rows tell of in more than a few, counts something else.
_AGREES, _BELOW = 0.2, 0.05


@dataclass(frozen=True)
class ClockSums:
    """What the shares of `ClockCheck` are made of, of one run: accepted orders ``placed``, at a
    ``known`` mid, through it (``wrong``), in the ms of a row (``on_rows``), as chance would have
    it; first ``fills``, and those ``misplaced``; ``open_ms``: see `_open_orders`, shape (4,)."""

    placed: int
    known: int
    wrong: int
    on_rows: float
    by_chance: float
    fills: int
    misplaced: int
    open_ms: Floats


def clock_sums(run: Run, orders: RestingIntervals, max_state_gap_ms: int) -> ClockSums:
    """Hold a run's orders against its state rows, and first fills against their orders."""
    codes, fill_codes, n = run.codes
    rows = accepted_rows(run.orders, codes, n)
    own, recv = codes[rows], run.orders["recv_ms"].to_numpy()
    time = recv[_first_placed(run.orders, rows, codes, n)]
    del rows
    state_ms = run.state["recv_ms"].to_numpy(dtype=np.int64)
    mids = run.state["mid"].to_numpy(dtype=np.float64)
    side, price = orders.whole(orders.side), orders.whole(orders.price)
    known = wrong = on_rows = 0
    for some in slices(len(time)):
        last = np.searchsorted(state_ms, time[some], side="right") - 1
        row = np.maximum(last, 0)
        on_rows += int(np.count_nonzero(state_ms[row] == time[some]))
        there = (last >= 0) & (time[some] - state_ms[row] <= max_state_gap_ms)
        through = side[some] * (mids[row] - price[some]) < 0
        known += int(np.count_nonzero(there))
        wrong += int(np.count_nonzero(there & through))
    # Only what a backtester says of a living order, or of its end, tells that it was open.
    news = is_one_of(run.orders["action"], *ACTIONS)
    heard = latest(codes[news], recv[news], n)[own]
    open_ms = _open_orders(run, time, heard, orders, max_state_gap_ms)
    stranger = np.zeros(n, dtype=np.bool_)
    stranger[fill_codes] = True
    stranger[codes] = False
    strangers = int(stranger.sum())
    misplaced = int(np.isin(orders.fill_status, (BEFORE_ACTIVE, AFTER_END)).sum())
    return ClockSums(
        placed=len(time),
        known=known,
        wrong=wrong,
        on_rows=float(on_rows),
        by_chance=len(time) * len(state_ms) / max(int(state_ms[-1] - state_ms[0]), 1),
        fills=int(np.count_nonzero(orders.fill_status != NO_FILL)) + strangers,
        misplaced=misplaced + strangers,
        open_ms=open_ms,
    )


def check_clocks(runs: Sequence[ClockSums]) -> ClockCheck:
    """The shares over all runs."""
    placed, known, fills = (sum(getattr(r, n) for r in runs) for n in ("placed", "known", "fills"))
    misplaced, wrong = sum(run.misplaced for run in runs), sum(run.wrong for run in runs)
    balance = np.sum([run.open_ms for run in runs], axis=0)
    return ClockCheck(
        placed_outside=(placed - known) / placed if placed else np.nan,
        misplaced_fills=misplaced / fills if fills else np.nan,
        wrong_side=wrong / known if known else np.nan,
        misplaced=misplaced,
        n_fills=fills,
        open_too_long=balance[0] / balance[1] if balance[1] else np.nan,
        open_too_short=balance[2] / balance[3] if balance[3] else np.nan,
        on_rows=sum(run.on_rows for run in runs) / placed if placed else np.nan,
        by_chance=sum(run.by_chance for run in runs) / placed if placed else np.nan,
    )


def _first_placed(orders: pd.DataFrame, rows: Ints, codes: Codes, n: int) -> Ints:
    """The first PLACE row of each accepted order, which may be a rejected one; ``rows``: the
    accepted ones."""
    first = first_of_each(np.flatnonzero(is_one_of(orders["action"], "PLACE")), codes, n)
    if np.array_equal(first, rows):
        return rows
    return first[index_of(first, codes, n)[codes[rows]]]


def _in_order(times: Ints) -> Ints:
    return times if never_falls(times) else np.sort(times, kind="stable")


def _open_orders(
    run: Run, placed_ms: Ints, heard_ms: Ints, orders: RestingIntervals, max_gap: int
) -> Floats:
    """Order-ms (ours beyond the state rows', ours, theirs beyond ours, theirs) of one run; zeros
    where the state rows hold no count of open orders. ``heard_ms`` is overwritten."""
    nothing = np.zeros(4)
    their_count = (run.ledger or Ledger.of(run.state)).open_orders
    if their_count is None:
        return nothing
    time = run.state["recv_ms"].to_numpy(dtype=np.int64)
    start_ms, end_ms = orders.whole(orders.start_ms), orders.whole(orders.end_ms, last=True)
    ends = _in_order(end_ms)
    after = bool((end_ms >= placed_ms).all())
    np.minimum(heard_ms, end_ms, out=heard_ms)
    np.maximum(heard_ms, placed_ms, out=heard_ms)
    heard_ms.sort(kind="stable")
    borders = (
        _in_order(placed_ms),
        ends if after else _in_order(np.maximum(end_ms, placed_ms)),
        heard_ms,
        # From when they are active: whether an order counts as open before that, backtesters
        # may see differently.
        _in_order(start_ms),
        ends,
    )
    n = equal = below = surely_any = 0
    lowest, highest = np.inf, -np.inf
    out = np.zeros(4)
    for some in slices(len(time)):
        theirs = their_count.cells(some.start, some.stop)
        known = np.isfinite(theirs)
        if not known.any():
            continue
        begun, gone, surely_gone, activated = (_up_to(time[some], at) for at in borders[:4])
        ended = gone if after else _up_to(time[some], borders[4])
        ours, surely, active = (
            np.cumsum(one - other)
            for one, other in ((begun, gone), (begun, surely_gone), (activated, ended))
        )
        weight = np.diff(time[some.start : some.stop + 1])
        weight = np.minimum(weight if some.stop < len(time) else np.append(weight, 0), max_gap)
        if not known.all():
            theirs, weight = theirs[known], weight[known]
            ours, surely, active = ours[known], surely[known], active[known]
        n += len(theirs)
        equal += int((ours == theirs).sum())
        below += int((theirs < surely).sum())
        surely_any += int(surely.any())
        lowest, highest = min(lowest, theirs.min()), max(highest, theirs.max())
        out[0] += (weight * np.maximum(active - theirs, 0)).sum()
        out[1] += (weight * active).sum()
        out[2] += (weight * np.maximum(theirs - ours, 0)).sum()
        out[3] += (weight * theirs).sum()
    if n < 0.5 * len(time) or not highest > lowest:
        return nothing
    if below / n > _BELOW or not surely_any:
        out[:2] = 0.0
    if equal / n < _AGREES:
        out[2:] = 0.0
    return out


def _up_to(time_ms: Ints, events_ms: Ints) -> Ints:
    """Number of events since the time before, and for the first one up to it; both are in order."""
    first = int(np.searchsorted(events_ms, time_ms[0], side="right"))
    last = int(np.searchsorted(events_ms, time_ms[-1], side="right"))
    at = np.searchsorted(time_ms, events_ms[first:last], side="left")
    count: Ints = np.bincount(at, minlength=len(time_ms))
    count[0] = first
    return count
