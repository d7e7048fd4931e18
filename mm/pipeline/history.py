"""The history: ``OUT/history/``, a Parquet dataset with one row a symbol and batch.

Each batch adds one file, whole or not at all, under a name of its own; none is ever changed. So
batches that write at the same time do not meet, at a URL neither, and readers (pandas, DuckDB,
pyarrow) see whole batches.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm.core.errors import CalibrationError, OutputError
from mm.core.storage import AnyPath
from mm.pipeline.books import read_books
from mm.pipeline.resume import code_digest
from mm.results.params import versions
from mm.results.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "history"
_DAY = len("20261126")  # a part's name begins with the time at which it was written
#: Distances of lambda in every row, ticks and basis points of mid: the same each night, whatever
#: was quoted.
TICKS, BPS = (0, 1, 2, 5, 10), (1, 2, 5, 10)
_TEXT = (
    "batch_id", "batch_utc", "symbol", "status", "log", "reason", "codes", "fill_source", "error",
    "finished_utc", "valid_until", "inputs_sha256", "settings_sha256", "code_sha256", "versions",
    "fingerprint",
)  # fmt: skip
_WHOLE = ("window_start_ms", "window_end_ms", "n_fills", "dt_ms")
_NUMBERS = (
    "A", "A_low", "A_high", "k", "k_low", "k_high", "var_logA", "cov_logA_k", "var_k",
    "lambda_through", "exposure_s", "covered_s", "tick_size", "mid", "data_age_s", "seconds",
    *(f"lambda_{d}_ticks_per_h" for d in TICKS), *(f"lambda_{d}_bps_per_h" for d in BPS),
)  # fmt: skip


def add(out_dir: AnyPath, records: Mapping[str, Record], now: datetime) -> None:
    """Add a batch's rows. Raises OutputError or StoreError; then nothing is added."""
    if records:
        batch, code = uuid.uuid4().hex[:12], code_digest()
        said = {"code_sha256": code, "versions": json.dumps(versions(), sort_keys=True)}
        _write(out_dir, [{**_row(s, r, batch, now), **said} for s, r in records.items()])


def rebuild(out_dir: AnyPath) -> int:
    """Add what the books know and the history does not: each symbol's last calibration. Returns
    how many rows. What older batches found is only in the history."""
    known = set()
    if (out_dir / HISTORY).is_dir():
        kept = read(out_dir, columns=("symbol", "finished_utc")).to_pylist()
        known = {(row["symbol"], row["finished_utc"]) for row in kept}
    rows = []
    for symbol, record in read_books(out_dir).items():
        if record.finished_utc and (symbol, record.finished_utc) not in known:
            at = datetime.fromisoformat(record.finished_utc)
            rows.append(_row(symbol, record, "rebuilt", at))
    if rows:
        _write(out_dir, rows)
    return len(rows)


def read(
    out_dir: AnyPath, days: int | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows, the oldest first, or those written on the last days that have some; of these
    columns, if there are such, or of all. Raises CalibrationError if there is no history."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = out_dir / HISTORY
    if not folder.is_dir():
        raise CalibrationError(f"{folder}: there is no history; a batch adds to it")
    every = ((path.name, path) for path in folder.iterdir())
    parts = {n: path for n, path in every if n.endswith(".parquet") and not n.startswith(".")}
    wanted = sorted({name[:_DAY] for name in parts})[-days if days else None :]
    tables = []
    for name in sorted(parts):
        if name[:_DAY] in wanted:
            try:
                # By this thread alone: another that is still at it when Python ends aborts the
                # process (apache/arrow, issue 34314). Not read_table, which loads pandas: that
                # takes longer than all else that a driver loads.
                with pq.ParquetFile(pa.BufferReader(parts[name].read_bytes())) as part:
                    tables.append(part.read(columns, use_threads=False))
            except pa.ArrowInvalid:
                raise CalibrationError(
                    f"{parts[name]}: is not as it was written; restore it, or take it away"
                ) from None
    return (
        pa.concat_tables(tables, promote_options="default") if tables else _schema().empty_table()
    )


def _row(symbol: str, record: Record, batch: str, now: datetime) -> dict[str, Any]:
    """One row. A symbol that is missing has no figures: those of its record are older ones."""
    row: dict[str, Any] = {
        "batch_id": batch,
        "batch_utc": now.astimezone(UTC).isoformat(timespec="seconds"),
        "symbol": symbol,
        "status": record.status,
        "reason": record.reason,
    }
    if record.status == "missing":
        return row
    names = ("log", "error", "finished_utc", "valid_until", "fingerprint", "fill_source", "n_fills",
             "dt_ms", "exposure_s", "covered_s", "tick_size", "mid", "seconds")  # fmt: skip
    row |= {name: getattr(record, name) for name in names}
    row["codes"] = " ".join(f.code for f in record.findings if f.level != "note")
    row["window_start_ms"], row["window_end_ms"] = record.window_ms or (None, None)
    row["data_age_s"] = record.freshness.age_s if record.freshness else None
    row["inputs_sha256"] = _hash(record.inputs_sha256) if record.inputs_sha256 else None
    row["settings_sha256"] = _hash(record.settings)
    row["lambda_through"] = record.through.rate if record.through else None
    row |= {"A": record.A, "k": record.k}
    for name in ("A", "k"):
        if record.ci95:
            row[f"{name}_low"], row[f"{name}_high"] = getattr(record.ci95, name)
    if record.cov_logA_k:
        (row["var_logA"], row["cov_logA_k"]), (_, row["var_k"]) = record.cov_logA_k
    return row | _rates(record)


def _rates(record: Record) -> dict[str, float]:
    """lambda = A e^(-k delta) in fills per hour, of the A and k that a consumer is given."""
    if not record.A or not record.A > 0 or record.k is None:
        return {}
    at = {f"lambda_{d}_ticks_per_h": float(d) for d in TICKS}
    if record.mid and record.tick_size:
        at |= {f"lambda_{d}_bps_per_h": 1e-4 * d * record.mid / record.tick_size for d in BPS}
    logs = {name: math.log(3600.0 * record.A) - record.k * delta for name, delta in at.items()}
    return {name: math.exp(value) for name, value in logs.items() if value < 700.0}


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            *((name, pa.string()) for name in _TEXT),
            *((name, pa.int64()) for name in _WHOLE),
            *((name, pa.float64()) for name in _NUMBERS),
        ]
    )


def _write(out_dir: AnyPath, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, buffer = pa.Table.from_pylist(rows, schema=_schema()), io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = out_dir / HISTORY / f"{at}-{uuid.uuid4().hex[:12]}.parquet"
    if not isinstance(path, Path):
        path.write_bytes(buffer.getvalue())  # a store shows it whole or not at all
        return
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(buffer.getvalue())
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError.of(error, path) from None
