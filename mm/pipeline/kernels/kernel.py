"""One notebook's kernel, as jupyter_client starts it: its files, how it ended, what it said."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_numbers = itertools.count()

# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero among them.
SOCKET_PATH_MAX = 103
LONGEST_NAME = "/mmk-12345678/3fffff.ffffff-99-pipe"
LAST_CHARS = 300
END_TIMEOUT_S = 10.0


class KernelError(RuntimeError):
    """No kernel can be started, or none of this kind; the message is one line and says why."""


class Kernel:
    """A running kernel for one `papermill.execute_notebook(…, **kernel.options)`.

    A context manager: at its end the kernel is dead with all it started, and its files are gone.
    `kill` is for any thread. Its group's number is in STEM.pid, for whoever outlives this process.
    """

    #: How it was started.
    how = "stock"

    def __init__(self, directory: str, env: Mapping[str, str], cwd: str | os.PathLike[str]) -> None:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        # Short, and unique among the processes that share the directory.
        self.stem = f"{directory}/{os.getpid():x}.{next(_numbers):x}"
        # A directory of its own: kernels end by SIGKILL and can tidy nothing.
        env = {**env, "TMPDIR": f"{self.stem}.tmp"}
        Path(env["TMPDIR"]).mkdir(0o700)
        self.stderr = Path(f"{self.stem}.stderr")
        self._clients: list[Any] = []
        clients = self._clients

        class Manager(AsyncKernelManager):
            """Papermill leaves the client open where it was given the manager."""

            def client(self, **options: Any) -> Any:
                clients.append(super().client(**options))
                return clients[-1]

        self.manager = Manager(
            kernel_name="python3",
            # Without the user's kernelspecs, which may point anywhere: this Python's only.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=f"{self.stem}.json",
            log=logging.getLogger("papermill"),  # what it logs is raised too
        )
        if sys.platform != "win32":  # ZMQ has no other transport there
            self.manager.transport, self.manager.ip = "ipc", self.stem
        self._choose_provisioner()
        with self.stderr.open("ab") as log:
            options = {"env": env, "cwd": str(Path(cwd).absolute()), "stdout": log, "stderr": log}
            memory = ["--HistoryManager.hist_file=:memory:"]  # as nbclient starts them
            starting: Any = self.manager.start_kernel(extra_arguments=memory, **options)
            asyncio.run(starting)
        provisioner: Any = self.manager.provisioner
        self._process: subprocess.Popen[bytes] = provisioner.process
        #: Also the number of its process group and session.
        self.pid: int = self._process.pid
        Path(f"{self.stem}.pid").write_text(str(self.pid))

    def _choose_provisioner(self) -> None:
        """Leave it to jupyter_client."""

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for papermill, without a `cwd`: that would change the whole process's.

        The kernel is this Python's, whatever kernelspec the notebook names.
        """
        return {
            "km": self.manager,
            "kernel_name": "python3",
            "shell_timeout_interval": 1,  # seconds until a dead kernel is noticed between cells
            "iopub_timeout": 60,  # 4 s fail on a crowded machine; a dead kernel is seen sooner
            "progress_bar": False,
        }

    @property
    def status(self) -> int | None:
        """As Popen.returncode: None while it runs, -N after signal N."""
        return self._process.poll()

    @property
    def ending(self) -> str:
        """How it ended, and what it said last: "killed by SIGSEGV; it last wrote: …"."""
        status = self.status
        if status is None:
            return "still running"
        text = f"exited with status {status}"
        if status < 0:
            text = f"killed by signal {-status}"
            with contextlib.suppress(ValueError):
                text = f"killed by {signal.Signals(-status).name}"
        said = last_lines(self.stderr)
        return f"{text}; it last wrote: {said}" if said else text

    def kill(self) -> None:
        """Kill it and all it started; never raises."""
        if sys.platform == "win32":
            self._process.kill()
        else:  # also when it has ended: what it started may not have
            kill_group(self.pid)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        for client in self._clients:
            client.stop_channels()
            client.context.destroy(linger=0)
        cleaning: Any = self.manager.cleanup_resources()
        asyncio.run(cleaning)
        stem = Path(self.stem)
        for path in stem.parent.glob(f"{stem.name}[-.]*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def make_directory() -> str:
    """Make a new private directory whose path leaves room for the sockets' names."""
    room = SOCKET_PATH_MAX - len(LONGEST_NAME)
    bases = [tempfile.gettempdir(), "/tmp"]  # noqa: S108  made with mkdtemp, for a short path
    for base in bases:
        if len(os.fsencode(base)) <= room and os.access(base, os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix="mmk-", dir=base)
    raise KernelError(
        f"no writable temporary directory with a path of at most {room} bytes: {bases}"
    )


def last_lines(path: Path, count: int = 3) -> str:
    """The last lines of a log, or those of a crash there, as one; empty if there are none."""
    with contextlib.suppress(OSError), path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 65536))
        lines = [" ".join(line.split()) for line in log.read().decode(errors="replace").split("\n")]
        lines = [line for line in lines if line]
        crash = (at for at, line in enumerate(lines) if line.startswith("Fatal Python error"))
        return " | ".join(lines[next(crash, -count) :][:count])[:LAST_CHARS]
    return ""


def kill_group(pid: int) -> None:
    """Kill a process group, if there still is one of this number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
