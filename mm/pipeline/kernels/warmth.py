"""
What is loaded before the fork, and what is set after it.

A forked kernel must not differ from a fresh one in anything a notebook can see. So nothing here
leaves a trace in settings, random state or warnings, and what a fresh interpreter derives from its
environment is derived again in the child.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import importlib.util
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# What ipykernel loads only when it starts, a third of its starting time.
KERNEL_MODULES = """
    mm.pipeline.kernels.unix_iopub ipykernel.ipkernel ipykernel.debugger IPython.core.completer
    IPython.core.completerlib IPython.core.debugger IPython.core.debugger_backport
    IPython.core.logger IPython.core.oinspect IPython.extensions.storemagic sqlite3
    tornado.platform.asyncio
""".split()  # noqa: SIM905  a list of names
INLINE_MODULE = "matplotlib_inline.backend_inline"


def preload(modules: list[str]) -> None:
    """Load the modules, call the functions named with them, and make sure that a fork is safe.

    Raises
    ------
    RuntimeError
        If a module left a thread behind, or made figures vanish.
    """
    gc.disable()  # nothing is thrown away here, and pages that are not touched stay shared
    for name in (*KERNEL_MODULES, *modules):
        module, _, function = name.partition(":")
        loaded = importlib.import_module(module)
        if function:
            getattr(loaded, function)()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"{threads} threads after loading {', '.join(modules)}: unsafe to fork")
    if INLINE_MODULE in sys.modules:
        # It hooks itself into the shell while it is imported, and there is none yet.
        raise RuntimeError(f"{INLINE_MODULE} was loaded too early: figures would vanish")
    for loaded in list(sys.modules.values()):
        # A warning shown here would not be shown again in the notebook.
        with contextlib.suppress(Exception):
            vars(loaded).pop("__warningregistry__", None)
    gc.freeze()
    gc.enable()


def become_kernel(arguments: list[str]) -> None:
    """Do in this process, which was just forked, what `ipykernel_launcher` would in a new one."""
    time.tzset()
    tempfile.tempdir = None  # chosen again from the environment
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "matplotlib" in sys.modules:
        # Read from the environment when matplotlib is imported, which happened before the fork;
        # ipykernel sets the variable to the inline backend if nobody did.
        backend = os.environ.get("MPLBACKEND") or f"module://{INLINE_MODULE}"
        sys.modules["matplotlib"].rcParams["backend"] = backend
    # Straight to its log: ipykernel takes 2 to itself.
    faulthandler.enable(os.dup(2), all_threads=False)
    launcher = importlib.util.find_spec("ipykernel_launcher")
    assert launcher is not None
    sys.argv = [str(launcher.origin), *arguments]
    del sys.path[0]  # the server's directory; ipykernel puts the notebook's in

    from ipykernel.kernelapp import IPKernelApp

    from mm.pipeline.kernels import unix_iopub

    unix_iopub.install()
    # Its default was read from the environment before the fork.
    app: Any = IPKernelApp.instance(parent_handle=os.getppid())
    app.initialize(sys.argv[1:])
    app.start()
