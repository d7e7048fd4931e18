"""One symbol: run the template, take the outcome from the executed notebook, publish it all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from mm.core.config import REPO_ROOT, TEMPLATE, below_root
from mm.core.places import KEPT
from mm.pipeline.kernels import Kernel, Kernels
from mm.pipeline.pages import write_report
from mm.pipeline.plan import Job
from mm.pipeline.publish import settle, staging
from mm.pipeline.resume import pages_digest
from mm.results.record import (
    MIME,
    ErrorKind,
    Outcome,
    Record,
    notebook_name,
    write_outcome,
    write_text,
)

#: Errors of ours are whole sentences; the class name before them says nothing to a user.
_OURS = ("InputError", "SettingsError", "CalibrationError")

#: These left nothing to publish.
UNPUBLISHED: tuple[ErrorKind, ...] = ("internal", "lost_worker", "unwritable")
#: Worth another try: the machine was at fault, not the input or the fit.
INFRASTRUCTURE: tuple[ErrorKind, ...] = ("dead_kernel", "deadline")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SymbolRun:
    """What happened to one symbol; ``skipped``: nothing had changed, the record is the old one."""

    symbol: str
    record: Record
    skipped: bool = False


@dataclass(frozen=True)
class Failure:
    """Why there is no outcome: its kind, one line, and the cell (counted as executed)."""

    kind: ErrorKind
    line: str
    cell: int | None = None


class Stopped(Exception):
    """The batch was interrupted; nothing of this symbol is to be published."""


class LostWorker(Exception):
    """The machine that ran the symbol was lost, too often."""


@dataclass
class SymbolRunner:
    """Runs symbols in kernels of one kind, each with a deadline, retries for infrastructure only.

    ``stop``: once set, kernels are killed and nothing more is published. ``named_root``: see
    the function of this name. ``cache``: where what follows from each of several pooled runs is
    kept; None keeps nothing.
    """

    kernels: Kernels
    deadline_s: float
    retries: int
    stop: threading.Event
    named_root: str = ""
    cache: Path | None = None

    def __post_init__(self) -> None:
        self._live: set[Kernel] = set()
        self._lock = threading.Lock()

    def kill_all(self) -> None:
        """Kill every live kernel, now."""
        with self._lock:
            live = list(self._live)
        for kernel in live:
            kernel.kill()

    def run(
        self, job: Job, fingerprint: str, parent: Path, finish: Callable[[Path, Record], _Result]
    ) -> _Result:
        """Calibrate one symbol in a folder of its own below ``parent``; whatever fails is in the
        record.

        ``finish`` gets the folder, complete and synced, and the record, and takes away what it
        wants; what is left goes. Raises Stopped if the batch was interrupted meanwhile.
        """
        began = time.monotonic()
        for attempt in range(self.retries + 1):
            with staging(parent, job.symbol) as stage:
                record = self._staged(job, stage, began, fingerprint, attempt + 1)
                if self.stop.is_set():
                    raise Stopped
                if record.error_kind in INFRASTRUCTURE and attempt < self.retries:
                    continue
                return finish(stage, record)
        raise AssertionError("the last attempt returns")

    def _staged(
        self, job: Job, stage: Path, began: float, fingerprint: str, attempt: int
    ) -> Record:
        notebook = stage / notebook_name(job.symbol)
        result = self._execute(job, notebook)
        if isinstance(result, Outcome):
            record = result.record
            write_outcome(result, job.symbol, stage)
        else:
            record = Record(
                status="failed",
                error=result.line,
                error_kind=result.kind,
                error_cell=result.cell,
            )
        record = record.model_copy(
            update={
                "settings": job.resolved.settings.model_dump(mode="json"),
                "settings_from": dict(job.resolved.sources),
                "fingerprint": fingerprint,
                "pages": pages_digest(),
                "attempts": attempt,
                "seconds": round(time.monotonic() - began, 3),
                "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        write_report(job.symbol, record, stage)
        return record.model_copy(update={"outputs": settle(stage)})

    def _execute(self, job: Job, notebook: Path) -> Outcome | Failure:
        """Run the template by papermill and take the outcome from what it saved."""
        import papermill
        from nbclient.exceptions import DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        if self.stop.is_set():
            raise Stopped
        late = threading.Event()

        def end(kernel: Kernel) -> None:
            late.set()
            kernel.kill()

        kept = {KEPT: str(self.cache.resolve())} if self.cache else {}
        with self.kernels.start(cwd=below_root(), env=kept) as kernel:
            timer = threading.Timer(self.deadline_s, end, [kernel])
            with self._lock:
                self._live.add(kernel)
            try:
                if self.stop.is_set():
                    raise Stopped
                timer.start()
                papermill.execute_notebook(
                    str(TEMPLATE),
                    str(notebook),
                    parameters=_parameters(job, self.named_root),
                    log_output=False,
                    **kernel.options,
                )
            except PapermillExecutionError as error:
                if error.ename in _OURS:
                    return Failure("input", str(error.evalue), error.exec_count)
                return Failure("exception", f"{error.ename}: {error.evalue}", error.exec_count)
            except (DeadKernelError, RuntimeError) as error:
                if self.stop.is_set():
                    raise Stopped from None
                deadline_s = self.deadline_s if late.is_set() else None
                return _dead(notebook, deadline_s, kernel.ending, error)
            finally:
                timer.cancel()
                with self._lock:
                    self._live.discard(kernel)
        return _taken(notebook)


def _dead(notebook: Path, deadline_s: float | None, ending: str, error: Exception) -> Failure:
    """Say in the saved notebook what papermill does not: that its kernel died, and where."""
    if deadline_s is not None:
        kind: ErrorKind = "deadline"
        line = f"took longer than the deadline of {deadline_s:g} s and was killed"
    else:
        kind = "dead_kernel"
        line = f"the kernel died ({ending})"
        if "died" not in str(error).lower():
            line += f": {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return Failure(kind, line, _mark(notebook, line))


def _mark(notebook: Path, line: str) -> int | None:
    """Put a banner at the cell that was running; returns its execution count."""
    if not notebook.exists():
        return None
    import nbformat

    document: Any = nbformat.read(notebook, as_version=4)
    # Papermill calls every cell completed, but those that it never came to have no start.
    started = [
        i
        for i, cell in enumerate(document.cells)
        if cell.metadata.get("papermill", {}).get("start_time") and cell.cell_type == "code"
    ]
    at = started[-1] if started else 0
    v4: Any = nbformat.v4
    banner = f"**This cell did not end: {line}.** Cells below it did not run."
    document.cells.insert(at, v4.new_markdown_cell(banner))
    document.metadata.setdefault("papermill", {})["exception"] = True
    write_text(notebook, nbformat.writes(document))
    return sum(cell.cell_type == "code" for cell in document.cells[: at + 2]) or None


def _taken(notebook: Path) -> Outcome | Failure:
    """The outcome, our own marker of success: papermill also returns after sys.exit(0)."""
    from pydantic import ValidationError

    try:
        outcome = read_outcome(notebook)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Failure("internal", f"the outcome is not as it should be: {where}: {first['msg']}")
    if outcome is None:
        return Failure("exception", "the notebook ended before its last cell")
    return outcome


def _parameters(job: Job, named_root: str) -> Mapping[str, Any]:
    """Plain values of every setting that is not at its default, and of those that place it.

    CONFIG is empty: everything is resolved, so an executed copy says all that it was run with.
    """
    settings = job.resolved.settings
    values = {**settings.changed(), "SYMBOL": settings.SYMBOL}
    values |= {"BACKTEST_DIR": settings.BACKTEST_DIR, "CONFIG": ""}
    if named_root:
        values["REPO_ROOT"] = named_root
    return values


def named_root(folder: Path) -> str:
    """The repository as notebooks in a results folder must name it to find ``mm`` when they are
    run again; empty where they find it by themselves."""
    if REPO_ROOT is None or folder.resolve().is_relative_to(REPO_ROOT):
        return ""
    return str(REPO_ROOT)


def read_outcome(notebook: Path) -> Outcome | None:
    """The outcome that an executed notebook carries, None if it has none.

    Raises pydantic.ValidationError for one that is not of our schema.
    """
    for cell in reversed(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                return Outcome.model_validate(output["data"][MIME])
    return None
