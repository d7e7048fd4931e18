"""A short version of the trust table: coverage and warnings of whole calibrations."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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


@pytest.mark.parametrize(("cell", "runs"), [(0, 24), (2, 12), (6, 12)])
def test_clean_cells_cover_and_do_not_warn(coverage: ModuleType, cell: int, runs: int) -> None:
    truth = coverage.CELLS[cell].scenario
    drawn = [coverage.draw((cell, run, 99)) for run in range(runs)]
    assert all(drawn)
    missed = sum(not coverage.inside(truth.k, d.ci_k) for d in drawn)
    # At 95 % coverage, 6 of 24 misses come once in a few thousand tries.
    assert missed <= 5
    assert sum(not coverage.inside(truth.A, d.ci_A) for d in drawn) <= 5
    assert sum(d.status != "ok" for d in drawn) <= 2


@pytest.mark.parametrize("cell", [7, 8, 9])
def test_broken_truths_are_warned_of(coverage: ModuleType, cell: int) -> None:
    drawn = [coverage.draw((cell, run, 99)) for run in range(4)]
    assert all(d.status == "warn" for d in drawn)


def test_the_kept_table_has_a_line_for_every_cell(coverage: ModuleType, root: Path) -> None:
    text = (root / "docs" / "trust.md").read_text(encoding="utf-8")
    for cell in coverage.CELLS:
        assert f"| {cell.name} |" in text
    assert "benchmarks/coverage.py --runs 1000" in text
