"""
The one place that knows private names of a library: no TCP socket in a forked kernel.

ipykernel 7.4 keeps one even when all its channels are Unix sockets: the one on which processes
forked by a cell send what they print. It moves beside the others here. A version without these
names fails when this is imported, and the batch runs on stock kernels.
"""

from __future__ import annotations

import os
from typing import Any

import zmq
from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread
from zmq.eventloop.zmqstream import ZMQStream

for _name in ("_setup_pipe_in", "_setup_pipe_out", "_handle_pipe_msg"):
    getattr(IOPubThread, _name)


class UnixIOPubThread(IOPubThread):
    """Takes the output of forked processes on a Unix socket next to its own."""

    def _setup_pipe_in(self) -> None:
        self._address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT) + "-pipe"
        self._pipe_uuid = os.urandom(16)
        pipe_in = self.socket.context.socket(zmq.PULL)
        pipe_in.linger = 0
        pipe_in.bind(self._address)
        self._pipe_in = ZMQStream(pipe_in, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def _setup_pipe_out(self) -> Any:
        context = zmq.Context()  # a fork can't use its parent's
        pipe_out = context.socket(zmq.PUSH)
        pipe_out.linger = 3000  # ms, as in the base class
        pipe_out.connect(self._address)
        return context, pipe_out


def install() -> None:
    """Have the kernel that this process becomes use it."""
    kernelapp.IOPubThread = UnixIOPubThread  # type: ignore[attr-defined]
