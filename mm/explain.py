"""One page on anybody's A and k: what they would give on a log, and what the log says itself.

    python -m mm.explain PARAMS.json BACKTEST_DIR [--symbol SYMBOL] [-p NAME VALUE] [--config FILE]

PARAMS.json holds A, k and dt_ms (a params file, or any JSON with these). Its tick_size is the unit
of the distance, and its dt_ms that of a log that a Poisson fill model drew, unless settings say
otherwise. Exit code 0 if the parameters give back the log's fills, 1 if the total or a distance is
off by more than WARN_RATIO, 2 for bad input.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mm import calibration
from mm.core.config import (
    find_config,
    from_command_line,
    from_environment,
    read_config,
    resolve,
)
from mm.core.errors import CalibrationError, SettingsError
from mm.core.formatting import duration, figures, ranged, utc
from mm.core.places import in_utf8
from mm.core.settings import Settings
from mm.core.storage import AnyPath, Remote, path_or_url
from mm.diagnostics.draws import Draws
from mm.diagnostics.replay import Replay, ReplayRows, replay
from mm.fitting.fill_model import PoissonFillModel
from mm.logs.discovery import find_symbols
from mm.logs.load import BacktestLog
from mm.results.outcome import Calibration
from mm.results.read import read_fill_model, read_numbers

_THREE_DIGITS = 0.005


def page(
    params: Path,
    backtest_dir: AnyPath,
    symbol: str | None = None,
    given: Mapping[str, Any] | None = None,
    config: Path | None = None,
) -> tuple[str, bool]:
    """The page as text, and whether the parameters give back the log's fills.

    Parameters
    ----------
    given : settings as on the command line.
    config : file of settings, None for the data folder's calibration.yaml.

    Raises CalibrationError, one line, for files that can't be used and settings that make no sense.
    """
    chosen = symbol or _only_symbol(backtest_dir)
    log, settings = _load(params, backtest_dir, chosen, given or {}, config)
    result = calibration.run_steps(log, settings)
    exposure, fit = result.accounts.exposure, result.estimate.emitted
    tick = result.accounts.tick.value
    model = read_fill_model(params, tick)
    replayed = replay(Draws.of_log(exposure, result.estimate.trials, result.estimate.drawn), model)

    start, end = log.window_ms
    in_total = not replayed.total.off(settings.WARN_RATIO, 0.0, settings.WARN_P, 0)
    own = result.diagnostics.replay if result.diagnostics else None
    tables = [rows.merged() for rows in (replayed.by_placement, replayed.by_fill)]
    fitted = 2 if _is_of_this_log(model, result) else 0
    off = [line for rows in tables for line in _off(rows, settings, fitted)]
    lines = [
        f"{params.name} on {chosen} in {backtest_dir}",
        f"log: {utc(start)} to {utc(end)} UTC, fills from {log.fill_source}",
        "",
        f"these parameters   A = {model.A:.6g} /s   k = {model.k:.6g} /tick of "
        f"{model.tick_size:g}   dt_ms = {model.dt_ms}",
        f"the log itself     {_own(result)}",
        f"state rows come every {result.estimate.mean_state_gap_ms:.1f} ms, and the backtester "
        "draws once in each whatever dt_ms says",
        "",
        f"in the backtester's own rule, on this log's quotes: {replayed.given:,.0f} first fills; "
        f"the log has {replayed.observed:,} (ratio {figures(replayed.ratio)})",
        *off,
        "",
        f"by the distance at which orders were placed, in ticks of {tick:g}:",
        *_table(tables[0], own),
        "",
        "by the distance at which they were filled:",
        *_table(tables[1], own),
        "",
        f"the log's own fit: {result.verdict.line}",
    ]
    if fit is not None and fit.k > 0:
        lines.append(
            f"intervals: A {ranged(fit.A, *fit.ci_A)} /s, k {ranged(fit.k, *fit.ci_k)} /tick, from "
            f"{fit.n_events:,} fills in {duration(fit.exposure_s)} of quotes resting"
        )
    if not in_total:
        lines.append("These parameters do NOT give back this log's fills.")
    elif off:
        lines.append(
            "These parameters give back this log's fills in total, but NOT at the distances at "
            "which they came."
        )
    else:
        lines.append("These parameters give back this log's fills.")
    return "\n".join(lines), in_total and not off


def _load(
    params: Path, backtest_dir: AnyPath, symbol: str, given: Mapping[str, Any], config: Path | None
) -> tuple[BacktestLog, Settings]:
    """The log, and the settings; what none of their places says is taken from the params file."""
    numbers = read_numbers(params)
    folder = backtest_dir.url if isinstance(backtest_dir, Remote) else str(backtest_dir.resolve())
    chosen = read_config(config) if config else find_config(backtest_dir)
    layers = (symbol, chosen, from_environment(os.environ), given)
    driven: dict[str, Any] = {"BACKTEST_DIR": folder}
    resolved = resolve(*layers, driven)
    log = calibration.load(resolved.settings)
    if "TICK_SIZE" not in resolved.sources and "tick_size" in numbers:
        driven["TICK_SIZE"] = numbers["tick_size"]
    if "POISSON_DT_MS" not in resolved.sources and log.fill_source == "poisson":
        driven["POISSON_DT_MS"] = int(numbers["dt_ms"]) if "dt_ms" in numbers else None
    return log, resolve(*layers, driven).settings


def _is_of_this_log(model: PoissonFillModel, result: Calibration) -> bool:
    """Whether A and k, be they written with three digits, are one of the log's own fits: these are
    nearer to its fills than the truth is, and its verdict takes that into account."""
    found = result.estimate
    ticks = result.accounts.tick.value / model.tick_size
    fits = [*found.candidates.values(), found.emitted, found.original]
    return any(
        math.isclose(fit.A, model.A, rel_tol=_THREE_DIGITS)
        and math.isclose(fit.k, model.k * ticks, rel_tol=_THREE_DIGITS)
        for fit in fits
        if fit is not None
    )


def _off(rows: ReplayRows, settings: Settings, fitted: int) -> list[str]:
    """A line where the parameters are off by distance, judged as in a calibration's verdict.

    ``fitted``: how many of them were fitted to the fills that they are held against."""
    wrong = rows.off(settings.WARN_RATIO, settings.WARN_FILL_SHARE, settings.WARN_P, fitted)
    if not wrong:
        return []
    i = wrong[0]
    of = "orders placed at" if rows.by == "placement" else "fills at δ of"
    n = len(wrong) - 1
    others = f"; {n} more row{'s are' if n > 1 else ' is'} off too" if n else ""
    return [
        f"{of} {rows.low[i]} to {rows.high[i]} ticks: they give {rows.given[i]:,.0f} where the log "
        f"has {rows.observed[i]:,}{others}"
    ]


def _own(result: Calibration) -> str:
    fit = result.estimate.emitted
    if fit is None:
        return f"no estimate: {result.estimate.refusal}"
    return (
        f"A = {fit.A:.6g} /s   k = {fit.k:.6g} /tick of {result.accounts.tick.value:g}   "
        f"dt_ms = {result.estimate.dt_ms}"
    )


def _table(rows: ReplayRows, own: Replay | None) -> list[str]:
    low, high = rows.interval
    mine = [f"{'–':>10}"] * len(low)
    if own is not None:
        mine = [f"{given:10.1f}" for given in own.by(rows.by).given_between(rows)]
    lines = [f"{'ticks':>10} {'observed':>10} {'these':>10} {'95 %':>12} {'own fit':>10}"]
    for i, inside in enumerate(rows.inside):
        lines.append(
            f"{rows.low[i]:>6}–{rows.high[i]:<3} {rows.observed[i]:>10,} {rows.given[i]:>10,.1f} "
            f"{f'{low[i]}–{high[i]}':>12} {mine[i]}{'' if inside else '  outside'}"
        )
    return lines


def _only_symbol(backtest_dir: AnyPath) -> str:
    symbols = list(find_symbols(backtest_dir))
    if len(symbols) != 1:
        there = ", ".join(symbols[:20]) or "none"
        raise SettingsError(f"{backtest_dir}: name one symbol with --symbol (there: {there})")
    return symbols[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mm.explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("params", type=Path, metavar="PARAMS.json")
    parser.add_argument("backtest_dir", metavar="BACKTEST_DIR")
    parser.add_argument("--symbol")
    parser.add_argument("--config", type=Path, help="settings, in place of calibration.yaml")
    parser.add_argument(
        *("-p", "--parameters"),
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a setting, as of run_calibration.py",
    )
    given = parser.parse_args(arguments)
    try:
        values = from_command_line(given.parameters)
        for name, instead in (("SYMBOL", "--symbol"), ("BACKTEST_DIR", "BACKTEST_DIR")):
            if name in values:
                raise SettingsError(f"-p {name}: give it as {instead}")
        folder = path_or_url(given.backtest_dir)
        text, holds = page(given.params, folder, given.symbol, values, given.config)
    except CalibrationError as error:
        print(f"mm.explain: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
