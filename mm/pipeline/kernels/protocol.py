"""
What the process that starts kernels and its clients agree upon.

A connection to DIRECTORY/socket is one kernel. The client sends a request as one JSON line and gets
the pid (4 bytes, network order), which is also the kernel's process group and session. Each further
byte it sends is a signal for the whole group; closing the connection kills the group. When the
kernel ends its exit status comes (4 bytes, as in `Popen.returncode`). Signals go to the process
that reaps, so none can reach a number that was given away meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from dataclasses import asdict, dataclass

INT = struct.Struct("!i")
SOCKET_NAME = "socket"
# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero among them.
SOCKET_PATH_MAX = 103
LONGEST_NAME = "/mmk-12345678/3fffff.ffffff-99-pipe"


@dataclass(frozen=True)
class Request:
    """One kernel to start: a command and its whole environment, to be forked or executed."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    fork: bool

    def encode(self) -> bytes:
        """One line; undecodable bytes in names and values survive as ASCII escapes."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Request:
        """Raise ValueError or TypeError for anything but a whole request."""
        return cls(**json.loads(line))


def make_directory() -> str:
    """Make a new private directory whose path leaves room for the sockets' names."""
    room = SOCKET_PATH_MAX - len(LONGEST_NAME)
    bases = [tempfile.gettempdir(), "/tmp"]  # noqa: S108  made with mkdtemp, for a short path
    for base in bases:
        if len(os.fsencode(base)) <= room and os.access(base, os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix="mmk-", dir=base)
    raise OSError(f"no writable temporary directory with a path of at most {room} bytes: {bases}")


def kill_group(pid: int, number: int) -> None:
    """Signal a kernel's process group; the process itself while it hasn't its group yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)
