"""Warm kernels if they prove themselves, stock kernels if not."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from mm.pipeline.kernels.fork_client import ForkServer
from mm.pipeline.kernels.kernel import Kernel, KernelError, make_directory
from mm.pipeline.kernels.papermill_import import forget, import_lean

logger = logging.getLogger(__name__)

PROOF_TIMEOUT_S = 60.0
PROOF = """\
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
print(6 * 7)"""
# A forked kernel can have no more threads than the process it comes from: one. A fresh kernel gets
# the same, so that sums are the same to the last digit; the batch's jobs use the other cores.
SINGLE_THREADED = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR")}


class Kernels:
    """Starts kernels, from any thread: forked ones as long as that works, then stock ones.

    Parameters
    ----------
    modules
        What to load before forking: "module" or "module:function", which is then called. Empty
        for stock kernels.
    env
        Environment of the kernels, by default this process's; numerical threads are set to one.
    """

    def __init__(self, modules: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.env = {**(os.environ if env is None else env), **SINGLE_THREADED}
        self.warm = bool(modules)
        #: Private; it goes with the kernels, on Linux also where this process is killed.
        self.directory = make_directory()
        self._lock = threading.Lock()
        self._stopped = False
        self._server: ForkServer | None = None
        self._serve(modules)

    @staticmethod
    def supported() -> bool:
        """Whether there are warm kernels here, and a process that ends kernels after this one."""
        return sys.platform == "linux"

    def _serve(self, modules: Sequence[str]) -> None:
        """Start the process beside this one; without memory for it there is none."""
        if self.supported():
            with contextlib.suppress(OSError):
                self._server = ForkServer(modules, self.env, self.directory)

    def start(
        self, cwd: str | os.PathLike[str] = ".", env: Mapping[str, str] | None = None
    ) -> Kernel:
        """A new kernel for one notebook, with these variables in addition.

        Raises KernelError if none can be started, or after `stop`, when nobody would end it.
        """
        if self._stopped:
            raise KernelError("the kernels were stopped")
        env = {**self.env, **(env or {})}
        if self.warm:
            try:
                return self._fork(cwd, env)
            # Whatever it is: a library that has changed, no memory, a server that is gone.
            except Exception as error:
                self._cool(error)
        try:
            return Kernel(self.directory, env, cwd)
        except OSError as error:
            raise KernelError(f"no kernel can be started: {_one_line(error)}") from error

    def _fork(self, cwd: str | os.PathLike[str], env: Mapping[str, str]) -> Kernel:
        from mm.pipeline.kernels.forked import ForkedKernel

        if self._server is None:
            raise KernelError("they need Linux" if not self.supported() else "no memory for them")
        return ForkedKernel(self._server, self.directory, env, cwd)

    def _cool(self, error: Exception) -> None:
        """Go on with stock kernels after one line that says why; those that are forked run on."""
        with self._lock:
            if not self.warm or self._stopped:
                return
            self.warm = False
            logger.warning("stock kernels instead of warm ones: %s", _one_line(error))
            if self._server is not None and self._server.process.poll() is not None:
                self._serve(())

    def prove(self) -> None:
        """Run one cell with one figure in a forked kernel, as a notebook would be run.

        Raises whatever goes wrong, KernelError if the outputs are not as they should be.
        """
        import_lean()  # while the modules are loaded on another core
        import nbformat.v4
        import papermill

        with self._fork(".", self.env) as kernel:
            v4: Any = nbformat.v4
            notebook = v4.new_notebook(cells=[v4.new_code_cell(PROOF)])
            late = threading.Timer(PROOF_TIMEOUT_S, kernel.kill)
            late.start()
            try:
                done = papermill.execute_notebook(
                    notebook, None, language="python", **kernel.options
                )
            except Exception as error:
                why = f"a test cell failed: {_one_line(error)} ({kernel.ending})"
                raise KernelError(why) from error
            finally:
                late.cancel()
        outputs = done.cells[0].outputs
        if not any("image/png" in output.get("data", {}) for output in outputs):
            raise KernelError("a test figure did not appear")
        if not any(output.get("text") == "42\n" for output in outputs):
            raise KernelError("a test cell's text did not appear")

    def stop(self) -> None:
        """Kill all kernels and remove their files."""
        with self._lock:
            self._stopped = True
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _one_line(error: Exception) -> str:
    name = "" if isinstance(error, KernelError) else f"{type(error).__name__}: "
    return name + (f"{error}".strip().splitlines() or [""])[-1]


@contextlib.contextmanager
def open_kernels(
    kind: Literal["warm", "stock"] = "warm",
    modules: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Kernels]:
    """Open kernels of this kind; stock ones, with one line in the log, if warm ones fail a test.

    At the end every kernel is dead and its files are gone.
    """
    kernels = Kernels(modules if kind == "warm" else (), env)
    try:
        if kind == "warm":
            try:
                kernels.prove()
            except Exception as error:
                logger.warning("stock kernels instead of warm ones: %s", _one_line(error))
                kernels.stop()
                forget()
                kernels = Kernels((), env)
        yield kernels
    finally:
        kernels.stop()
