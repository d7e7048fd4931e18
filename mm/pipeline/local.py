"""Symbols in threads of this process, with kernels forked from one warm process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mm.core.storage import opener
from mm.pipeline.cache import CACHE
from mm.pipeline.executor import PRELOAD, Executor, Options
from mm.pipeline.kernels import Kernels, open_kernels
from mm.pipeline.plan import Job, Plan
from mm.pipeline.results import Results
from mm.pipeline.symbol import Stopped, SymbolRun, SymbolRunner, named_root
from mm.results.record import Record


class LocalExecutor:
    """Threads that each drive one kernel at a time."""

    def __init__(
        self,
        kernels: Kernels,
        results: Results,
        options: Options,
        workers: int,
        started: Callable[[str], None],
    ) -> None:
        self._results, self._started = results, started
        self._stop = threading.Event()
        # A folder that is here for this batch alone keeps nothing.
        keeps = options.cache_gb > 0 and results.lasting
        self._runner = SymbolRunner(
            kernels,
            options.deadline_s,
            options.retries,
            self._stop,
            named_root(results.folder),
            results.folder / CACHE if keeps else None,
        )
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="symbol")

    def submit(self, job: Job, mark: str) -> Future[SymbolRun]:
        """Have a symbol run in a thread."""
        return self._pool.submit(self._run, job, mark)

    def _run(self, job: Job, mark: str) -> SymbolRun:
        if self._stop.is_set():
            raise Stopped
        self._started(job.symbol)

        def publish(stage: Path, record: Record) -> SymbolRun:
            self._results.publish(stage, job.symbol, record)
            return SymbolRun(job.symbol, record)

        return self._runner.run(job, mark, self._results.folder, publish)

    def interrupt(self) -> None:
        """Kill every kernel."""
        self._stop.set()
        self._runner.kill_all()

    def close(self) -> None:
        """Wait for the threads; symbols that have not started never will."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def open_local(
    plan: Plan, options: Options, results: Results, started: Callable[[str], None]
) -> Iterator[Executor]:
    """Threads, as many as the plan says. Raises KernelError if no kernel can be started."""
    with open_kernels(options.kernel, PRELOAD + opener(plan.data_dir)) as kernels:
        executor = LocalExecutor(kernels, results, options, plan.workers, started)
        try:
            yield executor
        finally:
            executor.close()
