"""A kernel forked from the warm process, and papermill's engine for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from papermill.engines import NBClientEngine, papermill_engines

from mm.pipeline.kernels.fork_client import ForkedProcess, ForkServer
from mm.pipeline.kernels.kernel import Kernel, KernelError

ENGINE = "mm-saved-once"


class SavedOnce(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Runs a notebook as papermill does and saves it at the end, however it ends.

    Papermill saves it twice a cell: some 70 times here, two thirds of the driver's CPU.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
        """Run all cells; raises what papermill's own engine raises."""
        path, nb_man.output_path = nb_man.output_path, None
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        finally:
            nb_man.output_path = path


papermill_engines.register(ENGINE, SavedOnce)


class ForkProvisioner(LocalProvisioner):
    """Has the server fork the kernel that a command would start."""

    process: Any = None
    server: ForkServer

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Raises KernelError if the server gives none."""
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.process = self.server.fork(arguments, kwargs["env"], kwargs["cwd"], kwargs["stderr"])
        self.pid = self.process.pid  # no pgid: the server knows whose that number is
        return self.connection_info


class ForkedKernel(Kernel):
    """A stock kernel in all but how it starts. Raises KernelError if the server gives none."""

    how = "forked"

    def __init__(
        self,
        server: ForkServer,
        directory: str,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str],
    ) -> None:
        self._server = server
        super().__init__(directory, env, cwd)
        if not isinstance(self._process, ForkedProcess):
            super().kill()
            raise KernelError("jupyter_client did not ask the kernel server for its kernel")

    def _choose_provisioner(self) -> None:
        manager = self.manager
        provisioner = ForkProvisioner(
            kernel_id=self.stem, kernel_spec=manager.kernel_spec, parent=manager
        )
        provisioner.server = self._server
        manager.provisioner = provisioner

    @property
    def options(self) -> dict[str, Any]:
        """With an engine that saves once."""
        return super().options | {"engine_name": ENGINE}

    def kill(self) -> None:
        """Have it killed by its parent, which knows whether its number is still its own."""
        self._process.kill()
