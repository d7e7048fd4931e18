"""A kernel that another process started, with the part of Popen's surface that jupyter uses."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import threading

from mm.pipeline.kernels.protocol import INT, Request, kill_group

START_TIMEOUT_S = 10.0


class KeptProcess:
    """A kernel at the other end of a connection to the keeper.

    Safe to use from several threads: the driver kills while papermill's thread polls.

    Attributes
    ----------
    pid : int
        Also the number of its process group and session.
    returncode : int or None
        As in Popen: None while it runs, -N after signal N.
    """

    stdin = stdout = stderr = None

    def __init__(self, socket_path: str, request: Request) -> None:
        """Ask for a kernel; raise OSError if the keeper does not give one."""
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.settimeout(START_TIMEOUT_S)
            self._connection.connect(socket_path)
            self._connection.sendall(request.encode())
            answer = self._connection.recv(INT.size, socket.MSG_WAITALL)
            if len(answer) < INT.size:
                raise ConnectionError("the keeper closed the connection")
        except OSError:
            self._connection.close()
            raise
        self._connection.settimeout(None)
        (self.pid,) = INT.unpack(answer)

    def poll(self) -> int | None:
        """Return the exit status, or None while the kernel runs."""
        with self._lock:
            if self.returncode is None and self._readable(0):
                answer = b""
                with contextlib.suppress(OSError):
                    answer = self._connection.recv(INT.size, socket.MSG_WAITALL)
                self._connection.close()
                if len(answer) == INT.size:
                    (self.returncode,) = INT.unpack(answer)
                else:
                    # The keeper is dead, and its kernels with it; what they started may live on.
                    self.returncode = -signal.SIGKILL
                    kill_group(self.pid, signal.SIGKILL)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the kernel to end; raise subprocess.TimeoutExpired if it does not in time."""
        if self.returncode is None:
            self._readable(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(f"kernel {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Have the keeper signal the kernel's whole process group."""
        with self._lock, contextlib.suppress(OSError):
            if self.returncode is None:
                self._connection.sendall(bytes([number]))

    def kill(self) -> None:
        """Kill the process group."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process group to end."""
        self.send_signal(signal.SIGTERM)

    def _readable(self, timeout: float | None) -> bool:
        # poll and not select: the number of a descriptor may be above 1024 in a large driver.
        poller = select.poll()
        try:
            poller.register(self._connection, select.POLLIN)
        except ValueError:  # closed meanwhile by another thread's poll()
            return True
        return bool(poller.poll(None if timeout is None else timeout * 1000))
