"""The rules of the verdict: what is refused, what is warned of, what is a note.

Refused only where a number would be wrong or missing; a warning needs a size that matters.
"""

from __future__ import annotations

from collections.abc import Iterator

from mm.estimate import Estimate
from mm.load import BacktestLog, SetAside
from mm.reconcile import Reconciliation
from mm.settings import Settings
from mm.tick import TickSize
from mm.verdict import Finding

#: A given dt_ms that is off by more than this share of the rows' gap is warned of: the
#: consumer's fill rate is then off by about as much.
DT_TOLERANCE = 0.10


def findings(
    log: BacktestLog,
    tick: TickSize,
    reconciliation: Reconciliation,
    estimate: Estimate,
    settings: Settings,
) -> Iterator[Finding]:
    """Every finding on one symbol, in no particular order."""
    yield from _of_estimate(estimate, settings)
    yield from _of_rows(log, settings)
    yield from _of_time_step(log, estimate)
    yield from _of_source(log)
    if tick.level != "none":
        yield Finding(
            tick.level,
            "tick_size",
            tick.remark,
            "" if tick.level == "note" else "k is per tick: another unit gives another k",
            "" if tick.level == "note" else "set TICK_SIZE to what the consumer will use",
        )
    of_runs = [text for run in log.runs for text in run.warnings]
    for text in [*log.warnings, *of_runs, *reconciliation.warnings]:
        yield Finding("note", "input", text)


def _of_estimate(estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    if estimate.refusal is not None:
        yield _no_estimate(estimate)
        return
    fit = estimate.fit
    assert fit is not None
    if fit.k <= 0:
        yield Finding(
            "refused",
            "k_not_positive",
            f"k = {fit.k:.4g} /tick: fills do not get rarer with distance",
            "the ticks may be too small against the mid's moves, or the quotes were moved through",
            "look at the empirical intensity; a larger TICK_SIZE does not help, farther quotes do",
        )
    if estimate.n_events < settings.MIN_FILLS:
        yield Finding(
            "refused",
            "few_fills",
            f"{estimate.n_events} fills, fewer than MIN_FILLS = {settings.MIN_FILLS}",
            "the log is short or quotes were far from mid",
            "pool more runs, or quote nearer",
        )


def _no_estimate(estimate: Estimate) -> Finding:
    error = estimate.refusal
    assert error is not None
    if error.code == "dt_unknown":
        return Finding(
            "refused",
            error.code,
            str(error),
            "one draw a state row says nothing about the time it stood for",
            "set POISSON_DT_MS to the dt_ms of the run that made the log",
        )
    if error.code == "no_events":
        limit = (
            f"; λ ≤ 2.996/ΣT = {estimate.upper_limit:.3g} /s (one-sided 95 %, "
            f"ΣT = {estimate.exposure_s:,.1f} s)"
            if estimate.exposure_s > 0
            else ", and no exposure there"
        )
        return Finding(
            "refused",
            error.code,
            f"{error}{limit}",
            "quotes were too far from mid, or outside MIN_DELTA_TICKS..MAX_DELTA_TICKS",
            "quote nearer, or widen the range",
        )
    return Finding(
        "refused",
        error.code,
        str(error),
        "quotes rested at one distance only, or all fills came at its edge",
        "quote at several distances, or pool runs that did",
    )


def _of_rows(log: BacktestLog, settings: Settings) -> Iterator[Finding]:
    by_file: dict[str, list[SetAside]] = {}
    for aside in log.set_aside:
        by_file.setdefault(aside.file, []).append(aside)
    for asides in by_file.values():
        share = sum(a.rows for a in asides) / asides[0].of
        text = f"{'; '.join(str(a) for a in asides)} ({share:.2%} of the file's rows)"
        if share > settings.MAX_SET_ASIDE_FRACTION:
            limit = f"{settings.MAX_SET_ASIDE_FRACTION:.2%}"
            yield Finding(
                "refused",
                "malformed_rows",
                text,
                f"more than MAX_SET_ASIDE_FRACTION = {limit}",
                "write the file again, or raise the limit if those rows do not matter",
            )
        else:
            yield Finding("warn", "malformed_rows", text, "", "look at those rows")


def _of_time_step(log: BacktestLog, estimate: Estimate) -> Iterator[Finding]:
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
            "it draws once a book tick, whatever dt_ms says",
            "leave POISSON_DT_MS unset, or replay at that tick interval",
        )


def _of_source(log: BacktestLog) -> Iterator[Finding]:
    source = log.fill_source
    if source == "mixed":
        yield Finding(
            "warn",
            "fill_source",
            "fills of recorded trades and of a Poisson fill model stand in one log",
            "runs of two fill models were joined",
            "calibrate each alone",
        )
    elif source == "trade_driven":
        yield Finding(
            "note",
            "fill_source",
            "fills come from recorded trades and know no queue: any print at or through the "
            "price fills",
        )
