"""Papermill and nbformat, imported in a third of the time."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

from mm.pipeline.kernels.loading import loading

# What they load if they find it, and nothing here uses through them: the checks of jsonschema's
# optional string formats, which no notebook has (the grammar for "iri" alone takes 0.75 to 1.7 s to
# compile), and the stores and clusters that papermill can read notebooks from; ours lie on disk.
FORMATS = ("rfc3987_syntax", "rfc3986_validator", "isoduration")
STORES = ("boto3", "gcsfs", "pyarrow")

_lock = threading.Lock()


def import_papermill() -> ModuleType:
    """Import papermill without what takes most of its time.

    It must come before anything else that imports nbformat, or be too late.
    """
    return import_lean("papermill")


def import_lean(name: str) -> ModuleType:
    """Import papermill, or a module that imports nbformat.

    Nothing changes if jsonschema was imported before. Afterwards all can be imported as ever; only
    jsonschema and papermill go without it in this process.
    """
    with _lock:  # a second thread waits for the whole module
        if name in sys.modules:  # and nothing that a run has made since is kept by `loading`
            return importlib.import_module(name)
        unused = STORES if "jsonschema" in sys.modules else FORMATS + STORES
        blocked = [other for other in unused if other not in sys.modules]
        for other in blocked:
            sys.modules[other] = None  # type: ignore[assignment]  # "not there", to an import
        try:
            with loading():
                return importlib.import_module(name)
        finally:
            for other in blocked:
                del sys.modules[other]
