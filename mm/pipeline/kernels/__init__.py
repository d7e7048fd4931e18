"""
Jupyter kernels for a batch: forked from a warm process, owned to the last one.

    with open_kernels("warm", modules=("numpy", "pandas", "matplotlib.pyplot")) as kernels:
        execution = kernels.execution(cwd="notebooks")
        papermill.execute_notebook(source, target, **papermill_options(execution))

Importing this package loads the standard library only: the warm process imports it too, and so
does every `--help`. jupyter_client comes with the first execution.
"""

from mm.pipeline.kernels.choose import open_kernels, papermill_options, prove
from mm.pipeline.kernels.execution import Execution
from mm.pipeline.kernels.papermill_import import import_lean, import_papermill
from mm.pipeline.kernels.server import WARM_MODULES, Kernels, WarmKernelError, kernel_env

__all__ = [
    "WARM_MODULES",
    "Execution",
    "Kernels",
    "WarmKernelError",
    "import_lean",
    "import_papermill",
    "kernel_env",
    "open_kernels",
    "papermill_options",
    "prove",
]
