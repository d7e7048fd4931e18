"""The examples of docs/ are valid calls of the command."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mm.pipeline import batch
from mm.pipeline.cli import main


@pytest.fixture
def dag(root: Path) -> ModuleType:
    path = root / "docs" / "examples" / "airflow_dag.py"
    spec = importlib.util.spec_from_file_location("airflow_dag", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_flow_s_command_is_one(dag: ModuleType, root: Path) -> None:
    python, script, *arguments = dag.command("s3://desk/data", "s3://desk/out", "tcp://host:8786")
    assert Path(python).parts[-3:] == (".venv", "bin", "python")
    assert (root / Path(script).name).is_file()
    given = main.make_context("run_calibration.py", arguments).params
    assert str(given["data_dir"]) == "s3://desk/data"
    assert str(given["out_dir"]) == "s3://desk/out"
    assert given["scheduler"] == "tcp://host:8786"


def test_the_flow_knows_every_exit_code(dag: ModuleType) -> None:
    codes = {
        batch.EXIT_OK: "go on",
        batch.EXIT_REFUSED: "go on",
        batch.EXIT_FAILED: "try again",
        batch.EXIT_INTERRUPTED: "try again",
        batch.EXIT_USAGE: "call a person",
    }
    assert {code: dag.meaning(code) for code in codes} == codes
