"""``history/``: one Parquet file a batch, one row a symbol; nothing there is ever changed.

Read it as one table: ``SELECT * FROM 'out/history/*.parquet'`` in DuckDB, or
``pandas.read_parquet("out/history")``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mm.core.errors import OutputError
from mm.results.record import Record

HISTORY = "history"


def append_history(
    out_dir: Path, records: Mapping[str, Record], now: datetime, version: str
) -> str:
    """Write the rows of a batch, whole or not at all, under a name of their own; returns it, below
    ``out_dir``; empty for a batch without symbols. Raises OutputError."""
    if not records:
        return ""
    import pyarrow as pa  # takes a quarter of a second, and a batch without symbols needs none
    import pyarrow.parquet as pq

    rows = [_row(symbol, record, now, version) for symbol, record in records.items()]
    name = f"{HISTORY}/{now:%Y%m%dT%H%M%S.%fZ}-{os.getpid():x}.parquet"
    target = out_dir / name
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        for left in target.parent.glob(".*.part"):  # by a batch that was killed: this one is alone
            left.unlink(missing_ok=True)
        try:
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError.of(error, target) from None
    return name


def _schema() -> Any:
    import pyarrow as pa

    texts = ("symbol", "status", "codes", "log", "version", "inputs", "settings", "fingerprint")
    numbers = (
        *("A", "k", "var_log_A", "cov_log_A_k", "var_k", "lambda_through"),
        *("tick_size", "mid", "exposure_s", "data_age_s", "seconds"),
    )
    return pa.schema(
        [
            ("batch", pa.timestamp("us", tz="UTC")),
            *((name, pa.string()) for name in texts),
            *((name, pa.float64()) for name in numbers),
            *((name, pa.int64()) for name in ("n_fills", "data_from_ms", "data_until_ms")),
            ("delta_ticks", pa.list_(pa.float64())),
            ("delta_bps", pa.list_(pa.float64())),
            ("lambda_per_hour", pa.list_(pa.float64())),
        ]
    )


def _row(symbol: str, record: Record, now: datetime, version: str) -> dict[str, Any]:
    cov, per_tick = record.cov_logA_k, record.bps_per_tick
    deltas = [at.delta for at in record.lambda_quoted]
    window = record.window_ms or (None, None)
    return {
        "batch": now,
        "symbol": symbol,
        "status": record.status,
        "codes": " ".join(finding.code for finding in record.findings),
        "log": record.log or "",
        "version": version,
        "inputs": _digest(record.inputs_sha256),
        "settings": _digest(record.settings),
        "fingerprint": record.fingerprint or "",
        "A": record.A,
        "k": record.k,
        "var_log_A": cov and cov[0][0],
        "cov_log_A_k": cov and cov[0][1],
        "var_k": cov and cov[1][1],
        "lambda_through": record.through and record.through.rate,
        "tick_size": record.tick_size,
        "mid": record.mid,
        "exposure_s": record.exposure_s,
        "data_age_s": record.freshness and record.freshness.age_s,
        "seconds": record.seconds,
        "n_fills": record.n_fills,
        "data_from_ms": window[0],
        "data_until_ms": window[1],
        "delta_ticks": deltas,
        "delta_bps": [] if per_tick is None else [delta * per_tick for delta in deltas],
        "lambda_per_hour": [at.per_hour for at in record.lambda_quoted],
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
