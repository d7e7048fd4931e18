"""What a dask worker does for a batch. The driver, in ``cluster``, names these functions only: they
are imported and called on the worker, with the code and the packages that are there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from mm.core.config import REPO_ROOT, Resolved, backtest_folder
from mm.core.errors import CalibrationError
from mm.core.settings import Settings
from mm.core.storage import opener
from mm.pipeline.executor import PRELOAD
from mm.pipeline.kernels import Kernels, open_kernels
from mm.pipeline.plan import Job
from mm.pipeline.resume import code_marks
from mm.pipeline.symbol import SymbolRunner
from mm.results.record import Record

#: As it is when this process loads it: what lies on disk may be renewed under a running worker.
_CODE = code_marks()
_PLUGIN = "mm-kernels"

#: A symbol's record as JSON, and its files by name.
Finished = tuple[str, dict[str, bytes]]


@dataclass(frozen=True)
class Task:
    """One symbol of a batch, with all that the worker needs to know of it; it travels as JSON.

    ``code``: the driver's, see ``code_marks``; ``named_root``: its repository, as the executed
    notebook is to name it.
    """

    batch: str
    symbol: str
    settings: dict[str, Any]
    settings_from: dict[str, str]
    mark: str
    code: dict[str, str]
    kernel: Literal["warm", "stock"]
    deadline_s: float
    retries: int
    named_root: str

    @property
    def job(self) -> Job:
        """The symbol as the local pool has it; its files are found where it runs."""
        settings = Settings.build(self.settings, "driver")
        return Job(self.symbol, Resolved(settings, self.settings_from), [])


class KeptKernels(WorkerPlugin):
    """The kernels of one worker, by kind: started when first needed, ended with the worker.

    A worker that is killed takes them along: they end when their owner is gone.
    """

    def __init__(self) -> None:
        self._opened: dict[tuple[str, ...], Kernels] = {}
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()

    def get(self, kind: Literal["warm", "stock"], modules: tuple[str, ...]) -> Kernels:
        """Kernels of this kind; the first call waits until they are warm."""
        with self._lock:
            key = (kind, *modules)
            if key not in self._opened:
                self._opened[key] = self._stack.enter_context(open_kernels(kind, modules))
            return self._opened[key]

    async def teardown(self, worker: Worker) -> None:
        """End what runs and all kernels, in a thread: the worker's loop has its own ends to tie."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for batch in list(_runners):
            end_batch(batch)
        self._stack.close()


_runners: dict[str, SymbolRunner] = {}
_lock = threading.Lock()


def run_symbol(text: str) -> Finished:
    """Calibrate a symbol here, given a ``Task`` as JSON; its files go to the driver.

    Raises CalibrationError if this worker has other code than the driver, Stopped if the batch was
    ended meanwhile.
    """
    task = Task(**json.loads(text))
    difference = difference_of(task.code, _CODE)
    if difference:
        raise CalibrationError(f"worker {get_worker().address}: {difference}")
    worker: Any = get_worker()
    job = task.job
    worker.log_event(task.batch, job.symbol)
    modules = PRELOAD + opener(backtest_folder(job.resolved.settings.BACKTEST_DIR))
    runner = _runner(task, _kernels(worker).get(task.kernel, modules))

    def pack(stage: Path, record: Record) -> Finished:
        files = {name: (stage / name).read_bytes() for name in record.outputs}
        return record.model_dump_json(), files

    # In the kernels' directory: it goes with them, also where this process is killed.
    return runner.run(job, task.mark, Path(runner.kernels.directory), pack)


def _kernels(worker: Any) -> KeptKernels:
    with _lock:
        if _PLUGIN not in worker.plugins:
            added = worker.plugin_add(plugin=KeptKernels(), name=_PLUGIN)
            asyncio.run_coroutine_threadsafe(added, worker.loop.asyncio_loop).result()
        kept: KeptKernels = worker.plugins[_PLUGIN]
        return kept


def _runner(task: Task, kernels: Kernels) -> SymbolRunner:
    with _lock:
        if task.batch not in _runners:
            # Elsewhere the driver's path would lead a notebook to nothing while it runs here.
            root = task.named_root if task.named_root == str(REPO_ROOT) else ""
            _runners[task.batch] = SymbolRunner(
                kernels, task.deadline_s, task.retries, threading.Event(), root
            )
        return _runners[task.batch]


def end_batch(batch: str) -> None:
    """Forget a batch; symbols of it that still run here are killed and leave nothing."""
    with _lock:
        runner = _runners.pop(batch, None)
    if runner is not None:
        runner.stop.set()
        runner.kill_all()


def look(code: Mapping[str, str], data_dir: str, sizes: Mapping[str, int]) -> str:
    """What keeps this worker from running symbols of a driver, in one line; empty if nothing.

    ``sizes``: of some files of the data folder, by path in it.
    """
    difference = difference_of(code, _CODE)
    if difference:
        return difference
    folder = backtest_folder(data_dir)
    if not folder.is_dir():
        return f"there is no folder {folder}; {_DATA}"
    for name, size in sizes.items():
        assert isinstance(folder, Path), "only files on disk come with a size"
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            return f"{folder / name} can't be read there ({error.strerror}); {_DATA}"
        if found != size:
            return f"{folder / name} is another file there ({found} bytes, here {size}); {_DATA}"
    return ""


_DATA = "--data-dir must be a folder that all workers see under the same path, or a URL"


def difference_of(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """How a worker's code differs from the driver's, in one line; empty if it doesn't."""
    for name in sorted({*here, *there}):
        one, other = here.get(name, "none"), there.get(name, "none")
        if one != other and name.startswith("mm"):
            return "runs another version of mm/ or the template; update it and restart the worker"
        if one != other:
            return f"has {name} {other}, the driver {one}; install the same and restart the worker"
    return ""
