"""What a mail carries: the table of all symbols, and the reports that fit."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mm.core.formatting import figures, safe_cell
from mm.report import compare
from mm.report.causes import shortened
from mm.report.compare import Distance, Line
from mm.results.record import report_name

#: More reports than this come as one zip: a mail with fifty attachments is no help.
_MOST_FILES = 8
_ZIP_NAME = "reports.zip"
# Base64 in lines of 76 characters, and the part's headers.
_WIRE, _HEADERS = 4 / 3 * 78 / 76, 500
_COLUMNS = (
    "symbol", "status", "reason", "codes", "log", "data_age_h", "in_this_run", "lambda_per_hour",
    "lambda_low", "lambda_high", "at", "at_delta_ticks", "extrapolated",
    "A", "A_low", "A_high", "k", "k_low", "k_high", "n_fills",
    "exposure_s", "lambda_change_ratio", "lambda_change_se", "status_before", "tick_size", "dt_ms",
    "fill_source", "finished_utc",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """One attachment. ``kind``: its MIME type in two parts."""

    name: str
    kind: tuple[str, str]
    content: bytes


@dataclass(frozen=True)
class Reports:
    """The reports that are attached, and what to say of those that are not."""

    files: tuple[File, ...]
    note: str


def table_csv(found: Sequence[Line], at: Distance | None) -> bytes:
    """All symbols, a line each, as UTF-8 with the mark that spreadsheets need to read λ."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for line in found:
        r, change = line.record, line.change
        rate = compare.rate(r, at)
        value = None if rate is None else rate.value
        ends = (None, None) if rate is None or rate.ends is None else rate.ends
        low_high = [*r.ci95.A, *r.ci95.k] if r.ci95 else [None] * 4
        row = (
            line.symbol, line.status, shortened(line.reason),
            " ".join(finding.code for finding in r.findings), r.log,
            r.freshness and round(r.freshness.age_s / 3600.0, 2), not line.older,
            _hour(value), _hour(ends[0]), _hour(ends[1]), rate and str(at),
            None if rate is None or at is None else at.ticks(r),
            None if rate is None else not rate.quoted,
            r.A, *low_high[:2], r.k, *low_high[2:], r.n_fills, r.exposure_s,
            change and change.ratio, change and change.z, line.before and line.before.status,
            r.tick_size, r.dt_ms, r.fill_source, r.finished_utc,
        )  # fmt: skip
        writer.writerow([safe_cell(value) for value in row])
    return buffer.getvalue().encode("utf-8-sig")


def _hour(rate: float | None) -> float | None:
    return None if rate is None else 3600.0 * rate


def choose(symbols: Sequence[str], out_dir: Path, room: int, now: datetime) -> Reports:
    """The reports of these symbols, in this order, as long as they fit into ``room`` bytes on the
    wire: single files if they are few and fit, else a zip."""
    paths = {}
    for symbol in symbols:
        path = out_dir / symbol / report_name(symbol)
        if path.parent.parent == out_dir and path.is_file():
            paths[symbol] = path
    if not paths:
        return Reports((), "no report, since none needs a person.")
    single = sum(path.stat().st_size * _WIRE + _HEADERS for path in paths.values())
    if len(paths) <= _MOST_FILES and single <= room:
        files = [
            File(_file_name(symbol, n), ("text", "html"), path.read_bytes())
            for n, (symbol, path) in enumerate(paths.items())
        ]
        return Reports(tuple(files), f"{_every(len(files))}.")
    return _zipped(paths, room, now)


def _zipped(paths: dict[str, Path], room: int, now: datetime) -> Reports:
    buffer, packed = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (symbol, path) in enumerate(paths.items()):
            content = path.read_bytes()
            info = zipfile.ZipInfo(_file_name(symbol, number), now.timetuple()[:6])
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            # Its directory comes at the end of the archive: some 200 bytes a file.
            worst = (buffer.tell() + _deflated(content) + 200 * (packed + 2)) * _WIRE + _HEADERS
            if worst > room:
                break
            archive.writestr(info, content)
            packed += 1
    left = len(paths) - packed
    size = f"{figures(max(room, 0) / 1e6)} MB"
    if not packed:
        return Reports((), f"no report fits into {size}: they are in the results folder.")
    file = File(_ZIP_NAME, ("application", "zip"), buffer.getvalue())
    note = f"{_every(packed)}, zipped"
    if left:
        note += f", the gravest first; {left} more do not fit into {size}"
        note += " and are in the results folder"
    return Reports((file,), f"{note}.")


def _deflated(content: bytes) -> int:
    size = io.BytesIO()
    with zipfile.ZipFile(size, "w", zipfile.ZIP_DEFLATED) as trial:
        trial.writestr("x", content)
    return size.tell()


def _every(count: int) -> str:
    return f"{'1 report' if count == 1 else f'{count} reports'} of what needs a person"


def _file_name(symbol: str, number: int) -> str:
    """A file name that is safe everywhere; ``number`` keeps two that look alike apart."""
    safe = re.sub(r"[^A-Za-z0-9.\-_]+", "_", symbol)[:80].strip(".")
    return report_name(safe if safe == symbol else f"{safe}_{number}")
