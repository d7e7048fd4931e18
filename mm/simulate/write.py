"""Files of simulated logs: the same bytes for the same log, all of them or none."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mm.simulate.log import SimulatedLog

_TABLES = ("orders", "fills", "state")


def write_logs(
    logs: Iterable[SimulatedLog], out_dir: Path, *, with_truth: bool = True, force: bool = False
) -> list[Path]:
    """Write `orders_/fills_/state_<SYMBOL>.csv.gz` and `truth_<SYMBOL>.json` for each log.

    Without `force` existing files are left alone and raise FileExistsError. Every file is
    written beside its place first; only once all are complete do they take their names.
    """
    content: dict[Path, bytes] = {}
    for log in logs:
        symbol = log.truth["symbol"]
        for table in _TABLES:
            content[out_dir / f"{table}_{symbol}.csv.gz"] = _gz(csv_bytes(getattr(log, table)))
        if with_truth:
            truth = json.dumps(log.truth, indent=2, allow_nan=False) + "\n"
            content[out_dir / f"truth_{symbol}.json"] = truth.encode()
    standing = [path.name for path in content if path.exists()]
    if standing and not force:
        raise FileExistsError(f"{out_dir} already holds {', '.join(standing)}")
    out_dir.mkdir(parents=True, exist_ok=True)
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in content}
    try:
        for path, draft in drafts.items():
            draft.write_bytes(content[path])
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return list(content)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV like the backtester's: times as integers, 8 decimals, empty gaps."""
    text = pd.DataFrame({name: _as_text(table[name]) for name in table.columns})
    return text.to_csv(index=False, lineterminator="\n").encode()


def _as_text(column: pd.Series) -> list[str]:
    name = str(column.name)
    if name.endswith("_ms"):
        return ["" if value != value else str(int(value)) for value in column.tolist()]
    if pd.api.types.is_float_dtype(column):
        return [f"{value:.8f}" for value in column.tolist()]
    return ["" if pd.isna(value) else str(value) for value in column.tolist()]


def _gz(content: bytes) -> bytes:
    # no time stamp and no name in the header: neither is part of the log
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()
