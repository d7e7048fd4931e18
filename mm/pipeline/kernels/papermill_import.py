"""Papermill and nbformat, imported in a third of the time."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from mm.pipeline.kernels.loading import loading

# nbformat imports jsonschema, which compiles a grammar for two of its optional string formats
# ("iri", "iri-reference") if it finds this package: 0.75 to 1.7 s. No notebook schema uses them.
SLOW = "rfc3987_syntax"


def import_papermill() -> ModuleType:
    """Import papermill without the optional grammar that takes most of its time.

    It must come before anything else that imports nbformat, or be too late.
    """
    return import_without_grammar("papermill")


def import_without_grammar(name: str) -> ModuleType:
    """Import a module that imports nbformat.

    Nothing changes if jsonschema or the grammar was imported before. Afterwards the grammar can be
    imported as ever; only jsonschema goes without it in this process.
    """
    blocked = SLOW not in sys.modules and "jsonschema" not in sys.modules
    if blocked:
        sys.modules[SLOW] = None  # type: ignore[assignment]  # "not there", to an import
    try:
        with loading():
            return importlib.import_module(name)
    finally:
        if blocked:
            del sys.modules[SLOW]
