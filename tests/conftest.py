"""What several test files share: the places of the repository and small logs of known truth."""

from __future__ import annotations

import gzip
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mm.pipeline import local
from mm.pipeline.kernels import Kernels, open_kernels
from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So started in a shell's background: what tests start would ignore their Ctrl-C too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Tables = dict[str, pd.DataFrame]
WriteRun = Callable[..., Path]

SMALL = Scenario(A=1.2, k=0.3, duration_s=180.0, state_gap_ms=200, deltas_ticks=(1.0, 3.0, 6.0))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def template(root: Path) -> Path:
    """The notebook that everything runs."""
    return root / "notebooks" / "poisson_fill_calibration.ipynb"


@pytest.fixture(scope="session")
def tables() -> Tables:
    """Orders, fills and state of three minutes: some 500 fills, a grid of 0.1, ticks of 1."""
    log = simulate(SMALL, 1)
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


@pytest.fixture(scope="session")
def later_tables() -> Tables:
    """The same market in another run."""
    log = simulate(SMALL, 2)
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


@pytest.fixture(scope="session")
def unfilled_tables() -> Tables:
    """A market in which nothing is ever filled."""
    log = simulate(replace(SMALL, A=1e-9), 3)
    assert log.fills.empty
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """Writes ``<kind>_<symbol><suffix>`` files as a backtester does; returns the folder."""

    def write(
        folder: Path, tables: Mapping[str, pd.DataFrame], symbol: str = "AAA", suffix: str = ".csv"
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, table in tables.items():
            path = folder / f"{kind}_{symbol}{suffix}"
            if suffix == ".parquet":
                table.to_parquet(path, index=False)
            else:
                text = csv_bytes(table)
                path.write_bytes(gzip.compress(text, 1) if suffix == ".csv.gz" else text)
        return folder

    return write


OpenKernels = Callable[[Any, Any], AbstractContextManager[Kernels]]


@pytest.fixture(scope="module")
def opened_once() -> Iterator[OpenKernels]:
    """Opens warm kernels once for a module, and stock ones each time."""
    kept: dict[tuple[str, ...], Kernels] = {}
    with ExitStack() as stack:

        def opened(kind: Any, modules: tuple[str, ...]) -> AbstractContextManager[Kernels]:
            if kind != "warm":
                return open_kernels(kind, modules)
            if modules not in kept:
                kept[modules] = stack.enter_context(open_kernels(kind, modules))
            return nullcontext(kept[modules])

        yield opened


@pytest.fixture
def shared_kernels(opened_once: OpenKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches of this process share warm kernels; commands that tests start have their own."""
    monkeypatch.setattr(local, "open_kernels", opened_once)
