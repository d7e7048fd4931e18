"""The books: a record a symbol, and run.json and summary.csv over all symbols."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mm.core.errors import CalibrationError, OutputError
from mm.core.formatting import safe_cell
from mm.core.policy import Policy
from mm.core.storage import AnyPath
from mm.pipeline.cache import Cached
from mm.pipeline.locks import STATE
from mm.report.morning import counts, first_line
from mm.results.params import Params
from mm.results.record import Record, consumed, params_name, write_text

RUN_JSON, SUMMARY_CSV = "run.json", "summary.csv"
_COLUMNS = (
    "symbol", "status", "A", "A_low", "A_high", "k", "k_low", "k_high", "n_fills", "exposure_s",
    "passive_A", "passive_k", "original_A", "original_k", "tick_size", "dt_ms", "fill_source",
    "reason", "codes", "log", "data_until_utc", "data_age_h", "missing_since_utc", "finished_utc",
)  # fmt: skip


def write_record(out_dir: Path, symbol: str, record: Record) -> None:
    """Remember how a symbol ended; its outputs are already in place."""
    folder = out_dir / STATE / "records"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.of(error, folder) from None
    write_text(folder / f"{symbol}.json", record.model_dump_json(indent=2) + "\n")


def read_record(out_dir: Path, symbol: str) -> Record | None:
    """A symbol's last record; None if it is missing or of another make."""
    try:
        path = out_dir / STATE / "records" / f"{symbol}.json"
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def known_symbols(out_dir: Path) -> list[str]:
    """Symbols with a record."""
    return sorted(path.stem for path in (out_dir / STATE / "records").glob("[!.]*.json"))


def write_books(
    out_dir: Path,
    records: Mapping[str, Record],
    there: Collection[str],
    policy: Policy | None = None,
    cached: Cached | None = None,
) -> None:
    """Write run.json and summary.csv: this batch's symbols, and older ones that it did not touch,
    which keep their own date. ``there``: the older ones of which there is anything. ``policy``:
    what may go live, for who promotes from these books. ``cached``: what is kept of pooled runs."""
    together = {**read_books(out_dir), **records}
    for symbol in known_symbols(out_dir):
        # A batch that was killed has published results that are not in its books.
        if symbol not in records:
            newer = read_record(out_dir, symbol)
            old = together.get(symbol)
            if newer is not None and (old is None or newer.fingerprint != old.fingerprint):
                together[symbol] = newer
    together = {s: r for s, r in sorted(together.items()) if s in records or s in there}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {
        "written_utc": now,
        "morning": first_line(records.values()),
        "counts": counts(records.values()),
        "this_run": sorted(records),
        "policy": asdict(policy or Policy()),
        "cache": cached and asdict(cached),
        "symbols": {s: r.model_dump(mode="json", by_alias=True) for s, r in together.items()},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(out_dir / RUN_JSON, text)
    write_text(out_dir / SUMMARY_CSV, summary_csv(together))


def was_used(out_dir: AnyPath) -> bool:
    """Whether a batch has ever left anything in a results folder, be it only the lock's file."""
    return (out_dir / RUN_JSON).is_file() or (out_dir / STATE).is_dir()


def read_books(out_dir: AnyPath) -> dict[str, Record]:
    """The records of the last run.json; none if it is missing or of another make."""
    try:
        content = json.loads((out_dir / RUN_JSON).read_text(encoding="utf-8"))
        return {s: Record.model_validate(r) for s, r in content["symbols"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return {}


def read_policy(out_dir: AnyPath) -> Policy:
    """What the configuration of the last batch said on going live. Raises CalibrationError if the
    books don't tell: a limit that can't be read must not be none."""
    try:
        said = json.loads((out_dir / RUN_JSON).read_text(encoding="utf-8"))["policy"]
        return Policy(**{**said, "block_codes": tuple(said["block_codes"])})
    except FileNotFoundError:
        return Policy()
    except (OSError, ValueError, KeyError, TypeError):
        raise CalibrationError(
            f"{out_dir / RUN_JSON}: doesn't say what may go live; run the batch again"
        ) from None


def remove_stale_params(out_dir: Path, symbol: str) -> None:
    """Take away parameters that no longer hold, where a failure kept the folder from renewal."""
    for name in consumed(symbol):
        with contextlib.suppress(OSError):  # a folder that is gone, or one that is read-only
            (out_dir / symbol / name).unlink()


def mark_params(folder: Path, symbol: str, outdated: str | None, until: str | None) -> None:
    """Write into a params file since when its log is missing or stale, or None, that it is not;
    and until when it holds."""
    path = folder / params_name(symbol)
    params = Params.model_validate_json(path.read_text(encoding="utf-8"))
    write_text(
        path, params.model_copy(update={"outdated": outdated, "valid_until": until}).to_json()
    )


def summary_csv(records: Mapping[str, Record]) -> str:
    """One line a symbol."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for symbol, record in records.items():
        row: dict[str, Any] = {name: getattr(record, name, None) for name in _COLUMNS}
        row["symbol"] = symbol
        row["codes"] = " ".join(finding.code for finding in record.findings)
        if record.window_ms:
            row["data_until_utc"] = datetime.fromtimestamp(
                record.window_ms[1] / 1000.0, UTC
            ).isoformat(timespec="seconds")
        if record.freshness:
            row["data_age_h"] = round(record.freshness.age_s / 3600.0, 2)
        for name in ("A", "k"):
            if record.ci95:
                row[f"{name}_low"], row[f"{name}_high"] = getattr(record.ci95, name)
            for kind, fit in (("passive", record.passive), ("original", record.original)):
                row[f"{kind}_{name}"] = getattr(fit, name, None)
        writer.writerow({name: safe_cell(value) for name, value in row.items()})
    return buffer.getvalue()
