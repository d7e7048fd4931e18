"""Papermill in a third of the time, for batches on warm kernels; stock ones get it as installed."""

from __future__ import annotations

import gc
import importlib
import sys

#: What it loads if it finds it, and nothing here uses through it: the grammar of a string format
#: that no notebook has (0.8 s of CPU to compile), and clouds that it can read notebooks from.
UNUSED = ("rfc3987_syntax", "boto3", "pyarrow")


def import_lean() -> None:
    """Import papermill as if these were not installed; afterwards they can be imported as ever.

    Nothing is done if any of it is loaded. What is loaded stays, so none of it is looked through
    for garbage, now or later.
    """
    if sys.modules.keys() & {"papermill", "jsonschema"}:
        return
    unused = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unused))  # type: ignore[arg-type]  # None: "not there"
    gc.disable()
    try:
        importlib.import_module("papermill")
    finally:
        gc.freeze()
        gc.enable()
        for name in unused:
            del sys.modules[name]


def forget() -> None:
    """Have papermill, and what it checks notebooks with, imported anew, as they are installed."""
    packages = ("papermill", "nbclient", "nbformat", "jsonschema", f"{__package__}.forked")
    for name in list(sys.modules):
        if any(name == package or name.startswith(f"{package}.") for package in packages):
            del sys.modules[name]
