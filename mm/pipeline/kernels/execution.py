"""One notebook's kernel: what papermill needs to start it, what the driver needs to stop it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mm.pipeline.kernels.process import KeptProcess
from mm.pipeline.kernels.protocol import SOCKET_NAME, Request, kill_group

logger = logging.getLogger(__name__)
_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """Where kernels are started: a private directory, and the keeper's socket in it if it lives.

    Attributes
    ----------
    directory : str
        For sockets and connection files; private, its path short.
    keeper_alive : callable
        Whether to ask the keeper.
    fork : bool
        Whether to fork from it, or to have it start a fresh Python.
    """

    directory: str
    keeper_alive: Callable[[], bool]
    fork: bool


class Execution:
    """The kernel of one `papermill.execute_notebook`, usable once and from any thread.

    Attributes
    ----------
    how : str or None
        How the kernel was started: "forked", "spawned" by the keeper, or "plain" by this process;
        None before.
    """

    def __init__(self, place: Place, env: Mapping[str, str], cwd: str | os.PathLike[str]) -> None:
        self.env = dict(env)
        self.cwd = str(Path(cwd).absolute())
        self.how: str | None = None
        # Short, and unique among the processes that share the directory.
        self.stem = f"{place.directory}/{os.getpid():x}.{next(_numbers):x}"
        self._place = place
        self._lock = threading.Lock()
        self._killed = False
        self._process: KeptProcess | subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The kernel's pid, process group and session; None before it starts."""
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """As Popen.returncode: None while the kernel runs or before it starts, -N for signal N."""
        return self._process.poll() if self._process else None

    @property
    def obituary(self) -> str:
        """How the kernel ended, for a reader: "killed by SIGKILL", "exited with status 3"."""
        status = self.exit_status
        if status is None:
            return "still running" if self._process else "never started"
        if status >= 0:
            return f"exited with status {status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"

    def kill(self) -> None:
        """Kill the kernel and all it started, now or as soon as it starts; never raises."""
        with self._lock:
            self._killed = True
            if isinstance(self._process, KeptProcess):
                self._process.kill()
            elif self._process is not None and self._process.poll() is None:
                kill_group(self._process.pid, signal.SIGKILL)

    def tidy(self) -> None:
        """Remove the sockets and the temporary directory that a killed kernel leaves."""
        stem = Path(self.stem)
        for path in stem.parent.glob(f"{stem.name}[-.]*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def adopt(self, process: KeptProcess | subprocess.Popen[bytes], how: str) -> None:
        """Take note of the started kernel; kill it if that was asked for before."""
        with self._lock:
            self._process, self.how = process, how
            killed = self._killed
        if killed:
            self.kill()

    def start(self, argv: list[str], env: Mapping[str, str], cwd: str) -> KeptProcess | None:
        """Start a kernel by the keeper; None if it can't, after one line in the log."""
        if not self._place.keeper_alive():
            return None
        request = Request(argv, dict(env), cwd, fork=self._place.fork)
        try:
            process = KeptProcess(f"{self._place.directory}/{SOCKET_NAME}", request)
        except OSError as error:
            logger.warning("no kernel from the kernel server (%s): starting it plainly", error)
            return None
        self.adopt(process, "forked" if request.fork else "spawned")
        return process
