"""
An IPython kernel that listens on Unix sockets only; run as a file, in place of ipykernel_launcher.

ipykernel 7.4 keeps one TCP socket even when all its channels are Unix sockets: the one on which
processes forked by a cell send what they print. It moves beside the others here. If a later version
does this another way the change has no effect, and `test_nothing_listens_on_tcp` tells.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__" and Path(sys.path[0]) == Path(__file__).parent:
    del sys.path[0]  # this directory; ipykernel puts the notebook's in

import zmq
from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread
from zmq.eventloop.zmqstream import ZMQStream


class UnixIOPubThread(IOPubThread):
    """Takes the output of forked processes on a Unix socket next to its own."""

    _address: str

    def _setup_pipe_in(self) -> None:
        endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if not endpoint.startswith("ipc://"):
            super()._setup_pipe_in()  # type: ignore[no-untyped-call]
            return
        self._address = f"{endpoint}-pipe"
        self._pipe_uuid = os.urandom(16)
        pipe_in = self.socket.context.socket(zmq.PULL)
        pipe_in.linger = 0
        pipe_in.bind(self._address)
        self._pipe_in = ZMQStream(pipe_in, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def _setup_pipe_out(self) -> Any:
        if not hasattr(self, "_address"):
            return super()._setup_pipe_out()  # type: ignore[no-untyped-call]
        context = zmq.Context()  # a fork can't use its parent's
        pipe_out = context.socket(zmq.PUSH)
        pipe_out.linger = 3000  # ms, as in the base class
        pipe_out.connect(self._address)
        return context, pipe_out


def run(argv: list[str], **options: Any) -> None:
    """Run a kernel with these command line arguments until it is told to end."""
    kernelapp.IOPubThread = UnixIOPubThread  # type: ignore[attr-defined]
    app: Any = kernelapp.IPKernelApp.instance(**options)
    app.initialize(argv)
    app.start()


if __name__ == "__main__":
    run(sys.argv[1:])
