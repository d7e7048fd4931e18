"""Find and read a backtest's three logs; check them; say what was wrong with which row.

The input contract: ``orders_<SYMBOL>``, ``fills_<SYMBOL>`` and ``state_<SYMBOL>`` as ``.csv``,
``.csv.gz`` or ``.parquet``, in one folder, or in run folders below it that are pooled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike

import pandas as pd

from mm.core.errors import InputError
from mm.core.fill_source import FillSource
from mm.core.memory import give_back
from mm.core.storage import AnyPath
from mm.logs.assemble import assembled, run_log
from mm.logs.columnar.reader import read_fast, told
from mm.logs.duplicate_runs import check_distinct
from mm.logs.files import KINDS, Kind, LocalRun, RunFiles, fetched, find_symbols, size_of
from mm.logs.log import BacktestLog, RunLog, SetAside
from mm.logs.rows import RawTable, read_table

__all__ = ["BacktestLog", "FillSource", "RunLog", "SetAside", "load_log", "log_from_frames"]

_LOG = logging.getLogger(__name__)
#: Bytes of a run's files, as CSV, from which on they are read in whole columns first.
LARGE_BYTES = 32 << 20


def load_log(backtest_dir: AnyPath, symbol: str) -> BacktestLog:
    """Read and check all runs of one symbol.

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
    logs = tuple(_load_run(fetched(files), pooled) for files in runs)
    check_distinct(logs)
    return BacktestLog(symbol, logs, tuple(w for files in runs for w in files.warnings))


def _check_kinds(files: RunFiles, symbol: str) -> None:
    for kind in KINDS:
        if kind not in files.paths:
            raise InputError(
                f"no {kind}_{symbol}.csv, .csv.gz or .parquet",
                where=str(files.folder),
                remedy="a run needs its orders, fills and state files",
            )


def _load_run(files: LocalRun, pooled: bool) -> RunLog:
    label = {
        kind: f"{files.folder.name}/{p.name}" if pooled else p.name
        for kind, p in files.paths.items()
    }
    log = _load_fast(files, label)
    if log is not None:
        return log
    raw = {kind: read_table(files.paths[kind], kind, label[kind]) for kind in KINDS}
    return run_log(raw, files.folder.name, label)


def _load_fast(files: LocalRun, label: Mapping[Kind, str]) -> RunLog | None:
    """A large run in whole columns. None for a small one, which gains nothing, and if anything at
    all is odd in it: then row numbers and the careful reader's words are wanted. It takes several
    times as long, so the log (INFO) says why."""
    try:
        if sum(size_of(path) for path in files.paths.values()) < LARGE_BYTES:
            return None
        found = read_fast(files.paths)
        if found is None:
            return None
        give_back()
        log = assembled(found.checked, files.folder.name, label, found.sha256)
        log = replace(log, order_names=found.order_names)
    except (InputError, OSError) as doubt:
        _LOG.info("%s: %s: read row by row", files.folder, told(doubt))
        return None
    odd = [*map(str, log.set_aside), *log.warnings, *log.appended, *log.shifted]
    if odd or log.n_repaired:
        _LOG.info("%s: %s: read row by row", files.folder, odd[0] if odd else "fills are missing")
        return None
    return log


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
        raw = [RawTable.of_frame(frame) for frame in frames]
        logs.append(run_log(dict(zip(KINDS, raw, strict=True)), name, labels))
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
