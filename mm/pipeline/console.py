"""What a batch says while it goes and when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from mm.core.storage import AnyPath
from mm.pipeline.symbol import SymbolRun
from mm.report.morning import first_line
from mm.results.record import Record, notebook_name

_COLOUR = {
    "ok": "green", "warn": "yellow", "stale": "cyan", "missing": "cyan", "refused": "magenta",
    "failed": "red",
}  # fmt: skip


class Console:
    """A live bar on a terminal and a line as each symbol ends; plain lines elsewhere."""

    def __init__(self, total: int) -> None:
        self._out = Terminal(soft_wrap=True, highlight=False, markup=False)
        self._err = Terminal(soft_wrap=True, highlight=False, markup=False, stderr=True)
        self._runs: list[SymbolRun] = []
        self._records: Mapping[str, Record] = {}
        self._kept = ""
        self._running: dict[str, float] = {}
        self._total, self._began = total, time.monotonic()
        self._lock = threading.Lock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._out,
            transient=True,
            disable=not self._out.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total)
        self._bar.start()

    def started(self, symbol: str) -> None:
        """Show a symbol among those that are running."""
        with self._lock:
            self._running[symbol] = time.monotonic()
            self._show()

    def done(self, run: SymbolRun) -> None:
        """Say how one symbol ended."""
        with self._lock:
            self._running.pop(run.symbol, None)
            self._runs.append(run)
            self._bar.advance(self._task)
            self._show()
        width = len(str(self._total))
        line = Text(f"[{len(self._runs):{width}}/{self._total}] {run.symbol:12} ")
        line.append(f"{run.record.status:8}", style=_COLOUR[run.record.status])
        line.append(_facts(run))
        self._out.print(line)

    def trouble(self, line: str) -> None:
        """Say what went wrong beside the symbols."""
        self._err.print(Text(line, style="red"))

    def told(self, records: Mapping[str, Record]) -> None:
        """Keep what the books say of the batch for its end."""
        self._records = records

    def kept(self, folder: Path, size: int) -> None:
        """Keep for the end how much is kept."""
        self._kept = f"kept of pooled runs: {size / 1e9:.2f} GB in {folder}"

    def _show(self) -> None:
        failed = sum(r.record.status == "failed" for r in self._runs)
        names = ", ".join(list(self._running)[:4])
        text = f"running {names or '–'}" + (f" · {failed} failed" if failed else "")
        self._bar.update(self._task, description=text[:60])

    def close(self, out_dir: AnyPath, *, interrupted: bool = False) -> None:
        """What the morning is like, counts, then each symbol that needs a person with where to
        look, the gravest last."""
        self._bar.stop()
        records = self._records
        self._out.print(Text(first_line(records.values())))
        counts = {s: sum(r.status == s for r in records.values()) for s in _COLOUR}
        told = " · ".join(f"{n} {status}" for status, n in counts.items() if n)
        skipped = sum(r.skipped for r in self._runs)
        if skipped:
            told += f" ({skipped} unchanged, skipped)"
        self._out.print(f"{told or 'nothing to do'}, {time.monotonic() - self._began:.1f} s")
        smaller = sorted(symbol for symbol, r in records.items() if r.log == "smaller")
        if smaller:
            names = ", ".join(smaller[:12]) + (" …" if len(smaller) > 12 else "")
            self._err.print(f"much smaller logs than in the batch before: {names}")
        for status in ("stale", "missing", "refused", "failed"):
            for symbol, record in sorted(records.items()):
                if record.status == status:
                    self._trouble(symbol, record, out_dir)
        if interrupted:
            left = self._total - len(self._runs)
            self._out.print(f"interrupted; {left} symbols left: run the same command to go on")
        if self._kept:
            self._out.print(self._kept)
        self._out.print(f"results in {out_dir}")

    def abandon(self) -> None:
        """Take the bar away before an error is shown."""
        self._bar.stop()

    def _trouble(self, symbol: str, record: Record, out_dir: AnyPath) -> None:
        line = Text(f"{symbol}: ")
        line.append(record.status, style=_COLOUR[record.status])
        cell = f" (cell {record.error_cell})" if record.error_cell else ""
        line.append(f": {record.reason}{cell}")
        self._err.print(line)
        look = out_dir / symbol / notebook_name(symbol)
        if record.status in ("refused", "failed") and look.is_file():
            self._err.print(f"  open {look}")


def _facts(run: SymbolRun) -> str:
    record: Record = run.record
    if run.skipped:
        return f"unchanged since {record.finished_utc}, skipped"
    if record.status in ("refused", "failed"):
        return record.reason
    facts = f"A = {record.A:.4g} /s, k = {record.k:.4g} /tick, {record.n_fills} fills"
    if record.tick_inferred:
        facts += f", {record.tick}"
    return f"{facts}; {record.reason}" if record.reason else facts
