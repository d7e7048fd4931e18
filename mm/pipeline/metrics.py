"""What monitoring reads: ``metrics.prom`` for node_exporter's textfile collector.

The format is Prometheus' text exposition format 0.0.4. Times are given as times, not as ages: an
age would stand still where no batch runs any more, which is what an alarm is for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from mm.pipeline.cache import Cached
from mm.registry.ledger import Running, Score
from mm.results.record import Record, Status, write_text

METRICS, FORECAST = "metrics.prom", "forecast.prom"
_PREFIX = "mm_calibration"


def write_metrics(
    out_dir: Path, records: Mapping[str, Record], code: int, seconds: float, cached: Cached
) -> None:
    """Write the file, whole, in place of the one before. ``seconds``: that the batch took.
    ``cached``: what is kept of pooled runs.

    Raises OutputError.
    """
    write_text(out_dir / METRICS, "".join(_lines(records, code, seconds, cached)))


def write_forecast(out_dir: Path, found: Mapping[str, tuple[Score, Running]]) -> None:
    """Write how each symbol's forecasts fare, whole, as ``forecast.prom``. Raises OutputError."""
    at = {symbol: _labels(symbol=symbol) for symbol in found}
    z = {at[symbol]: score.z for symbol, (score, _) in found.items()}
    row = {at[symbol]: float(so_far.missed_in_a_row) for symbol, (_, so_far) in found.items()}
    gains = {
        at[symbol]: so_far.gain_constant
        for symbol, (_, so_far) in found.items()
        if so_far.gain_constant is not None
    }
    lines = [
        *_gauge("forecast_z", "Fills less those expected, in standard deviations", z),
        *_gauge("forecast_gain", "Information gain per fill over a constant rate", gains),
        *_gauge("forecast_missed_in_a_row", "Forecasts missed up to the last one", row),
    ]
    write_text(out_dir / FORECAST, "".join(lines))


def _lines(
    records: Mapping[str, Record], code: int, seconds: float, cached: Cached
) -> Iterator[str]:
    yield from _gauge("batch_finished_timestamp_seconds", "When it ended", {"": time.time()})
    yield from _gauge("batch_seconds", "Time it took", {"": seconds})
    yield from _gauge("batch_exit_code", "Its exit code, see docs/batch.md", {"": code})
    yield from _gauge("cache_bytes", "What is kept of pooled runs", {"": cached.bytes})
    files = {_labels(state=name): getattr(cached, name) for name in ("read", "made")}
    files[_labels(state="held")] = cached.files
    yield from _gauge("cache_files", "Files held, and read and made by the batch", files)
    statuses = {
        _labels(symbol=symbol, status=status): float(record.status == status)
        for symbol, record in records.items()
        for status in get_args(Status)
    }
    yield from _gauge("status", "1 for the status that a symbol has, 0 for the others", statuses)
    until = {_labels(symbol=s): r.window_ms[1] / 1e3 for s, r in records.items() if r.window_ms}
    yield from _gauge("data_until_timestamp_seconds", "The last row of a symbol's log", until)
    valid = {s: r for s, r in records.items() if r.status in ("ok", "warn", "stale")}
    for name, what in (("A", "fills per second at mid"), ("k", "decay per tick")):
        values = {_labels(symbol=s): getattr(r, name) for s, r in valid.items()}
        yield from _gauge(name, what, {at: v for at, v in values.items() if v is not None})
    rates = {
        _labels(symbol=symbol, ticks=f"{row.delta:g}"): row.per_hour
        for symbol, record in valid.items()
        for row in record.lambda_quoted
        if row.quoted
    }
    yield from _gauge("lambda_per_hour", "First fills per hour at a distance", rates)


def _gauge(name: str, what: str, values: Mapping[str, float]) -> Iterator[str]:
    full = f"{_PREFIX}_{name}"
    if values:
        yield f"# HELP {full} {what}.\n# TYPE {full} gauge\n"
    for labels, value in values.items():
        yield f"{full}{labels} {value!r}\n"


def _labels(**given: str) -> str:
    """``{symbol="BTCUSDT"}``, with what the format wants escaped."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in given.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
