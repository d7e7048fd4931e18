"""All symbols: run them side by side, keep the books, say how it ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Protocol

from mm.core.errors import CalibrationError, OutputError, one_line
from mm.core.storage import AnyPath, StoreError
from mm.pipeline import history, morning, moves
from mm.pipeline.books import RUN_JSON, SUMMARY_CSV, read_books, was_used, write_books
from mm.pipeline.cache import CACHE, Cached, census
from mm.pipeline.drift import write_drift
from mm.pipeline.executor import LOCAL, Executor, ExecutorLost, Options
from mm.pipeline.kernels import KernelError
from mm.pipeline.local import open_local
from mm.pipeline.metrics import METRICS, write_metrics
from mm.pipeline.pages import write_pages
from mm.pipeline.plan import Job, Plan
from mm.pipeline.results import Results, open_folder
from mm.pipeline.resume import code_digest, fingerprint, pages_digest
from mm.pipeline.symbol import UNPUBLISHED, LostWorker, SymbolRun
from mm.registry.store import REGISTRY
from mm.report.drift import DRIFT_NAME
from mm.report.index import INDEX_NAME
from mm.report.mail import EML_NAME
from mm.report.send import MailError
from mm.results.record import ErrorKind, Record

#: Exit codes: what a scheduler needs to tell apart.
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_OUTDATED, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130
__all__ = ["Executor", "Options", "Watcher", "exit_code", "run_batch"]


class Watcher(Protocol):
    """Hears how a batch goes."""

    def started(self, symbol: str) -> None:
        """A symbol has started."""

    def done(self, run: SymbolRun) -> None:
        """A symbol has ended, or was skipped."""

    def trouble(self, line: str) -> None:
        """Something else went wrong."""

    def told(self, records: Mapping[str, Record]) -> None:
        """What the books say of this batch's symbols, those that are missing among them."""

    def kept(self, folder: Path, size: int) -> None:
        """What is kept of pooled runs for the next batch, bytes."""


def run_batch(plan: Plan, options: Options, watcher: Watcher) -> int:
    """Calibrate every symbol of a plan; one that fails stops no other.

    Returns the exit code: 1 if any failed, 3 if none failed and some were refused, 4 if some only
    are missing or stale, 130 if it was interrupted, else 0. Raises CalibrationError if another
    batch holds the folder, or if failed symbols are to be run again where none has ever run.
    """
    if options.retry_failed and not was_used(plan.out_dir):
        raise CalibrationError(
            f"--retry-failed: no batch has left results in {plan.out_dir}; run without it, or name "
            "the results folder with --out-dir"
        )
    with _open_results(plan.out_dir) as results:
        previous, began = read_books(results.folder), time.monotonic()
        known = census(results.folder / CACHE)
        runs, interrupted = _run_all(plan, options, results, watcher)
        # A symbol whose log and results were both taken away has nothing to be told of.
        held = {symbol for symbol in previous if results.holds(symbol)}
        missing = morning.absent(plan, previous, held)
        records = morning.told(runs, previous, missing, plan.expected, datetime.now(UTC))
        records = morning.with_forecasts(records, plan.out_dir, watcher.trouble)
        records = moves.with_past(records, plan.out_dir, datetime.now(UTC).date(), watcher.trouble)
        watcher.told(records)
        code = EXIT_INTERRUPTED if interrupted else exit_code(records.values())
        most = round(options.cache_gb * 1e9)
        cached = Cached.since(known, results.folder / CACHE, most)
        if cached.bytes:
            watcher.kept(results.folder / CACHE, cached.bytes)
        try:
            valid_for_s = plan.policy.valid_for_s
            records = {s: results.mark(s, r, valid_for_s) for s, r in records.items()}
            write_books(results.folder, records, {*plan.present, *held}, plan.policy, cached)
            results.keep(RUN_JSON, SUMMARY_CSV)
            books = read_books(results.folder)
            write_metrics(results.folder, books, code, time.monotonic() - began, cached)
            results.keep(METRICS)
            history.add(plan.out_dir, records, datetime.now(UTC))
            if not interrupted:
                results.fetch_for_pages(records)
                # Before the index, which links to it.
                drawn = _drawn(plan.out_dir, results, watcher)
                code = code if drawn else EXIT_FAILED
                try:
                    place = str(plan.out_dir)
                    write_pages(results.folder, previous, list(records), place, options.mail)
                finally:
                    results.keep(INDEX_NAME, EML_NAME)
        except MailError as error:
            watcher.trouble(f"the mail was not sent: {error}; it is in calibration.eml")
            code = EXIT_FAILED
        except (OutputError, OSError) as error:
            watcher.trouble(f"the books are not all written: {one_line(error)}")
            code = EXIT_INTERRUPTED if interrupted else EXIT_FAILED
        except StoreError as error:
            watcher.trouble(f"not all is in the results folder: {error}")
            code = EXIT_INTERRUPTED if interrupted else EXIT_FAILED
    return code


def _drawn(out_dir: AnyPath, results: Results, watcher: Watcher) -> bool:
    """Write the drift page, or say in one line why not; no other page waits for it."""
    try:
        write_drift(out_dir, out_dir / REGISTRY, results.folder, datetime.now(UTC))
        results.keep(DRIFT_NAME)
    except (CalibrationError, OSError) as error:
        watcher.trouble(f"{DRIFT_NAME} is not written: {one_line(error)}")
        return False
    return True


def _open_results(out_dir: AnyPath) -> AbstractContextManager[Results]:
    if isinstance(out_dir, Path):
        return open_folder(out_dir)
    from mm.pipeline.store import open_store

    return open_store(out_dir)


def _run_all(
    plan: Plan, options: Options, results: Results, watcher: Watcher
) -> tuple[list[SymbolRun], bool]:
    """Skip what still holds and run the rest. Returns the runs, and whether it was interrupted."""
    code = code_digest()
    runs = [SymbolRun(symbol, _rejected(line)) for symbol, line in plan.rejected.items()]
    for run in runs:
        watcher.done(run)
    todo: list[tuple[Job, str]] = []
    failed_before = {s for s, r in read_books(results.folder).items() if r.status == "failed"}
    for job in plan.jobs:
        if options.retry_failed and job.symbol not in failed_before:
            continue
        mark = fingerprint(job, code)
        old = None if options.force else results.finished(job, mark)
        if old is not None and old.pages != pages_digest():
            try:
                old = results.renew_report(job.symbol, old)
            except Exception:  # it is run again, and says what keeps it from being published
                old = None
        if old is None:
            todo.append((job, mark))
        else:
            runs.append(SymbolRun(job.symbol, old, skipped=True))
            watcher.done(runs[-1])
    if not todo:
        return runs, False
    try:
        with (
            _terminate_as_interrupt(),
            _open_executor(plan, options, results, watcher.started) as executor,
        ):
            return _run_on(executor, results, todo, runs, watcher)
    except KeyboardInterrupt:
        return runs, True
    except KernelError as error:
        return [*runs, *(_failed(job, f"no kernel: {error}") for job, _ in todo)], False


def _open_executor(
    plan: Plan, options: Options, results: Results, started: Callable[[str], None]
) -> AbstractContextManager[Executor]:
    if options.scheduler == LOCAL:
        return open_local(plan, options, results, started)
    from mm.pipeline.cluster import open_cluster

    return open_cluster(plan, options, results, started)


def _run_on(
    executor: Executor,
    results: Results,
    todo: list[tuple[Job, str]],
    runs: list[SymbolRun],
    watcher: Watcher,
) -> tuple[list[SymbolRun], bool]:
    ended: SimpleQueue[Future[SymbolRun]] = SimpleQueue()
    waiting: dict[Future[SymbolRun], Job] = {}
    interrupted = False
    try:
        for job, mark in todo:
            future = executor.submit(job, mark)
            waiting[future] = job
            future.add_done_callback(ended.put)
        while waiting:
            future = ended.get()
            lost = future.exception()
            if isinstance(lost, ExecutorLost):
                watcher.trouble(str(lost))
                interrupted = True
                break
            runs.append(_result(future, waiting.pop(future)))
            if runs[-1].record.error_kind in UNPUBLISHED:
                try:
                    results.failed(runs[-1].symbol, runs[-1].record)
                except (OutputError, OSError) as error:
                    watcher.trouble(f"{runs[-1].symbol}: {one_line(error)}")
            watcher.done(runs[-1])
    except KeyboardInterrupt:
        interrupted = True
        executor.interrupt()
    finally:
        executor.close()
    if interrupted:
        # What was published before the interrupt reached it is in the books too.
        for future, job in waiting.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                runs.append(_result(future, job))
    return runs, interrupted


def _result(future: Future[SymbolRun], job: Job) -> SymbolRun:
    error = future.exception()
    if error is None:
        return future.result()
    text = " ".join(str(error).split())
    if isinstance(error, LostWorker):
        return _failed(job, text, "lost_worker")
    if isinstance(error, OutputError | OSError):
        if isinstance(error, OSError):
            text = f"results can't be written: {one_line(error)}"
        return _failed(job, f"{text}; an older result is left as it was", "unwritable")
    if not isinstance(error, CalibrationError):  # ours are sentences
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return _failed(job, text)


def _rejected(line: str) -> Record:
    finished_utc = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(status="failed", error=line, error_kind="input", finished_utc=finished_utc)


def _failed(job: Job, line: str, kind: ErrorKind = "internal") -> SymbolRun:
    record = Record(
        status="failed",
        error=line,
        error_kind=kind,
        settings=job.resolved.settings.model_dump(mode="json"),
        settings_from=dict(job.resolved.sources),
        finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return SymbolRun(job.symbol, record)


def exit_code(records: Iterable[Record]) -> int:
    """The exit code that these records give."""
    found = {record.status for record in records}
    codes = {
        "failed": EXIT_FAILED,
        "refused": EXIT_REFUSED,
        "missing": EXIT_OUTDATED,
        "stale": EXIT_OUTDATED,
    }
    return next((code for status, code in codes.items() if status in found), EXIT_OK)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a batch as Ctrl-C does: nothing half written, nothing left."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
