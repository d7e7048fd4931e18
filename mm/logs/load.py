"""Find and read a backtest's three logs; check them; say what was wrong with which row.

The input contract: ``orders_<SYMBOL>``, ``fills_<SYMBOL>`` and ``state_<SYMBOL>`` as ``.csv``,
``.csv.gz`` or ``.parquet``, in one folder, or in run folders below it that are pooled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

import pandas as pd

from mm.core.concurrency import give_back
from mm.core.errors import InputError, one_line
from mm.core.settings import FillSource
from mm.core.storage import AnyPath
from mm.logs.as_in_file import as_in_file
from mm.logs.assemble import assembled
from mm.logs.columnar.reader import read_columns
from mm.logs.columnar.stream import NeedsRowReader
from mm.logs.columns import RawTable, SetAside
from mm.logs.discovery import find_symbols
from mm.logs.duplicate_runs import check_distinct
from mm.logs.files import KINDS, Kind, LocalRun, RunFiles, fetched, size_of
from mm.logs.kept_runs import read_or_kept
from mm.logs.log import BacktestLog, RunLog
from mm.logs.one_market import check_one_market
from mm.logs.rows.raw import read_table
from mm.logs.rows.reader import check_table

__all__ = ["BacktestLog", "FillSource", "RunLog", "SetAside", "load_log", "log_from_frames"]

_LOG = logging.getLogger(__name__)
#: Bytes of a run's files, as CSV, from which on they are read in whole columns first. Of so many
#: that takes 0.2 s and the row reader 0.3 s; of eight times as many 1 s and 3 s (two cores).
LARGE_BYTES = 32 << 20


def load_log(backtest_dir: AnyPath, symbol: str, kept: Path | None = None) -> BacktestLog:
    """Read and check all runs of one symbol. Several are read but once where there is a folder,
    ``kept``, for what follows from each: see ``mm.core.kept``.

    Raises InputError, one line, for whatever can't be read or has no meaning.
    """
    found = find_symbols(backtest_dir)
    if symbol not in found:
        names = ", ".join(list(found)[:20]) or "none"
        raise InputError(
            f"no files of symbol {symbol!r} (symbols there: {names})",
            where=str(backtest_dir),
            remedy=f"expected orders_{symbol}.csv, fills_{symbol}.csv and state_{symbol}.csv",
        )
    runs = found[symbol]
    pooled = len(runs) > 1
    for files in runs:
        _check_kinds(files, symbol)
    logs = tuple(_load_run(files, pooled, kept if pooled else None) for files in runs)
    check_distinct(logs)
    check_one_market(logs, runs)
    return BacktestLog(symbol, logs, tuple(w for files in runs for w in files.warnings))


def _check_kinds(files: RunFiles, symbol: str) -> None:
    for kind in KINDS:
        if kind not in files.paths:
            day = f" of {files.day}" if files.day else ""
            raise InputError(
                f"no {kind}_{symbol}.csv, .csv.gz or .parquet{day}",
                where=str(files.folder),
                remedy="a run needs its orders, fills and state files",
            )


def _load_run(files: RunFiles, pooled: bool, kept: Path | None) -> RunLog:
    labels = {kind: files.label(p) if pooled else p.name for kind, p in files.paths.items()}
    return read_or_kept(files, labels, lambda: _read_run(fetched(files), labels), kept)


def _read_run(files: LocalRun, labels: Mapping[Kind, str]) -> RunLog:
    log = _read_in_columns(files, labels)
    if log is None:
        raw = {kind: read_table(files.paths[kind], kind, labels[kind]) for kind in KINDS}
        log = _checked_by_row(raw, files.run.name, labels)
    return log


def _read_in_columns(files: LocalRun, labels: Mapping[Kind, str]) -> RunLog | None:
    """A long run in whole columns. None for a short one, which gains nothing, and where anything
    at all is to be said of it: then row numbers are wanted. The row reader takes several times as
    long, so a line of logging (INFO) says why."""
    try:
        if sum(size_of(path) for path in files.paths.values()) < LARGE_BYTES:
            return None
        found = read_columns(files.paths)
        give_back()
        log = assembled(found.checked, files.run.name, labels, found.sha256)
    except (InputError, OSError) as error:
        doubt = f"{files.folder}: {one_line(error)}"
    except NeedsRowReader as error:
        doubt = str(error)
    else:
        said = [*map(str, log.set_aside), *log.warnings, *log.appended, *log.shifted]
        if not said:
            return replace(log, order_names=found.order_names)
        doubt = f"{files.folder}: {said[0]}"
    _LOG.info("%s: read row by row", doubt)
    return None


def _checked_by_row(raw: Mapping[Kind, RawTable], name: str, labels: Mapping[Kind, str]) -> RunLog:
    """Raw cells to one run: each row is checked, then the tables are held against each other."""
    checked = {kind: check_table(raw[kind], kind, labels[kind]) for kind in KINDS}
    log = assembled(checked, name, labels, {kind: raw[kind].sha256 for kind in KINDS})
    orders, fills = (table.astype({"order_id": "str"}) for table in (log.orders, log.fills))
    log = replace(log, orders=orders, fills=fills)
    return replace(log, written=as_in_file(raw, log))


def log_from_frames(
    runs: Iterable[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]], symbol: str = ""
) -> BacktestLog:
    """A log from (orders, fills, state) tables that are in memory already, one triple a run.

    Raises InputError as :func:`load_log`, and for what is no table.
    """
    logs = []
    for number, frames in enumerate(runs, start=1):
        name = f"run {number}"
        labels = {kind: f"{kind} of {name}" for kind in KINDS}
        for kind, frame in zip(KINDS, frames, strict=True):
            _check_is_table(frame, labels[kind])
        raw = {kind: RawTable.of_frame(frame) for kind, frame in zip(KINDS, frames, strict=True)}
        logs.append(_checked_by_row(raw, name, labels))
    check_distinct(logs)
    return BacktestLog(symbol, tuple(logs))


def _check_is_table(given: object, label: str) -> None:
    if isinstance(given, pd.DataFrame):
        return
    shown = "None" if given is None else f"a {type(given).__name__}"
    if isinstance(given, str | PathLike):
        shown += f" ({str(given)[:60]!r})"
    raise InputError(
        f"found {shown}, expected a pandas DataFrame",
        where=label,
        remedy="read the file with pandas first; a run without fills has a table without rows",
    )
