"""What runs symbols: here its interface, in ``local`` threads, in ``cluster`` dask workers."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mm.core.errors import CalibrationError
from mm.pipeline.pages import Mail
from mm.pipeline.plan import Job
from mm.pipeline.symbol import SymbolRun

#: Loaded before forking, so that a kernel starts with everything the template imports.
PRELOAD = (
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "mm.notebook",
    "mm.plots",
    "mm.diagnostics.tables",
    "mm.pipeline.warmup:draw",
)


#: The scheduler that is none: threads of this process.
LOCAL = "local"


@dataclass(frozen=True)
class Options:
    """How to run: where, kernels, deadline per symbol in seconds, retries, what may be skipped.

    ``scheduler``: "local", or the address of a dask scheduler. ``cache_gb``: how large the folder
    may be in which what follows from each pooled run is kept, 10^9 bytes.
    """

    kernel: Literal["warm", "stock"] = "warm"
    deadline_s: float = 600.0
    retries: int = 1
    force: bool = False
    retry_failed: bool = False
    mail: Mail = field(default_factory=Mail)
    scheduler: str = LOCAL
    cache_gb: float = 20.0


class ExecutorLost(CalibrationError):
    """What ran the symbols is gone; symbols without an end are as they were before the run."""


class Executor(Protocol):
    """Runs symbols somewhere and publishes each once. Used by one thread."""

    def submit(self, job: Job, mark: str) -> Future[SymbolRun]:
        """Have a symbol run; its future ends when it is published, or with what went wrong."""

    def interrupt(self) -> None:
        """Kill what runs; nothing more is published."""

    def close(self) -> None:
        """Wait until nothing runs any more."""
