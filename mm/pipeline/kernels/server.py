"""The owner of the process that starts kernels: start it, let it prove itself, stop it."""

from __future__ import annotations

import logging
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import mm
from mm.pipeline.kernels.execution import Execution, Place
from mm.pipeline.kernels.protocol import make_directory

logger = logging.getLogger(__name__)

WARM_MODULES = ("numpy", "pandas", "matplotlib.pyplot")
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
# A forked kernel can have no more threads than the process it comes from: one. A fresh kernel gets
# the same, so that sums are the same to the last digit; the batch's jobs use the other cores.
SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}


class WarmKernelError(RuntimeError):
    """Warm kernels can't be used here; the message is one line and says why."""


def kernel_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the given environment (default: this process's) with numerical threads set to one."""
    return {**(os.environ if env is None else env), **SINGLE_THREADED}


class Kernels:
    """Starts kernels: forked from a process that has `modules` loaded, or fresh ones without any.

    A context manager. Starting returns at once; the process loads its modules meanwhile, and is
    waited for when first needed. When this process ends, however it ends, the kernels end.

    Parameters
    ----------
    modules
        What to load before forking: "module" or "module:function", which is then called. Empty
        for fresh ("stock") kernels.
    env
        Environment of the kernels unless an execution has its own; see `kernel_env`.
    """

    def __init__(
        self, modules: Sequence[str] = WARM_MODULES, env: Mapping[str, str] | None = None
    ) -> None:
        self.modules = tuple(modules)
        self.env = kernel_env(env)
        self._lock = threading.Lock()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._dead = self._stopped = False
        self._log: IO[bytes] | None = None
        self._place: Place | None = None

    @staticmethod
    def supported() -> bool:
        """Whether there is a keeper on this system, and so warm kernels: on Linux."""
        return sys.platform == "linux"

    def __enter__(self) -> Kernels:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; do nothing where it isn't supported."""
        if not self.supported() or self._keeper:
            return
        env = self.env | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
        for name in ("MPLBACKEND", "PYTHONSAFEPATH"):  # the kernels still get theirs
            env.pop(name, None)
        self._log = os.fdopen(os.memfd_create("kernels"), "rb")
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "mm.pipeline.kernels.forkserver", *self.modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=Path(str(mm.__file__)).parents[1],
            env=env,
            start_new_session=True,  # a Ctrl-C is the driver's to act upon
        )

    def execution(
        self, cwd: str | os.PathLike[str] = ".", env: Mapping[str, str] | None = None
    ) -> Execution:
        """Return a new kernel's handle, for one notebook.

        Given `env`, that is the kernel's whole environment. Else it is this object's with a
        temporary directory of its own, removed after the kernel: kernels end by SIGKILL and can
        tidy nothing.
        """
        execution = Execution(self._ready(), self.env if env is None else env, cwd)
        if env is None:
            execution.env["TMPDIR"] = f"{execution.stem}.tmp"
            Path(execution.env["TMPDIR"]).mkdir(0o700)
        return execution

    @property
    def directory(self) -> str:
        """A private directory that goes with the kernels, also where this process is killed."""
        return self._ready().directory

    def _ready(self) -> Place:
        """Wait for the process to load its modules; raise WarmKernelError if it fails to."""
        with self._lock:
            if self._stopped:  # a thread that goes on would have a directory that nobody removes
                raise WarmKernelError("the kernels were stopped")
            if self._place is None:
                self._place = self._wait() if self._keeper else Place(make_directory(), bool, False)
            return self._place

    def _wait(self) -> Place:
        keeper = self._keeper
        assert keeper is not None
        assert keeper.stdout is not None
        answered = select.select([keeper.stdout], [], [], READY_TIMEOUT_S)[0]
        report = keeper.stdout.readline().decode().strip() if answered else ""
        word, _, rest = report.partition(" ")
        if word == "ready":
            return Place(rest, self._alive, fork=bool(self.modules))
        if word == "failed":
            raise WarmKernelError(f"the kernel server can't start: {rest}")
        if not answered:
            late = f"the kernel server was not ready in {READY_TIMEOUT_S:g} s"
            raise WarmKernelError(late + self._last_words())
        status = keeper.wait(STOP_TIMEOUT_S)
        raise WarmKernelError(f"the kernel server ended with status {status}{self._last_words()}")

    def _alive(self) -> bool:
        """Whether the process runs; one line in the log when it is first seen dead."""
        with self._lock:
            if self._keeper is None or self._dead:
                return False
            status = self._keeper.poll()
            self._dead = status is not None
        if self._dead:
            logger.warning(
                "the kernel server ended with status %s: plain kernels now%s",
                status,
                self._last_words(),
            )
        return not self._dead

    def stop(self) -> None:
        """Kill all kernels, end the process and remove the directory; safe to call twice."""
        with self._lock:
            self._stopped = True
            keeper, self._keeper = self._keeper, None
        if keeper and keeper.stdin and keeper.stdout:
            keeper.stdin.close()
            try:
                keeper.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()
            keeper.stdout.close()
        if self._place:
            shutil.rmtree(self._place.directory, ignore_errors=True)
            self._place = None
        if self._log:
            self._log.close()

    def _last_words(self) -> str:
        """The last line that the process and its kernels wrote on standard error, to be added to
        a message; empty if there is none."""
        if not self._log or self._log.closed:
            return ""
        log = self._log.fileno()  # its position is the writers' too: leave it alone
        text = os.pread(log, 4096, max(0, os.fstat(log).st_size - 4096)).decode(errors="replace")
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        return f" (its last words: {lines[-1][-300:]})" if lines else ""
