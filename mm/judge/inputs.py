"""Rules on the input: rows, clocks, units, time step, and what filled the orders."""

from __future__ import annotations

from collections.abc import Iterator

from mm.clocks import ClockCheck
from mm.estimate import Estimate
from mm.load import BacktestLog, SetAside
from mm.settings import Settings
from mm.tick import TickSize
from mm.verdict import Finding

#: More of any share in ClockCheck than this, and the files do not belong together: real logs,
#: also with fast mids and late cancels, stay below a tenth of it or so.
MISPLACED = 0.20
#: A given dt_ms off by more than this is warned of: the fill rate is then off by about as much.
DT_TOLERANCE = 0.10
#: By the state rows' open_orders real logs never have an order open that the state rows do not
#: count, and count one for a few percent longer (an acknowledgement comes late). Off by more,
#: exposure is off by as much.
OPEN_TOO_LONG, OPEN_TOO_SHORT = 0.03, 0.10
#: A mid that never moves over so many rows is a feed that stands still.
CONSTANT_ROWS = 100


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


def of_clocks(log: BacktestLog, check: ClockCheck) -> Iterator[Finding]:
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
                "The clock of one file is shifted against the others",
                "Write all files with one clock, milliseconds UTC",
            )
    yield from _of_open_orders(check)
    yield from _of_constant_mid(log)
    if check.placed_outside > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{check.placed_outside:.0%} of the orders were placed when no mid is known",
            "The orders' clock is shifted against that of the state rows, or rows are missing",
            "Write both files with one clock, milliseconds UTC",
        )
    if check.misplaced_fills > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{check.misplaced} of {check.n_fills} first fills lie outside the time their order "
            "rested, or belong to no order",
            "The fills' clock is shifted, or the fills are another run's",
            "Take the three files of one run, written with one clock",
        )
    if check.wrong_side > MISPLACED:
        yield Finding(
            "refused",
            "clocks",
            f"{check.wrong_side:.0%} of the orders were placed through mid",
            "The mid path is shifted in time against the orders, or BUY and SELL are swapped",
            "Take the three files of one run, written with one clock",
        )


def _of_open_orders(check: ClockCheck) -> Iterator[Finding]:
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
                f"By the orders file orders were open {share:.0%} {which} than the state rows' "
                "open_orders say",
                cause,
                "Take the three files of one whole run",
            )


def _of_constant_mid(log: BacktestLog) -> Iterator[Finding]:
    for run in log.runs:
        mid = run.state["mid"].to_numpy()
        if len(mid) > CONSTANT_ROWS and mid.min() == mid.max():
            yield Finding(
                "warn",
                "constant_mid",
                f"The mid of {run.name} is {mid[0]:g} in all {len(mid):,} state rows",
                "The book feed stood still, or the column was not written",
                "Compare with the market's prices of that time",
            )


def of_time_step(log: BacktestLog, estimate: Estimate) -> Iterator[Finding]:
    """A given dt_ms that is not the time between state rows."""
    gap = estimate.mean_state_gap_ms
    if not estimate.dt_given or not gap > 0 or log.fill_source == "poisson":
        return
    ratio = estimate.dt_ms / gap
    if abs(ratio - 1.0) > DT_TOLERANCE:
        yield Finding(
            "warn",
            "dt_ms",
            f"POISSON_DT_MS = {estimate.dt_ms}, but state rows came every {gap:.1f} ms: the "
            f"consumer would fill about {ratio:.2f} times as often",
            "It draws once a book tick, whatever dt_ms says",
            "Leave POISSON_DT_MS unset, or replay at that tick interval",
        )


def of_source(log: BacktestLog) -> Iterator[Finding]:
    """What filled the orders."""
    if log.fill_source == "mixed":
        yield Finding(
            "warn",
            "fill_source",
            "Fills of recorded trades and of a Poisson fill model stand in one log",
            "Runs of two fill models were joined",
            "Calibrate each alone",
        )
    elif log.fill_source == "unknown" and any(run.n_repaired for run in log.runs):
        yield Finding(
            "warn",
            "fill_source",
            "All fills come from the orders file, which does not say what filled them",
            "The fills file is empty; fills of a Poisson fill model would need another likelihood",
            "Write the fills file too",
        )
    elif log.fill_source == "trade_driven":
        yield Finding(
            "note",
            "fill_source",
            "Fills come from recorded trades and know no queue: any print at or through the "
            "price fills",
        )


def of_tick(tick: TickSize) -> Iterator[Finding]:
    """The unit of the distance."""
    if tick.level == "note":
        yield Finding("note", "tick_size", tick.remark)
    elif tick.level == "warn":
        yield Finding(
            "warn",
            "tick_size",
            tick.remark,
            "k is per tick: another unit gives another k",
            "Set TICK_SIZE to what the consumer will use",
        )


def of_log(log: BacktestLog, warnings: tuple[str, ...]) -> Iterator[Finding]:
    """What the reader noticed and repaired."""
    of_runs = [text for run in log.runs for text in run.warnings]
    for text in [*log.warnings, *of_runs, *warnings]:
        yield Finding("note", "input", text)
