"""A log held against what was live before it. Loads the statistics: only for who scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from mm.core.arrays import Floats, sums_by
from mm.core.config import backtest_folder
from mm.core.settings import Settings
from mm.core.storage import AnyPath
from mm.diagnostics.forecast import gain, number_test, space_test
from mm.diagnostics.replay import ReplayRows
from mm.exposure.accounts import account
from mm.exposure.cells import Cells
from mm.logs.load import BacktestLog, load_log
from mm.registry.ledger import Forecast, Level, Score, forecast_for, scores, usual_error
from mm.registry.store import Registry, Release
from mm.report.compare import NORMAL_95, rate_at
from mm.results.params import Params, PlainNumbers
from mm.results.record import Record
from mm.tape.log import read_tapes, tape_log, tapes_of


def score_symbol(
    registry: Registry,
    symbol: str,
    record: Record,
    *,
    journal: Sequence[Release] | None = None,
    earlier: Sequence[Score] | None = None,
) -> Score | None:
    """Score the runs of a symbol's log that came after what was live and after those that were
    scored before; None if there are none, or nothing was live.

    ``journal``, ``earlier``: the registry's, and the symbol's scores, of one who has read them for
    all symbols.

    Raises CalibrationError for a log that can't be read or a version that was altered.
    """
    journal = registry.journal() if journal is None else journal
    if not any(symbol in release.changed for release in journal):
        return None
    settings = Settings.build(record.settings, "run.json")
    log = _load(backtest_folder(settings.BACKTEST_DIR), symbol, settings)
    earlier = scores(registry).get(symbol, ()) if earlier is None else earlier
    log = _from(log, max((s.window_ms[1] for s in earlier), default=0))
    if not log.runs:
        return None

    @cache
    def version(name: str) -> Params:
        return registry.params(symbol, name)

    def ended(name: str) -> int:
        return version(name).window_ms[1]

    newest = max(run.start_ms for run in log.runs)
    forecast = forecast_for(journal, symbol, log.window_ms[0], ended) or forecast_for(
        journal, symbol, newest, ended
    )
    if forecast is None:
        return None
    log = _from(log, ended(forecast.version))
    params = version(forecast.version)
    previous = version(forecast.previous) if forecast.previous else None
    settings = settings.model_copy(update={"TICK_SIZE": params.tick_size})
    accounts = account(log, settings)
    cells = accounts.exposure.cells(accounts.selection.both)
    return score(log, cells, forecast, params, previous, usual_error(earlier, forecast.version))


def score(
    log: BacktestLog,
    cells: Cells,
    forecast: Forecast,
    params: Params,
    previous: Params | None,
    usual: float = 1.0,
) -> Score:
    """N_i and E_i = sum T A e^(-k |delta|) by whole-tick placement distance i, on the quotes that
    rested.

    The interval of sum N is that of a negative binomial with mean E and variance E + (E s)^2, where
    s^2 = (half the 95 % interval of log lambda / 1.96)^2 + tau^2: what the params file says of its
    own error and of how lambda varies from period to period. ``usual`` widens it, see
    :func:`mm.registry.ledger.usual_error`; z is without it.
    """
    assert cells.level is not None
    labels, of = np.unique(cells.level, return_inverse=True)
    seconds, n = cells.exposure_s, cells.events.astype(np.float64)

    def by_level(values: Floats) -> Floats:
        return sums_by(of, values, len(labels))

    def expected_of(numbers: Params | PlainNumbers, tick_size: float) -> Floats:
        scale = params.tick_size / tick_size
        return by_level(numbers.A * np.exp(-numbers.k * scale * np.abs(cells.delta)) * seconds)

    seen, expected = by_level(n), expected_of(params, params.tick_size)
    total, given = int(seen.sum()), float(expected.sum())
    s = _spread(params)
    dispersion = 1.0 + given * s**2
    nothing = np.zeros(1, dtype=np.int64)
    low, high = ReplayRows(
        by="placement",
        low=nothing,
        high=nothing + 1,
        orders=nothing,
        rest_s=np.zeros(1),
        observed=nothing + total,
        given=np.array([given]),
        dispersion=dispersion * usual**2,
    ).interval

    def gain_over(reference: Floats | None) -> float | None:
        return gain(seen, expected, reference) / total if reference is not None and total else None

    constant = by_level(seconds) * (params.n_fills / params.exposure_s)
    before = expected_of(previous, previous.tick_size) if previous else None
    original = expected_of(params.original, params.tick_size) if params.original else None
    rng = np.random.default_rng(1)
    return Score(
        symbol=params.symbol,
        version=forecast.version,
        registered_utc=forecast.registered_utc,
        prospective=forecast.prospective,
        window_ms=log.window_ms,
        inputs_sha256=log.inputs_sha256,
        seen=total,
        expected=given,
        interval=(int(low[0]), int(high[0])),
        z=(total - given) / math.sqrt(max(given * dispersion, 1e-9)),
        number=number_test(total, given),
        space=space_test(seen, expected, rng) if total else None,
        gain_constant=gain_over(constant),
        gain_previous=gain_over(before),
        gain_original=gain_over(original),
        usual=usual,
        levels=tuple(
            Level(ticks=int(at), seen=round(a), expected=float(b))
            for at, a, b in zip(labels, seen, expected, strict=True)
        ),
    )


def _spread(params: Params) -> float:
    """Of log lambda in a further period: of its error what a normal law of the same 95 % would
    have, since that of few blocks or runs is itself known badly and follows a t."""
    star = params.lambda_at.delta_star if params.lambda_at else 0.0
    at_star = rate_at(params, star)
    error = 0.0
    if at_star is not None and at_star.ends is not None:
        error = math.log(at_star.ends[1] / at_star.value) / NORMAL_95
    return math.hypot(error, params.predictive.tau if params.predictive else 0.0)


def _load(folder: AnyPath, symbol: str, settings: Settings) -> BacktestLog:
    if tapes := tapes_of(folder, symbol):
        return tape_log(read_tapes(tapes, settings), settings)
    return load_log(folder, symbol)


def _from(log: BacktestLog, opens_ms: int) -> BacktestLog:
    return replace(log, runs=tuple(run for run in log.runs if run.start_ms >= opens_ms))
