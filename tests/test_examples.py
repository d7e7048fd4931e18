"""The examples of docs/ are valid calls of the command."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from mm.pipeline import batch
from mm.pipeline.cli import main

Tables = Mapping[str, pd.DataFrame]
WriteRun = Callable[..., Path]


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
        batch.EXIT_OUTDATED: "try again",
        batch.EXIT_INTERRUPTED: "try again",
        batch.EXIT_USAGE: "call a person",
    }
    assert {code: dag.meaning(code) for code in codes} == codes


def test_what_follows_a_night_are_commands_too(dag: ModuleType) -> None:
    for _, _, name, *arguments in dag.afterwards("s3://desk/out", "registry", "live"):
        assert main.commands[name].make_context(name, arguments).params["folder"] == Path(
            "registry"
        )


def test_two_nights_by_the_script(
    root: Path, tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    """Day by day into one folder: yesterday's parameters are scored on today's fills."""
    env = {**os.environ, "REPOSITORY": str(root), "PYTHON": sys.executable}
    env |= {"DATA_DIR": str(tmp_path / "data"), "NIGHT_DIR": str(tmp_path / "night")}
    script = root / "docs" / "examples" / "night.sh"
    for day, log in enumerate((tables, later_tables)):
        moved = {
            kind: table.assign(**{n: table[n] + day * 86_400_000 for n in table if "_ms" in n})
            for kind, table in log.items()
        }
        write_run(tmp_path / "data", moved)
        done = subprocess.run(["sh", str(script)], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "fills, " in done.stdout
    assert "gain +" in done.stdout
    night = tmp_path / "night"
    live = json.loads((night / "live" / "params_AAA.json").read_text(encoding="utf-8"))
    newest = json.loads((night / "out" / "AAA" / "params_AAA.json").read_text(encoding="utf-8"))
    assert live == newest
    assert len((night / "out" / "registry" / "scores.jsonl").read_text("utf-8").splitlines()) == 1
    assert "mm_calibration_forecast_z" in (night / "out" / "forecast.prom").read_text("utf-8")
    assert len(list((night / "out" / "history").iterdir())) == 2
