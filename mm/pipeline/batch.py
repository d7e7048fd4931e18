"""All symbols: run them side by side, keep the books, say how it ended."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime

from mm.pipeline.plan import Job, Plan
from mm.pipeline.summary import write_books
from mm.pipeline.symbol import SymbolRun, run_symbol
from mm.record import Record

#: Exit codes: what a scheduler needs to tell apart.
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED = 0, 1, 2, 3


def run_batch(plan: Plan, on_done: Callable[[SymbolRun], None]) -> int:
    """Calibrate every symbol of a plan; one that fails stops no other.

    Calls ``on_done`` as each ends. Returns the exit code: 1 if any failed, 3 if none failed and
    some were refused, else 0.
    """
    plan.out_dir.mkdir(parents=True, exist_ok=True)
    records: dict[str, Record] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.workers, mp_context=context) as pool:
        waiting = {pool.submit(run_symbol, job, plan.out_dir): job for job in plan.jobs}
        for done in as_completed(waiting):
            job = waiting[done]
            error = done.exception()
            run = done.result() if error is None else _failed(job, error)
            records[run.symbol] = run.record
            on_done(run)
    write_books(plan.out_dir, records)
    return exit_code(records.values())


def exit_code(records: Iterable[Record]) -> int:
    """The exit code that these records give."""
    found = {record.status for record in records}
    if "failed" in found:
        return EXIT_FAILED
    return EXIT_REFUSED if "refused" in found else EXIT_OK


def _failed(job: Job, error: BaseException) -> SymbolRun:
    text = f"{type(error).__name__}: {error}"
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return SymbolRun(job.symbol, Record(status="failed", error=text, finished_utc=finished))
