"""A short version of the trust table: coverage and warnings of whole calibrations."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def coverage(root: Path) -> ModuleType:
    path = root / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("trust_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["trust_table"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def truths(coverage: ModuleType) -> ModuleType:
    return sys.modules[coverage.Cell.__module__]


def numbers(coverage: ModuleType, role: str) -> list[int]:
    return [i for i, cell in enumerate(coverage.CELLS) if cell.role == role]


@pytest.mark.parametrize(("cell", "runs"), [(0, 24), (2, 12), (6, 12), (13, 12)])
def test_clean_cells_cover_and_do_not_warn(coverage: ModuleType, cell: int, runs: int) -> None:
    truth = coverage.CELLS[cell]
    assert truth.role == "clean"
    drawn = [coverage.draw((cell, run, 99)) for run in range(runs)]
    for fits in ([d.shown for d in drawn], [d.emitted for d in drawn]):
        assert all(fits)
        # At 95 % coverage, 6 of 24 misses come once in a few thousand tries.
        assert sum(not coverage.inside(truth.k, fit.ci_k) for fit in fits) <= 5
        assert sum(not coverage.inside(truth.A, fit.ci_A) for fit in fits) <= 5
    assert sum(d.status != "ok" for d in drawn) <= 2


def test_broken_truths_are_warned_of(coverage: ModuleType) -> None:
    power = numbers(coverage, "power")
    assert len(power) == 6
    for cell in power:
        assert all(coverage.draw((cell, run, 99)).status == "warn" for run in range(4)), cell


@pytest.mark.parametrize("sweeps", [False, True])
def test_the_second_generator_fills_at_its_rate(truths: ModuleType, sweeps: bool) -> None:
    world = truths.Ladder(lambda signed: np.full(len(signed), 0.2), sweeps=sweeps, reach=1e9)
    orders, fills, _ = world.tables(5)
    times = [
        orders[orders["action"] == "PLACE"].set_index("order_id")["recv_ms"].rename("placed"),
        orders[orders["action"] == "CANCEL_ACK"].set_index("order_id")["recv_ms"].rename("acked"),
        fills.set_index("order_id")["recv_ms"].rename("filled"),
    ]
    order = pd.concat(times, axis=1)
    rested_ms = (order[["acked", "filled"]].min(axis=1) - order["placed"]).sum()
    expected = 0.2 * rested_ms / 1000.0
    # Six quotes of a side go at once in a sweep: six times the variance.
    at_once = len(fills) / fills["recv_ms"].nunique()
    assert abs(len(fills) - expected) < 4.0 * (expected * at_once) ** 0.5
    assert at_once > 5.0 if sweeps else at_once < 1.1


def test_slow_hawkes_is_as_wide_as_its_memory_makes_it(truths: ModuleType) -> None:
    # Over much longer than its memory of 200 s: mean 1, and 1/(1 - 0.9)^2 times a count's variance.
    rng = np.random.default_rng(3)
    means = np.array([truths.hawkes(np.arange(10_000.0), rng).mean() for _ in range(200)])
    assert means.mean() == pytest.approx(1.0, abs=4 * means.std() / 200**0.5)
    assert means.var() * 5.5 * 10_000.0 == pytest.approx(100.0, rel=0.4)


def test_the_kept_table_has_a_line_for_every_cell(coverage: ModuleType, root: Path) -> None:
    text = (root / "docs" / "trust.md").read_text(encoding="utf-8")
    for cell in coverage.CELLS:
        runs = "1,000" if cell.role == "clean" else "400"
        assert f"| {cell.name} | {runs}" in text
    assert "benchmarks/coverage.py --runs 1000 --others 400" in text
