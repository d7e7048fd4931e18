"""
The process beside a batch: it forks kernels, and ends them all when its owner is gone.

    python -m mm.pipeline.kernels.fork_server FD OWNER DIRECTORY [MODULE[:FUNCTION] ...]

It loads the modules once. Then each message `fork` on the socket FD carries two descriptors: a
connection and a standard error. The server reads one line from the connection, [ARGUMENTS,
ENVIRONMENT, CWD] as JSON, forks a kernel and answers with its pid, and in the end with its exit
status (4 bytes each, as in Popen.returncode). The kernel's whole process group is killed when it
has ended or its connection is closed.

When the socket is closed, or the owner, process OWNER, is gone, it kills all kernels, also stock
ones by the numbers in DIRECTORY/*.pid, removes the directory and ends. It has one thread, no event
loop and no ZMQ context: what a fork can't copy is never there.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from mm.pipeline.kernels.fork_client import FORK, INT
from mm.pipeline.kernels.kernel import kill_group

PR_SET_PDEATHSIG = 1


class Server:
    """The kernels that run, by pid: a connection, and a descriptor that says when it has ended."""

    def __init__(self, control: socket.socket, owner: int) -> None:
        self._control, self._owner = control, owner
        self._kernels: dict[int, tuple[socket.socket, int]] = {}

    def serve(self) -> tuple[str, int] | None:
        """Return twice, as fork does: a request and a standard error in every kernel, else None.

        So a kernel runs on a clean stack and ends as any Python program does.
        """
        while True:
            watched = {fd: pid for pid, pair in self._kernels.items() for fd in pair}
            ready = select.select([self._control, self._owner, *watched], [], [])[0]
            if self._owner in ready:
                break
            for pid in {watched[fd] for fd in ready if fd in watched}:
                self._end(pid)
            if self._control in ready:
                message, fds, _, _ = socket.recv_fds(self._control, len(FORK), 2)
                if message != FORK:
                    break
                connection = socket.socket(fileno=fds[0])
                with connection.makefile() as stream:
                    request = stream.readline()
                if request and self._fork(connection):
                    return request, fds[1]
                os.close(fds[1])
        for pid in list(self._kernels):
            self._end(pid)
        return None

    def _fork(self, connection: socket.socket) -> bool:
        """Whether this is the child."""
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"fork: {error.strerror}", file=sys.stderr, flush=True)
            connection.close()
            return False
        if pid == 0:
            die_with(server)
            for other, pidfd in self._kernels.values():
                other.close()
                os.close(pidfd)
            for mine in (connection, self._control):
                mine.close()
            os.close(self._owner)
            return True
        self._kernels[pid] = connection, os.pidfd_open(pid)
        with contextlib.suppress(OSError):  # a connection that is closed is noticed when it is read
            connection.sendall(INT.pack(pid))
        return False

    def _end(self, pid: int) -> None:
        """Kill a kernel, or what is left of its group, and say how it ended."""
        # Not reaped yet, the leader keeps its group's number from being given away.
        kill_group(pid)
        os.kill(pid, signal.SIGKILL)  # it may not have its group yet
        _, status = os.waitpid(pid, 0)
        connection, pidfd = self._kernels.pop(pid)
        os.close(pidfd)
        with connection, contextlib.suppress(OSError):
            connection.sendall(INT.pack(os.waitstatus_to_exitcode(status)))


def die_with(parent: int) -> None:
    """In a child: have a session of its own, and die with its parent."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def take_over(request: str, stderr: int, added: dict[str, str]) -> list[str]:
    """In a child: be what the owner asks for; returns the kernel's arguments."""
    arguments, env, cwd = json.loads(request)
    for fd in (1, 2):
        os.dup2(stderr, fd)
    os.close(stderr)
    os.environ.clear()
    # JPY_PARENT_PID is what jupyter_client sets: ipykernel ends when that parent does.
    os.environ.update({**added, **env, "JPY_PARENT_PID": str(os.getppid())})
    os.chdir(cwd)
    return list(arguments)


def clear(directory: str) -> None:
    """Kill the stock kernels and remove the directory."""
    for _ in range(100):  # they may take a moment to die, and write meanwhile
        for path in Path(directory).glob("*.pid"):
            kill_group(int(path.read_text()))
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            return
        time.sleep(0.05)


def main(fd: int, owner_pid: int, directory: str, modules: list[str]) -> None:
    """Warm up and serve; in every child become the kernel."""
    from mm.pipeline.kernels import warmth

    for number in (signal.SIGINT, signal.SIGTERM):  # the owner's to act upon
        signal.signal(number, signal.SIG_IGN)
    try:
        owner = os.pidfd_open(owner_pid)
    except ProcessLookupError:
        clear(directory)
        return
    given = set(os.environ)
    if modules:
        warmth.preload(modules)
    # A kernel has what the modules set as if it had loaded them itself.
    added = {name: os.environ[name] for name in os.environ.keys() - given}
    forked = Server(socket.socket(fileno=fd), owner).serve()
    if forked is None:
        clear(directory)
    else:
        warmth.become_kernel(take_over(*forked, added))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
