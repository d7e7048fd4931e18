"""The one way from settings to parameters, step by step as the notebook walks it.

Every step takes what the ones before it made and returns a result that shows itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mm.core.config import backtest_folder, below_root
from mm.core.errors import SettingsError
from mm.core.places import KEPT
from mm.core.settings import Settings
from mm.diagnostics.diagnose import CheckOptions, Diagnostics, check_estimate
from mm.diagnostics.rules import findings
from mm.diagnostics.rules.files import of_clocks
from mm.diagnostics.time_rescaling import with_clock
from mm.diagnostics.verdict import Verdict
from mm.exposure.accounts import Accounts, account
from mm.exposure.trials import events_at_own_rows
from mm.fitting.estimate import Estimate, estimate_intensity
from mm.fitting.intensity import EmpiricalIntensity, empirical_intensity
from mm.logs.files import KINDS, RunFiles
from mm.logs.load import BacktestLog, load_log, log_from_frames
from mm.quotes.markout import QuoteValue, fee_in, quote_value
from mm.quotes.optimal import optimal_quotes
from mm.quotes.volatility import volatility
from mm.results.outcome import Calibration, make_params
from mm.results.read import read_fill_model
from mm.tape.log import (
    ALTERNATIVES_MS,
    HORIZONS_A_BLOCK,
    Alternative,
    TapeLog,
    read_tapes,
    tape_log,
    tapes_of,
)
from mm.tape.virtual import FillRule, Quoter


def load(settings: Settings) -> BacktestLog:
    """Read the logs of ``settings.SYMBOL`` from ``settings.BACKTEST_DIR``.

    Raises SettingsError without a symbol, InputError for files that can't be used.
    """
    if not settings.SYMBOL:
        raise SettingsError("SYMBOL is not set; give the name in orders_<SYMBOL>.csv")
    folder, symbol = backtest_folder(settings.BACKTEST_DIR), settings.SYMBOL
    if tapes := tapes_of(folder, symbol):
        return _virtual_orders(tapes, settings)
    kept = os.environ.get(KEPT)
    return load_log(folder, symbol, Path(kept) if kept else None)


def _virtual_orders(runs: Sequence[RunFiles], settings: Settings) -> TapeLog:
    """Virtual orders on the tapes of these runs, with what other horizons and fill rules give."""
    shortest = settings.horizon_ms * HORIZONS_A_BLOCK / 1000.0
    if shortest > settings.BLOCK_S:
        raise SettingsError(
            f"BLOCK_S = {settings.BLOCK_S:g} is less than ten times HORIZON_MS = "
            f"{settings.horizon_ms:,}; give BLOCK_S {shortest:g} or more"
        )
    tapes = read_tapes(runs, settings)
    chosen = tape_log(tapes, settings)
    quoter = chosen.quoter
    plain = settings.model_copy(update={"TICK_SIZE": chosen.unit})
    variants: list[tuple[int, FillRule]] = [(1, "at"), (4, "at"), (16, "at"), (4, "through")]
    others = [
        replace(quoter, horizon_ms=max(1, quoter.horizon_ms * times // 4), fill_rule=rule)
        for times, rule in variants
    ]
    # What another horizon does shows on a part: a long tape is not gone through four times more.
    begun = [replace(one, tape=one.tape.first(ALTERNATIVES_MS)) for one in tapes[:1]]
    logs = [(by, tape_log(begun, settings, by)) for by in others]
    alternatives = tuple(_alternative(by, log, plain) for by, log in logs)
    if len(tapes) == 1 and tapes[0].tape.span <= ALTERNATIVES_MS:
        return replace(chosen, alternatives=alternatives)
    own = next(log for by, log in logs if by == quoter)
    return replace(chosen, alternatives=alternatives, begun=own)


def _alternative(by: Quoter, log: TapeLog, settings: Settings) -> Alternative:
    """Lambda at the middle of the ladder, by the same accounting and fit."""
    fit = estimate(log, account(log, settings), settings).fit
    delta = float(np.median(settings.quote_ticks))
    low, high = fit.interval(delta) if fit is not None else (math.nan, math.nan)
    return Alternative(
        fill_rule=by.fill_rule,
        horizon_ms=by.horizon_ms,
        orders=sum(len(run.orders) for run in log.runs),
        fills=sum(len(run.fills) for run in log.runs),
        delta=delta,
        rate=math.nan if fit is None else fit.intensity(delta),
        low=low,
        high=high,
    )


def measure_intensity(log: BacktestLog, accounts: Accounts) -> EmpiricalIntensity:
    """Empirical intensity by whole-tick bucket, in events/s and quantity/s; of quotes that mid has
    run through in one of their own, unless |delta| is what drew the fills."""
    drawn = log.fill_source == "poisson"
    if drawn:
        exposure = replace(accounts.exposure, events=events_at_own_rows(accounts.exposure))
        return empirical_intensity(exposure, accounts.selection)
    return empirical_intensity(accounts.exposure, accounts.selection.both)


def estimate(log: BacktestLog, accounts: Accounts, settings: Settings) -> Estimate:
    """A and k by the chosen method, the passive fit and the original notebook's numbers."""
    found = estimate_intensity(
        accounts.exposure,
        accounts.selection,
        drawn_by_rows=log.fill_source == "poisson",
        poisson_dt_ms=settings.POISSON_DT_MS,
        runs=log.runs,
        min_exposure_s=settings.MIN_EXPOSURE_S,
        method=settings.FIT_METHOD,
    )
    return with_clock(accounts.exposure, found)


def diagnose(
    log: BacktestLog,
    accounts: Accounts,
    intensity: EmpiricalIntensity,
    result: Estimate,
    settings: Settings,
) -> Diagnostics | None:
    """Hold the estimate against the log: level, shape, time and the rest; None without one, or
    where the files do not belong together: what their times say then means nothing.

    Raises InputError for an OLD_PARAMS_FILE that can't be read.
    """
    if any(found.level == "refused" for found in of_clocks(log, accounts.clocks, accounts.mids)):
        return None
    old, train = settings.OLD_PARAMS_FILE, settings.SCHEDULE_TRAIN_MIN
    options = CheckOptions(
        min_exposure_s=settings.MIN_EXPOSURE_S,
        block_s=settings.BLOCK_S,
        max_state_gap_ms=settings.MAX_STATE_GAP_MS,
        min_fills=settings.MIN_FILLS,
        tolerance=settings.WARN_RATIO,
        share=settings.WARN_FILL_SHARE,
        p=settings.WARN_P,
        schedule_min=(train, settings.SCHEDULE_STEP_MIN or train) if train else None,
        old=read_fill_model(below_root(old), accounts.tick.value) if old else None,
    )
    timed = (accounts.exposure, result)
    if isinstance(log, TapeLog) and log.begun is not None:
        # What the clock of mid does shows on a part, as other horizons do.
        same = settings.model_copy(update={"TICK_SIZE": accounts.tick.value})
        part = account(log.begun, same)
        timed = (part.exposure, estimate(log.begun, part, same))
    return check_estimate(log.runs, accounts.exposure, intensity, result, options, timed)


def value(log: BacktestLog, accounts: Accounts, settings: Settings) -> QuoteValue:
    """What fills at each placement distance were worth some time later, and a quote per hour."""
    fee = settings.MAKER_FEE_BPS
    if fee is None:
        fee = fee_in(log.runs)
    return quote_value(accounts.exposure, fee)


def judge(
    log: BacktestLog,
    accounts: Accounts,
    result: Estimate,
    diagnostics: Diagnostics | None,
    settings: Settings,
) -> Verdict:
    """Whether the numbers may be used, with every reason and note."""
    return Verdict.of(findings(log, accounts, result, diagnostics, settings))


def conclude(
    settings: Settings,
    log: BacktestLog,
    accounts: Accounts,
    intensity: EmpiricalIntensity,
    result: Estimate,
    diagnostics: Diagnostics | None,
    verdict: Verdict,
) -> Calibration:
    """Bind the steps' results; parameters, and quotes, only if the verdict lets them out."""
    params = quotes = None
    if verdict.status != "refused":
        tick = accounts.tick.value
        params = make_params(settings, log, tick, result, diagnostics, verdict)
        if settings.GAMMA is not None and result.fit is not None and result.fit.k > 0:
            moves = volatility(log.runs, tick, settings.MAX_STATE_GAP_MS)
            if moves.sigma > 0:
                quotes = optimal_quotes(result.fit, moves, settings.GAMMA, tick, log.mid)
    return Calibration(
        settings, log, accounts, intensity, result, diagnostics, verdict, params, quotes
    )


def calibrate(
    orders: pd.DataFrame | Iterable[pd.DataFrame],
    fills: pd.DataFrame | Iterable[pd.DataFrame],
    state: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    tick_size: float | None = None,
    symbol: str = "",
    **settings: Any,
) -> Calibration:
    """Calibrate from tables in memory, without a notebook.

    Parameters
    ----------
    orders, fills, state : the three logs as the backtester writes them; several runs to be
        pooled as three lists of the same length.
    tick_size : unit of the distance, quote currency; None infers it from the price grid.
    symbol : shown in the result.
    settings : any other setting by its name, for example ``MAX_DELTA_TICKS=20``.

    Raises SettingsError and InputError. A log that has no valid estimate does not raise: its
    verdict is ``refused`` and says why.

    >>> mm.calibrate(orders, fills, state, tick_size=0.1).params.A  # doctest: +SKIP
    """
    chosen = Settings.build({"SYMBOL": symbol, "TICK_SIZE": tick_size, **settings}).check_range(
        "settings"
    )
    tables = [_by_run(given) for given in (orders, fills, state)]
    counts = [len(of_runs) for of_runs in tables]
    if not min(counts) == max(counts) > 0:
        counted = ", ".join(f"{n} {kind}" for n, kind in zip(counts, KINDS, strict=True))
        raise SettingsError(f"found tables of {counted}; give one of each for every run")
    log = log_from_frames(zip(*tables, strict=True), symbol)
    return run_steps(log, chosen)


def _by_run(given: pd.DataFrame | Iterable[pd.DataFrame]) -> list[pd.DataFrame]:
    """One table a run. What is no list stands for one, so that the error can name it."""
    if isinstance(given, pd.DataFrame | str | PathLike) or not isinstance(given, Iterable):
        return [given]
    return list(given)


def run_steps(log: BacktestLog, settings: Settings) -> Calibration:
    """All steps after loading, in order."""
    accounts = account(log, settings)
    intensity = measure_intensity(log, accounts)
    result = estimate(log, accounts, settings)
    diagnostics = diagnose(log, accounts, intensity, result, settings)
    verdict = judge(log, accounts, result, diagnostics, settings)
    return conclude(settings, log, accounts, intensity, result, diagnostics, verdict)
