"""What jupyter_client needs to run an execution's kernel: a provisioner and a manager for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from mm.pipeline.kernels.execution import Execution

KERNEL = Path(__file__).with_name("ipc_kernel.py")
POLL_S = 0.005
KILL_TIMEOUT_S = 1.0


class KeeperProvisioner(LocalProvisioner):
    """Has the keeper start the kernel; without a keeper it does so as jupyter_client would."""

    process: Any = None  # a Popen or a KeptProcess

    def __init__(self, execution: Execution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.execution = execution

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the command in the execution's directory and environment."""
        process = self.execution.start(cmd, kwargs["env"], kwargs["cwd"])
        if process is None:
            info = await super().launch_kernel(cmd, **kwargs)
            self.execution.adopt(self.process, "plain")
            return info
        self.process = process
        self.pid = process.pid
        self.cwd = kwargs["cwd"]
        # No self.pgid: the base class would signal that number without asking who has it now.
        return self.connection_info

    async def wait(self) -> int | None:
        """Wait for the end of the kernel; the base class looks only every 100 ms."""
        while self.has_process and await self.poll() is None:
            await asyncio.sleep(POLL_S)
        return await super().wait()

    async def kill(self, restart: bool = False) -> None:
        """Kill the process group and wait for the end; the manager looks only every 100 ms."""
        await super().kill(restart)
        with contextlib.suppress(asyncio.TimeoutError):  # the manager waits longer, and says so
            await asyncio.wait_for(self.wait(), KILL_TIMEOUT_S)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove also what the manager doesn't know of."""
        await super().cleanup(restart)
        self.execution.tidy()


class PromptClient(AsyncKernelClient):
    """A client without the waits that are for people at a keyboard."""

    def start_channels(
        self,
        shell: bool = True,
        iopub: bool = True,
        stdin: bool = True,
        hb: bool = False,
        control: bool = True,
    ) -> None:
        """Start the channels, by default without the heartbeat.

        The keeper knows whether the kernel lives; closing a dead one's heartbeat takes up to 1 s.
        """
        super().start_channels(shell, iopub, stdin, hb, control)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output channel is heard; else RuntimeError.

        The base class then takes 0.2 s more to drop messages; nbclient ignores all but its own.
        """
        give_up = time.monotonic() + (math.inf if timeout is None else timeout)
        while time.monotonic() < give_up:
            self.kernel_info()
            with contextlib.suppress(queue.Empty):
                reply = await self.get_shell_msg(timeout=1)
                if reply["msg_type"] == "kernel_info_reply":
                    await self.get_iopub_msg(timeout=0.2)
                    self._handle_kernel_info_reply(reply)
                    return
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
        raise RuntimeError(f"Kernel didn't respond in {timeout} seconds")


def kernel_manager_class(execution: Execution) -> type[AsyncKernelManager]:
    """Return a manager class bound to one execution.

    nbclient creates the manager itself, from a class and a traitlets config; a bound class needs
    neither a config, which is copied deeply, nor the process-wide registry of provisioners.
    """

    class ExecutionKernelManager(AsyncKernelManager):
        """Starts the execution's kernel, whatever kernel the notebook names."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.client_factory = PromptClient
            self.connection_file = f"{execution.stem}.json"
            if sys.platform != "win32":  # ZMQ has no other transport there
                self.transport = "ipc"
                self.ip = execution.stem  # the sockets are STEM-1 to STEM-5

        @property
        def kernel_spec(self) -> KernelSpec:
            """A kernel of this interpreter: a kernelspec of the user's may point anywhere."""
            argv = [sys.executable, str(KERNEL), "-f", "{connection_file}"]
            return KernelSpec(argv=argv, name=self.kernel_name, language="python")

        async def start_kernel(self, **kwargs: Any) -> None:  # type: ignore[override]
            """Start the kernel by the keeper, in the execution's directory and environment."""
            self.kernel_id = self.kernel_id or str(uuid.uuid4())
            self.provisioner = KeeperProvisioner(
                execution, kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
            await super().start_kernel(**kwargs | {"env": execution.env, "cwd": execution.cwd})

    return ExecutionKernelManager
