"""Warm kernels if they prove themselves, stock kernels if not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from mm.pipeline.kernels.execution import Execution
from mm.pipeline.kernels.papermill_import import import_papermill
from mm.pipeline.kernels.server import WARM_MODULES, Kernels, WarmKernelError

logger = logging.getLogger(__name__)

PROOF = """\
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
print(6 * 7)"""


@contextmanager
def open_kernels(
    kind: Literal["warm", "stock"] = "warm",
    modules: Sequence[str] = WARM_MODULES,
    env: Mapping[str, str] | None = None,
) -> Iterator[Kernels]:
    """Open kernels of this kind; stock ones, with one line in the log, if warm ones fail a test.

    At the end every kernel is dead and its files are gone.
    """
    if kind == "warm":
        with Kernels(modules, env) as warm:
            import_papermill()  # while the modules are loaded on another core
            try:
                prove(warm)
            except WarmKernelError as error:
                logger.warning("stock kernels instead of warm ones: %s", error)
            else:
                yield warm
                return
    import_papermill()  # before there are threads that each would
    with Kernels((), env) as stock:
        yield stock


def papermill_options(execution: Execution) -> dict[str, Any]:
    """Return keyword arguments for `papermill.execute_notebook`.

    The kernel is this Python's, whatever kernelspec the notebook names, on Unix sockets in the
    private directory, with the environment and directory of this execution. Give papermill no
    `cwd`: it would change the whole process's.
    """
    from mm.pipeline.kernels.papermill_engine import ENGINE
    from mm.pipeline.kernels.provisioner import kernel_manager_class

    return {
        "engine_name": ENGINE,
        "kernel_manager_class": kernel_manager_class(execution),
        "kernel_name": "python3",
        "shutdown_kernel": "immediate",  # the graceful way takes 1.1 s of waiting
        "shell_timeout_interval": 1,  # seconds until a dead kernel is noticed between cells
        "iopub_timeout": 60,  # 4 s fail on a crowded machine; a dead kernel is seen sooner
        "progress_bar": False,
    }


def prove(kernels: Kernels) -> None:
    """Run one cell with one figure as a notebook would be run.

    Raises
    ------
    WarmKernelError
        If anything is not as it should be, with the reason in one line.
    """
    papermill = import_papermill()
    import nbformat.v4

    if not kernels.supported():
        raise WarmKernelError("they need Linux")
    execution = kernels.execution()
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(PROOF)])
    try:
        done = papermill.execute_notebook(
            notebook, None, language="python", **papermill_options(execution)
        )
    except Exception as error:
        why = f"{type(error).__name__}: {error}".strip().splitlines()[-1]
        raise WarmKernelError(f"a test cell failed: {why} ({execution.obituary})") from error
    if execution.how == "plain":
        raise WarmKernelError("the kernel server gave no kernel")
    outputs = done.cells[0].outputs
    if not any("image/png" in output.get("data", {}) for output in outputs):
        raise WarmKernelError("a test figure did not appear")
    if not any(output.get("text") == "42\n" for output in outputs):
        raise WarmKernelError("a test cell's text did not appear")
