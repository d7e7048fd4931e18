"""
The process that starts kernels, outlives them all and never its owner.

    python -m mm.pipeline.kernels.forkserver [MODULE[:FUNCTION] ...]

With modules it loads them once and forks an IPython kernel per request that has them already;
without, it starts the command that the request names. Either way it is the parent of every kernel:
when the owner's end of stdin closes or the owner is gone, it kills all kernels with everything they
started, removes its directory and ends. It prints one line: `ready DIRECTORY` or `failed WHY`.
It has one thread, no event loop and no ZMQ context: what a fork can't copy is never there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import socket
import sys
from pathlib import Path

from mm.pipeline.kernels.protocol import INT, SOCKET_NAME, Request, kill_group, make_directory

PR_SET_PDEATHSIG = 1
REQUEST_TIMEOUT_S = 5.0


class Keeper:
    """The running kernels and the socket on which more are asked for."""

    def __init__(self, directory: str, env_of_modules: dict[str, str]) -> None:
        self.pid = os.getpid()
        self.kernels: dict[int, socket.socket] = {}
        self.stopping = False
        self._env_of_modules = env_of_modules
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._selector = selectors.DefaultSelector()
        path = Path(directory, SOCKET_NAME)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(128)
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The byte that a handled signal leaves in the pipe wakes the selector.
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        self._owner_fds = [sys.stdin.fileno()]
        # A process that the owner forked may hold its end of stdin open, but not its pidfd.
        with contextlib.suppress(AttributeError, OSError):
            self._owner_fds.append(os.pidfd_open(os.getppid()))
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._reap)
        for fd in self._owner_fds:
            self._selector.register(fd, selectors.EVENT_READ, self._stop)

    def serve(self) -> Request | None:
        """Return twice, as fork does: its request in every kernel, None here at the end.

        So a kernel runs on a clean stack and ends as any Python program does.
        """
        while not self.stopping:
            for key, _ in self._selector.select():
                request: Request | None = key.data()
                if request is not None:
                    return request
        for pid in self.kernels:
            kill_group(pid, signal.SIGKILL)
        for pid in list(self.kernels):
            self._bury(pid)
        return None

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _accept(self) -> Request | None:
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            with connection.makefile("rb") as stream:
                request = Request.decode(stream.readline())
        except (OSError, ValueError, TypeError):
            connection.close()
            return None
        connection.settimeout(None)
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._leave_for(request)
            return request
        self.kernels[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._signal(pid))
        with contextlib.suppress(OSError):
            connection.sendall(INT.pack(pid))
        return None

    def _signal(self, pid: int) -> None:
        """Pass on the signals that the client sent; without a client there is no kernel."""
        connection = self.kernels.get(pid)
        if connection is None:  # reaped since this event was taken from the selector
            return
        try:
            signals = connection.recv(64)
        except OSError:
            signals = b""
        if not signals:
            self._selector.unregister(connection)
        for number in signals or [signal.SIGKILL]:
            kill_group(pid, number)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        while self.kernels:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            self._bury(ended.si_pid)

    def _bury(self, pid: int) -> None:
        # Not reaped yet, the leader keeps its group's number from being given away.
        kill_group(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        connection = self.kernels.pop(pid, None)
        if connection is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(INT.pack(os.waitstatus_to_exitcode(status)))
        connection.close()

    def _leave_for(self, request: Request) -> None:
        """In the fresh child: keep nothing of the keeper's, take all that the request says."""
        os.setsid()
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.pid:  # the keeper died before the line above
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # Ignored until ipykernel takes over; a command starts as from a shell.
        signal.signal(signal.SIGINT, signal.SIG_IGN if request.fork else signal.SIG_DFL)
        self._selector.close()
        self._listener.close()
        for connection in self.kernels.values():
            connection.close()
        for fd in (self._wake_r, self._wake_w, *self._owner_fds[1:]):
            os.close(fd)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, sys.stdin.fileno())
        os.close(null)
        os.environ.clear()
        if request.fork:  # as if it had loaded them itself
            os.environ.update(self._env_of_modules)
        # What jupyter_client sets for its own kernels: ipykernel ends when this parent does.
        os.environ.update(request.env, JPY_PARENT_PID=str(self.pid))
        os.chdir(request.cwd)


def tell(fd: int, line: str) -> None:
    """Write the only line; an owner who is gone already is noticed when serving, not here."""
    with contextlib.suppress(BrokenPipeError):
        os.write(fd, f"{line}\n".encode())
    os.close(fd)


def main(modules: list[str]) -> None:
    """Warm up and serve; in every child become the kernel."""
    report = os.dup(1)
    os.dup2(2, 1)  # what modules print while they load is not the report
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = set(os.environ)
    directory = None
    try:
        if modules:
            from mm.pipeline.kernels import warmth

            warmth.preload(modules)
        added = {name: os.environ[name] for name in os.environ.keys() - given}
        directory = make_directory()
        keeper = Keeper(directory, added)
    except BaseException as error:
        why = f"{type(error).__name__}: {error}".replace("\n", " ")
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        tell(report, f"failed {why}")
        raise
    tell(report, f"ready {directory}")
    request = keeper.serve()
    if request is None:
        shutil.rmtree(directory, ignore_errors=True)
    elif request.fork:
        from mm.pipeline.kernels import warmth

        warmth.become_kernel(request.argv)
    else:
        os.execvp(request.argv[0], request.argv)


if __name__ == "__main__":
    main(sys.argv[1:])
