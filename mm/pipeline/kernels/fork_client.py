"""The driver's side of the fork server: start it, ask it for kernels, end it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import mm
from mm.pipeline.kernels.kernel import END_TIMEOUT_S, KernelError, kill_group, last_lines

#: Until a kernel is there; the first waits for the modules.
START_TIMEOUT_S = 60.0
FORK = b"fork"
INT = struct.Struct("!i")


class ForkedProcess:
    """A forked kernel, with the part of Popen's surface that jupyter_client uses.

    Safe to use from several threads: the driver kills while papermill's thread polls.
    """

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """As Popen's."""
        with self._lock:
            if self.returncode is None:
                answer = b""
                try:
                    answer = self._connection.recv(INT.size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return None
                except OSError:
                    pass
                self._connection.close()
                if len(answer) == INT.size:
                    (self.returncode,) = INT.unpack(answer)
                else:  # its parent was killed, and it with it; what it started may live on
                    self.returncode = -signal.SIGKILL
                    kill_group(self.pid)
            return self.returncode

    def wait(self, timeout: float = END_TIMEOUT_S) -> int:
        """As Popen's."""
        give_up = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(f"kernel {self.pid}", timeout)
            time.sleep(0.005)
        return status

    def kill(self) -> None:
        """Kill the process group: its parent does when this end says no more."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def send_signal(self, number: int) -> None:
        """Kill, if that is asked for; jupyter_client interrupts a kernel before it kills it."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.kill()


class ForkServer:
    """The process `fork_server`, which forks kernels that have the modules loaded.

    Without modules it forks none, and is there to outlive this process: when this one ends, however
    it ends, the kernels end and the directory goes. Starting returns at once.
    """

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], directory: str) -> None:
        self._log = Path(directory, "server.stderr")
        env = {
            **env,
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # its warning is none of a warm process
        }
        for name in ("MPLBACKEND", "PYTHONSAFEPATH"):  # the kernels still get theirs
            env.pop(name, None)
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = "mm.pipeline.kernels.fork_server"
        arguments = [str(its.fileno()), str(os.getpid()), directory, *modules]
        with its, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[its.fileno()],
                cwd=Path(str(mm.__file__)).parents[1],
                env=env,
                start_new_session=True,  # a Ctrl-C is the driver's to act upon
            )

    def fork(
        self, arguments: list[str], env: Mapping[str, str], cwd: str, stderr: IO[Any]
    ) -> ForkedProcess:
        """Fork a kernel with these arguments. Raises KernelError if that fails."""
        ours, its = socket.socketpair()
        try:
            with its:
                socket.send_fds(self._control, [FORK], [its.fileno(), stderr.fileno()])
            ours.settimeout(START_TIMEOUT_S)
            ours.sendall(json.dumps([arguments, dict(env), cwd]).encode() + b"\n")
            answer = ours.recv(INT.size, socket.MSG_WAITALL)
            if len(answer) < INT.size:
                raise ConnectionError
        except TimeoutError:
            why = f"it was not ready in {START_TIMEOUT_S:g} s"
        except OSError:
            try:
                why = f"it ended with status {self.process.wait(1.0)}"
            except subprocess.TimeoutExpired:
                why = "it could not fork"
        else:
            ours.settimeout(None)
            return ForkedProcess(ours, *INT.unpack(answer))
        ours.close()
        said = last_lines(self._log, 1)
        raise KernelError(
            f"no kernel from the kernel server: {why}" + (f" ({said})" if said else "")
        )

    def stop(self) -> None:
        """End it, and its kernels with it."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._control.close()
