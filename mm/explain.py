"""One page on anybody's A and k: what they would give on a log, and what the log says itself.

    python -m mm.explain PARAMS.json BACKTEST_DIR [--symbol SYMBOL]

PARAMS.json holds A, k and dt_ms (a params file, or any JSON with these). Exit code 0 if the total
is within WARN_RATIO of the log's fills, 1 if not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mm import calibration
from mm.config import find_config, resolve
from mm.digits import duration, figures, pm, utc
from mm.discover import find_symbols
from mm.errors import CalibrationError, SettingsError
from mm.fill_model import Draws, RoundTrip, round_trip
from mm.params import read_fill_model


def page(params: Path, backtest_dir: Path, symbol: str | None = None) -> tuple[str, bool]:
    """The page as text, and whether the parameters give back the log's fills in total.

    Raises CalibrationError, one line, for files that can't be used.
    """
    chosen = symbol or _only_symbol(backtest_dir)
    config = find_config(backtest_dir)
    settings = resolve(
        chosen, config, {}, {}, {"BACKTEST_DIR": str(backtest_dir.resolve())}
    ).settings
    log = calibration.load(settings)
    result = calibration.run_steps(log, settings)
    exposure, fit = result.accounts.exposure, result.estimate.fit
    model = read_fill_model(params, result.accounts.tick.value)
    trip = round_trip(Draws.of_log(exposure, result.estimate.trials), model)

    start, end = log.window_ms
    ratio = trip.total_predicted / trip.total_observed if trip.total_observed else float("inf")
    holds = abs(ratio - 1.0) <= settings.WARN_RATIO
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
        f"in the backtester's own rule, on this log's quotes: {trip.total_predicted:,.0f} first "
        f"fills; the log has {trip.total_observed:,} (ratio {figures(ratio)})",
        "",
        *_by_distance(trip, result.diagnostics.trip if result.diagnostics else None),
        "",
        f"the log's own fit: {result.verdict.line}",
    ]
    if fit is not None and fit.k > 0:
        lines.append(
            f"intervals: A {pm(fit.A, *fit.ci_A)} /s, k {pm(fit.k, *fit.ci_k)} /tick, from "
            f"{fit.n_events:,} fills in {duration(fit.exposure_s)} of quotes resting"
        )
    lines.append(
        "These parameters give back this log's fills."
        if holds
        else "These parameters do NOT give back this log's fills."
    )
    return "\n".join(lines), holds


def _own(result: calibration.Calibration) -> str:
    fit = result.estimate.fit
    if fit is None:
        return f"no estimate: {result.estimate.refusal}"
    return (
        f"A = {fit.A:.6g} /s   k = {fit.k:.6g} /tick of {result.accounts.tick.value:g}   "
        f"dt_ms = {result.estimate.dt_ms}"
    )


def _by_distance(trip: RoundTrip, own: RoundTrip | None) -> list[str]:
    lines = [f"{'δ (ticks)':>10} {'observed':>10} {'these':>10} {'own fit':>10}"]
    ours = {} if own is None else dict(zip(own.bucket.tolist(), own.predicted, strict=True))
    for bucket, seen, predicted in zip(
        trip.bucket.tolist(), trip.observed, trip.predicted, strict=True
    ):
        if seen or predicted >= 0.5:
            mine = f"{ours.get(bucket, 0.0):10.1f}" if own is not None else f"{'–':>10}"
            lines.append(f"{bucket:>6}–{bucket + 1:<3} {seen:>10,} {predicted:>10,.1f} {mine}")
    return lines


def _only_symbol(backtest_dir: Path) -> str:
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
    parser.add_argument("backtest_dir", type=Path, metavar="BACKTEST_DIR")
    parser.add_argument("--symbol")
    given = parser.parse_args(arguments)
    try:
        text, holds = page(given.params, given.backtest_dir, given.symbol)
    except CalibrationError as error:
        print(f"mm.explain: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
