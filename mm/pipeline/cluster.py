"""Symbols on the workers of a dask scheduler. Workers return a symbol's finished files, and this
process publishes them: workers share no folder, and each symbol is published once."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mm.core.errors import CalibrationError
from mm.pipeline.executor import Executor, ExecutorLost, Options
from mm.pipeline.plan import Job, Plan
from mm.pipeline.publish import settle, staging
from mm.pipeline.results import Results
from mm.pipeline.resume import code_marks
from mm.pipeline.symbol import LostWorker, Stopped, SymbolRun, named_root
from mm.results.record import Record

try:
    import distributed
    from distributed import Client
    from distributed.client import FutureCancelledError

    from mm.pipeline import worker
except ImportError as error:
    raise CalibrationError(
        f"--scheduler needs dask.distributed ({error}): make scale, or "
        "pip install -r requirements-scale.txt"
    ) from None

CONNECT_TIMEOUT_S, FIRST_WORKER_TIMEOUT_S = 15.0, 60.0
#: How often the cluster is looked at, and how long it may be without any worker.
LOOK_EVERY_S, WITHOUT_WORKERS_S = 3.0, 120.0
#: Symbols published at the same time: most of it is waiting, for a disk or a store.
_PUBLISHERS = 16
_GONE = "the connection to the dask scheduler is lost"


def _named_call() -> Callable[[str], worker.Finished]:
    """A function that calls ``worker.run_symbol``, of text.

    dask ships a function of inside another one whole, and not by its name: the scheduler in
    between, which loads what tasks are made of, then needs no ``mm``.
    """

    def run_symbol(task: str) -> worker.Finished:
        from mm.pipeline.worker import run_symbol

        return run_symbol(task)

    return run_symbol


class DaskExecutor:
    """Tasks on a scheduler that is there already. A lost worker's tasks are run again elsewhere by
    the scheduler, as often as its ``allowed-failures`` says."""

    def __init__(
        self, client: Any, results: Results, options: Options, started: Callable[[str], None]
    ) -> None:
        self._client, self._results, self._options = client, results, options
        self._batch = f"mm-{uuid.uuid4().hex}"
        self._code = code_marks()
        self._named_root = named_root(results.folder)
        self._waiting: dict[Future[SymbolRun], Any] = {}
        self._stop, self._closed = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publish")
        client.subscribe_topic(self._batch, lambda event: started(event[1]))
        self._watch = threading.Thread(target=self._keep_watch, name="cluster", daemon=True)
        self._watch.start()

    def check_workers(self, job: Job) -> None:
        """Raise CalibrationError, one line, if a worker can't run the symbols of this driver."""
        data_dir = job.resolved.settings.BACKTEST_DIR
        # A URL is the same from everywhere.
        sizes = {
            run.label(path): size
            for run in job.runs
            for path in run.paths.values()
            if isinstance(path, Path) and (size := _size(path)) is not None
        }
        asked = dict(self._code), data_dir, sizes
        answers = self._client.run(worker.look, *asked, on_error="return")
        for address, line in answers.items():
            if isinstance(line, ImportError):
                line = f"can't load mm ({line}); start it in the repository, with PYTHONPATH=."
            if line:
                raise CalibrationError(f"worker {address}: {' '.join(str(line).split())}")

    def submit(self, job: Job, mark: str) -> Future[SymbolRun]:
        """Have a symbol run on some worker."""
        options = self._options
        task = worker.Task(
            batch=self._batch,
            symbol=job.symbol,
            settings=job.resolved.settings.model_dump(mode="json"),
            settings_from=dict(job.resolved.sources),
            mark=mark,
            code=dict(self._code),
            kernel=options.kernel,
            deadline_s=options.deadline_s,
            retries=options.retries,
            named_root=self._named_root,
        )
        ended: Future[SymbolRun] = Future()
        there = self._client.submit(
            _named_call(), json.dumps(asdict(task)), key=f"{self._batch}-{job.symbol}", pure=False
        )
        self._waiting[ended] = there
        there.add_done_callback(lambda _: self._pool.submit(self._collect, ended, job.symbol))
        return ended

    def _collect(self, ended: Future[SymbolRun], symbol: str) -> None:
        """Publish what came back, in a thread of this process."""
        try:
            there = self._waiting[ended]
            record, files = there.result()
            if self._stop.is_set():
                raise Stopped
            run = SymbolRun(
                symbol, self._publish(symbol, Record.model_validate_json(record), files)
            )
        except distributed.KilledWorker as error:
            times, last = error.allowed_failures + 1, error.last_worker.address
            line = f"was given to {times} workers and lost them all, last {last}; look at its log"
            self._end(ended, LostWorker(line))
        except FutureCancelledError:
            self._end(ended, ExecutorLost(_GONE))
        except BaseException as error:
            self._end(ended, error)
        else:
            self._end(ended, run)

    def _publish(self, symbol: str, record: Record, files: dict[str, bytes]) -> Record:
        with staging(self._results.folder, symbol) as stage:
            for name, content in files.items():
                (stage / name).write_bytes(content)
            if settle(stage) != record.outputs:
                raise CalibrationError("the files that came from the worker are not what it made")
            self._results.publish(stage, symbol, record)
        return record

    def _end(self, ended: Future[SymbolRun], how: SymbolRun | BaseException) -> None:
        there = self._waiting.pop(ended, None)
        if there is not None:
            there.release()
        with contextlib.suppress(InvalidStateError):  # given up meanwhile
            if isinstance(how, SymbolRun):
                ended.set_result(how)
            else:
                ended.set_exception(how)

    def _keep_watch(self) -> None:
        """End all that waits if the scheduler is gone, or has no workers for long."""
        without_s = 0.0
        while not self._closed.wait(LOOK_EVERY_S):
            try:
                without_s = 0.0 if self._client.nthreads() else without_s + LOOK_EVERY_S
                line = f"the scheduler has had no workers for {WITHOUT_WORKERS_S:g} s"
            # dask raises what its transport does; whatever it is, nobody answers.
            except Exception:
                without_s, line = WITHOUT_WORKERS_S, _GONE
            if without_s >= WITHOUT_WORKERS_S and not self._closed.is_set():
                for ended in list(self._waiting):
                    self._end(ended, ExecutorLost(line))

    def interrupt(self) -> None:
        """Take back what waits and kill what runs."""
        self._stop.set()
        self._client.cancel(list(self._waiting.values()), force=True)

    def close(self) -> None:
        """Have the workers forget this batch; their kernels stay warm for the next."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        end = threading.Thread(target=self._tell_workers, daemon=True)
        end.start()
        end.join(CONNECT_TIMEOUT_S)  # a cluster that is gone does not answer

    def _tell_workers(self) -> None:
        with contextlib.suppress(Exception):
            self._client.run(worker.end_batch, self._batch, on_error="ignore")


def _size(path: Path) -> int | None:
    try:
        return int(path.stat().st_size)
    except OSError:
        return None


@contextlib.contextmanager
def open_cluster(
    plan: Plan, options: Options, results: Results, started: Callable[[str], None]
) -> Iterator[Executor]:
    """The workers of ``options.scheduler``.

    Raises CalibrationError, one line, if no scheduler answers there, it has no workers, or one of
    them has other code or sees other data.
    """
    # It logs a traceback of a lost connection; what it means for the batch is said in a line.
    for name in ("distributed", "distributed.client"):  # dask gives each a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client: Any = Client(options.scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CalibrationError(
            f"--scheduler {options.scheduler}: no dask scheduler answers there ({text})"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER_TIMEOUT_S)
        except TimeoutError:
            raise CalibrationError(
                f"--scheduler {options.scheduler}: no workers after {FIRST_WORKER_TIMEOUT_S:g} s; "
                f"start some: dask worker {options.scheduler}"
            ) from None
        executor = DaskExecutor(client, results, options, started)
        try:
            executor.check_workers(plan.jobs[0])
            yield executor
        finally:
            executor.close()
