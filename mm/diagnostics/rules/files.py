"""Rules on the files: malformed rows, clocks, books and mids that belong to no one run."""

from __future__ import annotations

from collections.abc import Iterator

from mm.core.settings import Settings
from mm.diagnostics.verdict import Finding
from mm.logs.clock_check import ClockCheck
from mm.logs.files import Kind
from mm.logs.load import BacktestLog, SetAside
from mm.logs.mid_check import MidCheck
from mm.logs.never_ended import NeverEnded
from mm.logs.tick import TickSize

#: More of any share in ClockCheck than this, and the files do not belong together: real logs,
#: also with fast mids and late cancels, stay below a tenth of it or so.
MISPLACED = 0.20
#: By the state rows' open_orders real logs never have an order open that the state rows do not
#: count, and count one for a few percent longer (an acknowledgement comes late). Off by more,
#: exposure is off by as much.
OPEN_TOO_LONG, OPEN_TOO_SHORT = 0.03, 0.10
#: A backtester acts on ticks and writes a row for each, so that orders are placed in the ms of a
#: row: in real logs all are. Fewer, and rows are lost or thinned; no more than a few times what
#: chance gives, and orders are placed at other times than ticks, which says nothing.
THINNED, LOST_ROWS, CHANCE, FEWEST = 0.5, 0.95, 5.0, 0.01
#: Where rows are written for every tick, more of them than this repeat the mid before.
STANDING = 0.02
#: Time of orders that nothing ends makes A too low by its share. Real logs: 0.8 % at most; where
#: ends were not understood, 60 % and more. So few orders may rest to the end on purpose.
NEVER_ENDED, NEVER_ENDED_MUCH, FEW_OPEN = 0.02, 0.10, 20
#: A mid that is off by more than this moves the distances that A and k are of. A value counted at
#: the bid of a book one tick wide is off by half a tick.
MID_OFFSET_TICKS = 0.75
#: Mids on a grid wider than this, and wider than that of the prices, were rounded; a market that
#: moves in steps of two ticks has mids one tick apart.
COARSE_TICKS = 4.0


def of_rows(log: BacktestLog, settings: Settings) -> Iterator[Finding]:
    """Malformed rows, against their budget in each file."""
    by_file: dict[str, list[SetAside]] = {}
    for aside in log.set_aside:
        by_file.setdefault(aside.file, []).append(aside)
    for asides in by_file.values():
        share = sum(a.rows for a in asides) / asides[0].of
        text = f"{'; '.join(str(a) for a in asides)} ({share:.2%} of the file's rows)"
        if share > settings.MAX_SET_ASIDE_FRACTION:
            yield Finding(
                "refused",
                "malformed_rows",
                text,
                f"More than MAX_SET_ASIDE_FRACTION = {settings.MAX_SET_ASIDE_FRACTION:.2%}",
                "Write the file again, or raise the limit if those rows do not matter",
            )
        else:
            yield Finding("warn", "malformed_rows", text, "", "Look at those rows")


def of_clocks(log: BacktestLog, check: ClockCheck, mids: MidCheck) -> Iterator[Finding]:
    """Files that do not belong together, or hold more than one run."""
    for run in log.runs:
        for text in run.appended:
            yield Finding(
                "refused",
                "appended_run",
                text,
                "A second run was written behind the first",
                "Put each run into a folder of its own: they are then pooled",
            )
        for text in run.shifted:
            yield Finding(
                "refused",
                "clocks",
                text,
                "The clock of one file is shifted against the others, or times were rounded",
                "Write all files with one clock, whole milliseconds UTC",
            )
        for text in run.disagree:
            yield Finding(
                "refused",
                "books",
                text,
                "Rows of one file are lost or doubled, or the files are of different runs",
                "Take the three files of one whole run; if inventory counts something else, leave "
                "that column out",
            )
    orders, fills = _file(log, "orders"), _file(log, "fills")
    yield from _of_open_orders(log, check)
    yield from _of_thinned_rows(log, check, mids)
    yield from _of_constant_mid(mids)
    if check.placed_outside > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{orders}: {check.placed_outside:.0%} of the orders were placed when no mid is known",
            "The orders' clock is shifted against that of the state rows, or rows are missing",
            "Write both files with one clock, milliseconds UTC",
        )
    if check.misplaced_fills > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{fills}: {check.misplaced} of {check.n_fills} first fills lie outside the time their "
            "order rested, or belong to no order",
            "The fills' clock is shifted, or the fills are another run's",
            "Take the three files of one run, written with one clock",
        )
    if check.wrong_side > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{orders}: {check.wrong_side:.0%} of the orders were placed through mid",
            "The mid path is shifted in time against the orders, or BUY and SELL are swapped",
            "Take the three files of one run, written with one clock",
        )


def of_never_ended(log: BacktestLog, found: NeverEnded) -> Iterator[Finding]:
    """Orders that no row ends. A few may rest to the end on purpose, as quotes far from mid do;
    more than ever rested at one time and ended are orders whose end was not understood."""
    if found.time_share <= NEVER_ENDED:
        return
    words = ", ".join(f"{word} on {n:,}" for word, n in list(found.words.items())[:3])
    many = found.orders > max(found.at_once, FEW_OPEN) and found.time_share > NEVER_ENDED_MUCH
    yield Finding(
        "refused" if many else "warn",
        "never_ended",
        f"{_file(log, 'orders')}: nothing ends {found.orders:,} of {found.of:,} orders, which rest "
        f"to the end of the run, longer than any that ended: {found.time_share:.0%} of all time",
        f"The last word on them is not known: {words[:160]}"
        if words
        else "Rows that end orders are missing, or orders that were rejected do not say so",
        "Write each order's end as docs/input.md says: CANCEL_ACK, EXPIRE, or status REJECTED"
        if many or words
        else "If they were meant to rest, all is well",
        found.time_share,
        f"at most {NEVER_ENDED:.0%} of the time that orders rested",
    )


def _file(log: BacktestLog, kind: Kind) -> str:
    """What a kind of file is called, for a finding on all runs together."""
    first = log.runs[0].labels.get(kind, kind)
    return first if len(log.runs) == 1 else f"{first} and those of {len(log.runs) - 1} more runs"


def _of_open_orders(log: BacktestLog, check: ClockCheck) -> Iterator[Finding]:
    """The state rows' own count of open orders against ours."""
    cases = (
        (check.open_too_long, OPEN_TOO_LONG, "longer", "Rows that end orders are lost"),
        (check.open_too_short, OPEN_TOO_SHORT, "shorter", "Orders are lost, or end too early"),
    )
    for share, limit, which, cause in cases:
        if share > limit:
            yield Finding(
                "refused",
                "open_orders",
                f"{_file(log, 'orders')}: orders were open {share:.0%} {which} than the state "
                "rows' open_orders say",
                cause,
                "Take the three files of one whole run",
            )


def _of_thinned_rows(log: BacktestLog, check: ClockCheck, mids: MidCheck) -> Iterator[Finding]:
    """State rows that are missing: mids are older than they seem, and distances wrong."""
    if not max(CHANCE * check.by_chance, FEWEST) < check.on_rows < LOST_ROWS:
        return
    if log.fill_source == "tape":
        return  # virtual orders are placed at times of their own
    if mids.standing < STANDING:
        return  # rows are written where mid has changed, and none is missing
    thinned = check.on_rows < THINNED
    yield Finding(
        "refused" if thinned else "warn",
        "state_rows",
        f"{_file(log, 'state')}: only {check.on_rows:.1%} of the orders were placed in the ms of a "
        "row, as all are where no row is missing",
        "State rows were thinned out or are lost, so that mids are old and distances wrong",
        "Log every state row of the run",
    )


def _of_constant_mid(mids: MidCheck) -> Iterator[Finding]:
    for run in mids.runs:
        if run.constant is not None:
            yield Finding(
                "warn",
                "constant_mid",
                f"The mid of {run.name} is {run.constant:g} in all {run.rows:,} state rows",
                "The book feed stood still, or the column was not written",
                "Compare with the market's prices of that time",
            )


def of_mids(mids: MidCheck, tick: TickSize) -> Iterator[Finding]:
    """Mids or prices that are off by a constant, or mids coarser than the distances from them."""
    for run in mids.runs:
        if abs(run.offset) > MID_OFFSET_TICKS * tick.value:
            yield Finding(
                "refused",
                "mid_offset",
                f"{run.state}, column mid: off by {-run.offset:+.6g} "
                f"({-run.offset / tick.value:+.3g} ticks) from the mids by which the rows' "
                "mtm_value was counted",
                "The column was shifted, or mtm_value is counted by another price",
                "Write the mid; if mtm_value is not cash + inventory × mid, leave that column out",
            )
        if abs(run.fill_offset) > MID_OFFSET_TICKS * tick.value:
            yield Finding(
                "refused",
                "price_offset",
                f"{run.fills}, column price: off by "
                f"{run.fill_offset:+.6g} ({run.fill_offset / tick.value:+.3g} ticks) from the "
                f"prices by which cash moved in {run.state}",
                "The column was shifted, perhaps in the orders file too",
                "Write the prices; if cash is counted by another price, leave that column out",
            )
        grid = run.grid
        coarse = grid is not None and grid > COARSE_TICKS * tick.value
        if grid is not None and coarse and tick.grid is not None and grid > 2.0 * tick.grid:
            yield Finding(
                "refused",
                "coarse_mid",
                f"{run.state}, column mid: all are multiples of {grid:g} ({grid / tick.value:g} "
                f"ticks), the prices of {tick.grid:g}",
                "The mids were rounded, so distances are not known",
                "Write the mids with all their digits",
            )
