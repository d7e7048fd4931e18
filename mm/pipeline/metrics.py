"""``metrics.prom``: what a batch found, for Prometheus' textfile collector. Nothing listens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mm.results.record import Record, write_text

METRICS_PROM = "metrics.prom"
_STATUSES = ("ok", "warn", "refused", "failed", "missing", "stale")
_PREFIX = "mm_calibration_"


def write_metrics(out_dir: Path, records: Mapping[str, Record], seconds: float) -> Path:
    """Write the gauges of a batch, whole or not at all; returns the file. Raises OutputError."""
    lines = [line for gauge in _gauges(records, seconds) for line in gauge]
    return write_text(out_dir / METRICS_PROM, "\n".join(lines) + "\n")


def _gauges(records: Mapping[str, Record], seconds: float) -> Iterator[list[str]]:
    yield _gauge("batch_seconds", "Time that the last batch took", [("", seconds)])
    yield _gauge("written_timestamp_seconds", "When the last batch ended", [("", time.time())])
    yield _gauge(
        "data_age_seconds",
        "Age of the last row of a symbol's log",
        ((_of(s), r.freshness.age_s) for s, r in records.items() if r.freshness is not None),
    )
    yield _gauge(
        "status",
        "1 for the status that a symbol has",
        (
            (f"{_of(symbol)},status={_quoted(status)}", float(record.status == status))
            for symbol, record in records.items()
            for status in _STATUSES
        ),
    )
    yield _gauge(
        "lambda_per_second",
        "Fill intensity at the distance where it is known best",
        (
            (
                f"{_of(s)},delta_ticks={_quoted(f'{r.lambda_at.delta_star:g}')}",
                r.lambda_at.intensity,
            )
            for s, r in records.items()
            if r.lambda_at is not None and r.status not in ("refused", "failed")
        ),
    )


def _gauge(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> list[str]:
    shown = [f"{_PREFIX}{name}{{{labels}}} {v:.10g}" for labels, v in values if labels] or [
        f"{_PREFIX}{name} {v:.10g}" for labels, v in values if not labels
    ]
    head = [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} gauge"]
    return [*head, *shown] if shown else []


def _of(symbol: str) -> str:
    return f"symbol={_quoted(symbol)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
