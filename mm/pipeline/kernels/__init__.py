"""
Jupyter kernels for a batch, one a notebook: forked from a warm process, or stock ones.

    with open_kernels("warm", modules=("numpy", "pandas")) as kernels, kernels.start(cwd) as kernel:
        papermill.execute_notebook(source, target, **kernel.options)

A stock kernel (``kernel``) is papermill's and jupyter_client's as installed. ``forked``,
``fork_client`` and ``papermill_import`` make the fast way in the driver; ``fork_server``,
``warmth`` and ``unix_iopub`` run in the warm process and what it forks; only ``unix_iopub`` knows
private names of a library. Importing this package loads the standard library only.
"""

from mm.pipeline.kernels.choose import Kernels, open_kernels
from mm.pipeline.kernels.kernel import Kernel, KernelError

__all__ = ["Kernel", "KernelError", "Kernels", "open_kernels"]
