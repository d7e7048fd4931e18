"""Rules on units, time step, and what filled the orders."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mm.core.formatting import duration
from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.rules.model import off
from mm.diagnostics.verdict import Finding
from mm.exposure.accounts import Accounts
from mm.exposure.reconcile import Reconciliation
from mm.fitting.estimate import Estimate
from mm.logs.intervals import FILL_STATUSES, TAKER
from mm.logs.load import BacktestLog
from mm.logs.mid_check import MidCheck
from mm.logs.tick import TickSize

#: A given dt_ms off by more than this is warned of: the fill rate is then off by about as much.
DT_TOLERANCE = 0.10
#: Under an inferred tick a calibration of fewer of the fills than this is one of another log.
MOST_IN_RANGE = 0.5
#: Fills that are lost where runs were cut make A too low by their share; so few are no matter.
MOST_CUT = 0.01


def of_time_step(log: BacktestLog, estimate: Estimate, mids: MidCheck) -> Iterator[Finding]:
    """A given dt_ms that is not the time between state rows."""
    gap = estimate.mean_state_gap_ms
    if not estimate.dt_given or not gap > 0 or log.fill_source == "poisson":
        return
    ratio = estimate.dt_ms / gap
    # Where quotes fill before their next row, exposure knows longer gaps than the rows have.
    by_rows = estimate.dt_ms / mids.row_gap_ms
    if min(abs(ratio - 1.0), abs(by_rows - 1.0)) > DT_TOLERANCE:
        yield Finding(
            "warn",
            "dt_ms",
            f"POISSON_DT_MS = {estimate.dt_ms}, but state rows came every {gap:.1f} ms: the "
            f"consumer would fill about {ratio:.2f} times as often",
            "It draws once a book tick, whatever dt_ms says",
            "Leave POISSON_DT_MS unset, or replay at that tick interval",
        )


def of_mid_clock(found: Diagnostics, settings: Settings) -> Iterator[Finding]:
    """How much hangs on how often mid was written, and whether the consumer writes it as often."""
    clock = found.clock
    if clock is None:
        return
    delta = found.halves.delta
    k, level = clock.change(delta)
    rows = f"Mid was written every {clock.median_ms:,.0f} ms (95 % within {clock.gap95_ms:,.0f} ms)"
    if math.isfinite(level) and off(level, settings):
        yield Finding(
            "warn",
            "mid_clock",
            f"{rows}; written half as often, λ at {delta:.1f} ticks would be {level:.2f} times and "
            f"k {k:.2f} times as large",
            "Distances are from a mid that is old by the time it is used",
            "Log mid at every quote change, or at the clock by which the consumer reads it",
            level,
            f"off by more than {settings.WARN_RATIO:.0%}",
        )
    elif math.isfinite(k) and off(k, settings):
        yield Finding(
            "note",
            "mid_clock",
            f"{rows}; written half as often, k would be {k:.2f} times as large, λ at {delta:.1f} "
            f"ticks {level:.2f} times: k holds for this clock only",
            number=k,
            threshold=f"off by more than {settings.WARN_RATIO:.0%}",
        )
    consumer = settings.CONSUMER_CLOCK_MS
    if consumer is not None and not 0.5 < consumer / clock.median_ms < 2.0:
        yield Finding(
            "warn",
            "consumer_clock",
            f"{rows}, the consumer reads it every {consumer:g} ms",
            "k is a number for a clock of mid",
            "Log mid at the consumer's clock",
            consumer / clock.median_ms,
            "between half and twice",
        )


def of_outages(lost: Reconciliation, settings: Settings) -> Iterator[Finding]:
    """How much of the log is not seen because the mid was too old."""
    time, fills = lost.in_outages
    if time > settings.WARN_RATIO or fills > settings.WARN_FILL_SHARE:
        yield Finding(
            "warn",
            "outages",
            f"{time:.0%} of the time that quotes rested, and {fills:.0%} of the first fills, lie "
            f"where the mid was older than MAX_STATE_GAP_MS = {settings.MAX_STATE_GAP_MS}: they "
            "are left out",
            "State rows stop for long, or come more rarely than that",
            "Log the mid more often; where rows come that rarely throughout, raise "
            "MAX_STATE_GAP_MS and set POISSON_DT_MS to their distance",
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
    elif log.fill_source == "unknown" and any(run.facts.rows["fills"] for run in log.runs):
        yield Finding(
            "note",
            "fill_source",
            "What filled the orders is unknown: the fills' reason is neither trade_cross nor "
            "poisson…, or not there; whether they know of a queue this log does not say",
        )
    elif log.fill_source == "tape":
        yield Finding(
            "note",
            "fill_source",
            "Virtual orders on a trade tape made this, nobody's orders: they move no market, and "
            "are first or last in the queue",
        )
    elif log.fill_source == "trade_driven":
        yield Finding(
            "note",
            "fill_source",
            "Fills come from recorded trades and know no queue: any print at or through the "
            "price fills",
        )


def of_takers(lost: Reconciliation) -> Iterator[Finding]:
    """Orders that took liquidity."""
    rows = lost.fill_rows.get(FILL_STATUSES[TAKER], 0)
    if rows:
        yield Finding(
            "note",
            "takers",
            f"{rows:,} fill rows are of orders that took liquidity (placed through mid and filled "
            "as they became active, or so said): no events of a maker, set aside",
            number=float(rows),
        )


def of_runs(log: BacktestLog) -> Iterator[Finding]:
    """Runs that replay the same time, one a spread for example."""
    total = sum(run.end_ms - run.start_ms for run in log.runs) / 1000.0
    covered = log.covered_s
    if covered < total:
        yield Finding(
            "note",
            "same_time",
            f"{len(log.runs)} runs of {duration(total)} together cover "
            f"{duration(covered)} of the market: what several of them replay counts as "
            "one period in the interval",
        )


def of_cut_runs(log: BacktestLog, lost: Reconciliation) -> Iterator[Finding]:
    """Runs that are one run, cut while orders rested: what fills in the next piece is lost."""
    across, events = log.filled_in_next_run, lost.fill_rows["event"]
    if across and across > MOST_CUT * (across + events):
        yield Finding(
            "warn",
            "cut_runs",
            f"{across:,} orders were placed in one run and filled in the next; their fills "
            f"({across / (across + events):.1%}) are lost",
            "One run was cut into folders while orders rested",
            "Put consecutive pieces into one folder as one run",
            across / (across + events),
            f"at most {MOST_CUT:.0%} of the fills",
        )


def of_tick_unknown(accounts: Accounts, settings: Settings) -> Iterator[Finding]:
    """A unit that nobody gave and that leaves most fills out of range is none."""
    share, spacing = accounts.fills_in_range, accounts.ladder_spacing
    if settings.TICK_SIZE is not None or not share < MOST_IN_RANGE:
        return
    tick = accounts.tick.value
    todo = "Set TICK_SIZE to the unit in which the consumer measures distance"
    if math.isfinite(spacing) and spacing > tick:
        todo = f"{todo}; by the spacing of the quotes: TICK_SIZE: {spacing:g}"
    yield Finding(
        "refused",
        "tick_unknown",
        f"TICK_SIZE was not given, and under {tick:g}, the grid of the quoted prices, only "
        f"{share:.0%} of the fills lie in MIN_DELTA_TICKS..MAX_DELTA_TICKS = "
        f"{settings.MIN_DELTA_TICKS:g}..{settings.MAX_DELTA_TICKS:g}",
        "The prices' grid is not the unit in which quotes are placed",
        todo,
        share,
        f"at least {MOST_IN_RANGE:.0%} in range",
    )


def of_tick(tick: TickSize) -> Iterator[Finding]:
    """The unit of the distance."""
    if tick.changed is not None:
        before, after = tick.changed
        yield Finding(
            "note",
            "tick_changed",
            f"Quoted prices lie on a grid of {before:g} at first and of {after:g} later: A and k "
            f"are per {tick.value:g} throughout",
            "The venue may have changed its tick size",
            "Calibrate before and after it apart if fills came to differ",
        )
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
