"""The books of a run: run.json and summary.csv over all symbols."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from mm.core.formatting import safe_cell
from mm.core.storage import Place
from mm.pipeline.state import STATE, known_symbols, read_record
from mm.results.record import Record, params_name, schedule_name, write_text

RUN_JSON, SUMMARY_CSV = "run.json", "summary.csv"
_COLUMNS = (
    "symbol", "status", "A", "A_low", "A_high", "k", "k_low", "k_high", "n_fills", "exposure_s",
    "passive_A", "passive_k", "original_A", "original_k", "tick_size", "dt_ms", "fill_source",
    "reason", "finished_utc",
)  # fmt: skip


def write_books(
    out_dir: Path, records: Mapping[str, Record], is_there: Callable[[str], bool]
) -> None:
    """Write run.json and summary.csv: this run's symbols, and older ones that it did not touch,
    which keep their own date, as long as there is anything of them."""
    together = {**read_books(out_dir), **records}
    for symbol in known_symbols(out_dir):
        # A run that was killed has published results that its books never told of.
        if symbol not in records:
            newer = read_record(out_dir, symbol)
            old = together.get(symbol)
            if newer is not None and (old is None or newer.fingerprint != old.fingerprint):
                together[symbol] = newer
    together = {s: r for s, r in sorted(together.items()) if s in records or is_there(s)}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {
        "written_utc": now,
        "this_run": sorted(records),
        "symbols": {s: r.model_dump(mode="json") for s, r in together.items()},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(out_dir / RUN_JSON, text)
    write_text(out_dir / SUMMARY_CSV, summary_csv(together))


def was_run(out_dir: Place) -> bool:
    """Whether a run has ever left anything in a results folder, be it only the lock's file."""
    return (out_dir / RUN_JSON).is_file() or (out_dir / STATE).is_dir()


def read_books(out_dir: Path) -> dict[str, Record]:
    """The records of the last run.json; none if it is missing or of another make."""
    try:
        content = json.loads((out_dir / RUN_JSON).read_text(encoding="utf-8"))
        return {s: Record.model_validate(r) for s, r in content["symbols"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return {}


def remove_stale_params(out_dir: Path, symbol: str) -> None:
    """Take away parameters that no longer hold, where a failure kept the folder from renewal."""
    for name in (params_name(symbol), schedule_name(symbol)):
        with contextlib.suppress(OSError):  # a folder that is gone, or one that is read-only
            (out_dir / symbol / name).unlink()


def summary_csv(records: Mapping[str, Record]) -> str:
    """One line a symbol."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for symbol, r in records.items():
        low_high = [*r.ci95.A, *r.ci95.k] if r.ci95 else [None] * 4
        writer.writerow(
            safe_cell(value)
            for value in (
                symbol,
                r.status,
                r.A,
                *low_high[:2],
                r.k,
                *low_high[2:],
                r.n_fills,
                r.exposure_s,
                r.passive and r.passive.A,
                r.passive and r.passive.k,
                r.original and r.original.A,
                r.original and r.original.k,
                r.tick_size,
                r.dt_ms,
                r.fill_source,
                r.reason,
                r.finished_utc,
            )
        )
    return buffer.getvalue()
