"""Find and read a backtest's three logs; check them; say what was wrong with which row.

The input contract: ``orders_<SYMBOL>``, ``fills_<SYMBOL>`` and ``state_<SYMBOL>`` as ``.csv``,
``.csv.gz`` or ``.parquet``, in one folder, or in run folders below it that are pooled.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mm import read
from mm.clocks import appended_pieces
from mm.discover import KINDS, Kind, RunFiles, find_symbols
from mm.errors import InputError
from mm.run import Run

#: ``trade_driven`` fills come from recorded trades, ``poisson`` ones from the consumer's own rule.
FillSource = Literal["trade_driven", "poisson", "mixed", "unknown"]


@dataclass(frozen=True)
class SetAside:
    """Rows that break the contract and were left out, by file and cause."""

    file: str
    rows: int
    of: int
    what: str
    first_row: int

    def __str__(self) -> str:
        more = f" and {self.rows - 1} more" if self.rows > 1 else ""
        return f"{self.file}, row {self.first_row}{more}: {self.what}; left out"


@dataclass(frozen=True)
class RunLog(Run):
    """One run as it was read: where from, and what was wrong with it."""

    name: str
    set_aside: tuple[SetAside, ...] = ()
    warnings: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    inputs_sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class BacktestLog:
    """All runs of one symbol."""

    symbol: str
    runs: tuple[RunLog, ...]
    warnings: tuple[str, ...] = ()

    @property
    def fill_source(self) -> FillSource:
        """What filled the orders, by the ``reason`` of the fill rows."""
        reasons = [set(run.fills["reason"]) for run in self.runs if "reason" in run.fills]
        names = {str(name) for found in reasons for name in found if name}
        drawn = {name for name in names if name.startswith("poisson")}
        if not names:
            return "unknown"
        if drawn:
            return "poisson" if drawn == names else "mixed"
        return "trade_driven"

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Malformed rows of all runs."""
        return tuple(aside for run in self.runs for aside in run.set_aside)

    @property
    def inputs_sha256(self) -> dict[str, str]:
        """SHA-256 of every input file, by file name (with its run folder where pooled)."""
        return {name: value for run in self.runs for name, value in run.inputs_sha256.items()}

    @property
    def window_ms(self) -> tuple[int, int]:
        """First state row and last row of any file over all runs, ms since the epoch."""
        return min(r.start_ms for r in self.runs), max(r.end_ms for r in self.runs)

    def __repr__(self) -> str:
        rows = ", ".join(f"{sum(len(getattr(r, k)) for r in self.runs):,} {k}" for k in KINDS)
        return f"<{type(self).__name__} {self.symbol}: {len(self.runs)} run(s), {rows}>"

    def _repr_html_(self) -> str:
        head = "<tr><th>run</th><th>from (UTC)</th><th>to</th><th>duration</th>" + "".join(
            f"<th>{kind} rows</th>" for kind in KINDS
        )
        body = ""
        for run in self.runs:
            times = [
                pd.Timestamp(t, unit="ms").strftime("%Y-%m-%d %H:%M:%S")
                for t in (run.start_ms, run.end_ms)
            ]
            cells = [run.name, *times, f"{(run.end_ms - run.start_ms) / 60_000:.1f} min"]
            cells += [f"{len(getattr(run, kind)):,}" for kind in KINDS]
            body += "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>"
        notes = [*self.warnings, *(w for run in self.runs for w in run.warnings)]
        notes += [str(aside) for aside in self.set_aside]
        listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        return (
            f"<table><thead>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"{f'<ul>{listed}</ul>' if listed else ''}"
        )


def load_log(backtest_dir: Path, symbol: str) -> BacktestLog:
    """Read and check all runs of one symbol.

    Raises InputError, one line, for whatever can't be read or has no meaning.
    """
    found = find_symbols(backtest_dir)
    if symbol not in found:
        names = ", ".join(found) or "none"
        raise InputError(
            f"no files of symbol {symbol!r} (symbols there: {names})",
            where=backtest_dir,
            remedy=f"expected orders_{symbol}.csv, fills_{symbol}.csv and state_{symbol}.csv",
        )
    runs = found[symbol]
    pooled = len(runs) > 1
    logs = tuple(_load_run(files, symbol, pooled) for files in runs)
    return BacktestLog(symbol, logs, tuple(w for files in runs for w in files.warnings))


def _load_run(files: RunFiles, symbol: str, pooled: bool) -> RunLog:
    for kind in KINDS:
        if kind not in files.paths:
            raise InputError(
                f"no {kind}_{symbol}.csv, .csv.gz or .parquet",
                where=files.folder,
                remedy="a run needs its orders, fills and state files",
            )
    label = {
        kind: f"{files.folder.name}/{p.name}" if pooled else p.name
        for kind, p in files.paths.items()
    }
    hashes = {label[kind]: sha256(files.paths[kind]) for kind in KINDS}
    frames = {kind: read.read_table(files.paths[kind], kind, label[kind]) for kind in KINDS}
    return run_log(frames, files.folder.name, label, hashes)


def run_log(
    frames: Mapping[Kind, pd.DataFrame],
    name: str,
    labels: Mapping[Kind, str],
    hashes: Mapping[str, str] | None = None,
) -> RunLog:
    """Check three tables as they were read and make them a :class:`RunLog`.

    Raises InputError (required column missing, no usable state row, ids that contradict
    each other).
    """
    checked = {kind: read.check_table(frames[kind], kind, labels[kind]) for kind in KINDS}
    orders, fills, state = (checked[kind].table for kind in KINDS)
    if state.empty:
        raise InputError(
            "no usable state row",
            where=labels["state"],
            remedy="the mid path is needed: run the backtest with state logging",
        )
    if orders.empty:
        raise InputError(
            "no usable order row",
            where=labels["orders"],
            remedy="nothing was quoted, so there is nothing to calibrate",
        )
    appended = _appended(checked, labels)
    state, warnings = _in_time_order(state, labels["state"])
    end_ms = max(int(table["recv_ms"].max()) for table in (orders, fills, state) if len(table))
    aside = tuple(SetAside(labels[kind], *bad) for kind in KINDS for bad in checked[kind].bad)
    warnings += tuple(w for kind in KINDS for w in checked[kind].warnings)
    return RunLog(orders, fills, state, end_ms, name, aside, warnings, appended, dict(hashes or {}))


def _appended(checked: Mapping[Kind, read.Checked], labels: Mapping[Kind, str]) -> tuple[str, ...]:
    """Files that hold several runs, one behind the other."""
    pieces = {
        kind: appended_pieces(checked[kind].table["recv_ms"].to_numpy(dtype=np.int64))
        for kind in KINDS
    }
    return tuple(
        f"{labels[kind]}: time starts again {n - 1} times" for kind, n in pieces.items() if n > 1
    )


def _in_time_order(state: pd.DataFrame, label: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    backwards = int(np.count_nonzero(np.diff(state["recv_ms"].to_numpy()) < 0))
    if not backwards:
        return state, ()
    ordered = state.sort_values("recv_ms", kind="stable", ignore_index=True)
    return ordered, (f"{label}: time goes backwards at {backwards} rows; sorted by recv_ms",)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def log_from_frames(
    runs: Iterable[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]], symbol: str = ""
) -> BacktestLog:
    """A log from (orders, fills, state) tables that are in memory already, one triple a run."""
    logs = []
    for number, frames in enumerate(runs, start=1):
        name = f"run {number}"
        labels = {kind: f"{kind} of {name}" for kind in KINDS}
        logs.append(run_log(dict(zip(KINDS, frames, strict=True)), name, labels))
    return BacktestLog(symbol, tuple(logs))
