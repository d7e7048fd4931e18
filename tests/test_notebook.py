"""The template: what it holds, and that it gives one answer wherever and however it runs."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
import pytest
from nbclient import NotebookClient
from papermill.exceptions import PapermillExecutionError

import mm
from mm.core.errors import SettingsError
from mm.core.settings import Settings
from mm.notebook import chosen
from mm.pipeline.symbol import read_outcome

Tables = dict[str, pd.DataFrame]
WriteRun = Callable[..., Path]
FIGURES = 8


@pytest.fixture(scope="module")
def notebook(template: Path) -> Any:
    return nbformat.read(template, as_version=4)


@pytest.fixture(scope="module")
def parameters(notebook: Any) -> dict[str, Any]:
    """What the parameters cell assigns."""
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    tree = ast.parse(cell.source)
    assert all(isinstance(node, ast.Assign) for node in tree.body), "plain assignments only"
    return {ast.unparse(node.targets[0]): ast.literal_eval(node.value) for node in tree.body}


# --- what it holds ---------------------------------------------------------------------------


def test_it_is_committed_without_results(notebook: Any) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert "papermill" not in notebook.metadata
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_parameters_are_the_settings_and_none_says_more_than_is_known(
    parameters: dict[str, Any],
) -> None:
    # What is in force is known once calibration.yaml is read: a number here would be a guess.
    places = ("SYMBOL", "BACKTEST_DIR", "RESULT_DIR")
    unknown = {name: None for name in Settings.model_fields if name not in places}
    known = {name: Settings.model_fields[name].default for name in places}
    assert parameters == {**unknown, **known, "CONFIG": "calibration.yaml", "REPO_ROOT": ""}


def test_papermill_sees_every_parameter_and_its_meaning(
    template: Path, parameters: dict[str, Any]
) -> None:
    seen = papermill.inspect_notebook(str(template))
    assert set(seen) == set(parameters)
    for name, field in Settings.model_fields.items():
        assert str(field.description) in seen[name]["help"]
        if parameters[name] is None and field.default not in (None, ""):
            shown, _, _ = seen[name]["help"].partition(": ")
            assert type(field.default)(shown) == field.default, name


def test_cells_call_and_show_and_define_nothing(notebook: Any) -> None:
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            nodes = list(ast.walk(ast.parse(cell.source)))
            assert not [node for node in nodes if isinstance(node, forbidden)], cell.source
            assert "read_csv" not in cell.source


# --- that it runs ----------------------------------------------------------------------------


def run(template: Path, out: Path, cwd: Path, **parameters: Any) -> Path:
    papermill.execute_notebook(
        str(template), str(out), parameters=parameters, cwd=str(cwd), progress_bar=False
    )
    return out


def record(path: Path) -> Any:
    outcome = read_outcome(path)
    assert outcome is not None
    return outcome.record


def texts(path: Path) -> str:
    """All that the cells printed and showed as plain text."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            found.append(output.get("text", output.get("data", {}).get("text/plain", "")))
    return "\n".join(found)


def pictures(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [kind for bundle in data for kind in bundle if kind.startswith("image/")]


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    tables: Tables,
    unfilled_tables: Tables,
    write_run: WriteRun,
) -> Path:
    """A good symbol with a setting in its file, one without fills, one that is broken."""
    folder = write_run(tmp_path_factory.mktemp("backtest"), tables, suffix=".csv.gz")
    write_run(folder, unfilled_tables, "NOFILL")
    write_run(folder, {**tables, "state": tables["state"].drop(columns="mid")}, symbol="BROKEN")
    text = "defaults: {TICK_SIZE: 1.0}\nsymbols: {AAA: {MAX_DELTA_TICKS: 7.0}}\n"
    (folder / "calibration.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def executed(template: Path, root: Path, data: Path, results: Path) -> Path:
    """Run from the repo root, results wanted."""
    given = {"SYMBOL": "AAA", "BACKTEST_DIR": str(data), "RESULT_DIR": str(results / "AAA")}
    return run(template, results / "executed.ipynb", root, **given)


def test_it_gives_what_the_one_call_gives(executed: Path, tables: Tables) -> None:
    one_call = mm.calibrate(**tables, symbol="AAA", tick_size=1.0, MAX_DELTA_TICKS=7.0)
    assert one_call.params is not None
    found = record(executed)
    assert (found.A, found.k) == (one_call.params.A, one_call.params.k)
    assert (found.n_fills, found.exposure_s) == (
        one_call.params.n_fills,
        one_call.params.exposure_s,
    )
    assert found.status == one_call.verdict.status != "refused"


def test_it_prints_what_a_backtester_takes(executed: Path) -> None:
    text = texts(executed)
    assert text.count("FILL_MODEL=poisson\n") == 1
    (line,) = (t for t in text.splitlines() if t.startswith("FILL_PARAMS_JSON="))
    printed = json.loads(line.removeprefix("FILL_PARAMS_JSON="))
    found = record(executed)
    assert {name: printed[name] for name in ("A", "k")} == {"A": found.A, "k": found.k}
    assert printed["dt_ms"] == found.dt_ms


def test_figures_are_few_and_each_rendered_once(executed: Path) -> None:
    assert 2 <= len(pictures(executed)) <= FIGURES


def test_result_dir_gets_params_and_points(executed: Path, results: Path) -> None:
    assert {p.name for p in (results / "AAA").iterdir()} == {"params_AAA.json", "points_AAA.csv"}
    params = json.loads((results / "AAA" / "params_AAA.json").read_text())
    assert (params["A"], params["k"]) == (record(executed).A, record(executed).k)
    points = pd.read_csv(results / "AAA" / "points_AAA.csv")
    assert len(points) >= 2


def test_same_answer_from_notebooks_and_from_an_executed_copy_under_out(
    executed: Path, template: Path, root: Path, data: Path, results: Path
) -> None:
    given = {"SYMBOL": "AAA", "BACKTEST_DIR": os.path.relpath(data, root)}
    places = [run(template, results / "2.ipynb", root / "notebooks", **given)]
    # Run All on the executed copy: the kernel starts where the copy lies
    copy = nbformat.read(executed, as_version=4)
    NotebookClient(copy, resources={"metadata": {"path": str(root / "out")}}).execute()
    places.append(results / "3.ipynb")
    nbformat.write(copy, places[-1])
    expected = record(executed)
    for path in places:
        assert (record(path).A, record(path).k) == (expected.A, expected.k)


def test_elsewhere_it_takes_the_repo_from_a_parameter_and_writes_nothing(
    executed: Path, template: Path, root: Path, data: Path, results: Path, tmp_path: Path
) -> None:
    before = sorted(data.iterdir())
    given = {"SYMBOL": "AAA", "BACKTEST_DIR": str(data), "REPO_ROOT": str(root)}
    path = run(template, results / "4.ipynb", tmp_path, **given)
    assert record(path).A == record(executed).A
    assert list(tmp_path.iterdir()) == []
    assert sorted(data.iterdir()) == before


def test_a_refused_fit_completes_and_prints_no_parameters(
    template: Path, root: Path, data: Path, results: Path
) -> None:
    folder = results / "NOFILL"
    folder.mkdir()
    (folder / "params_NOFILL.json").write_text('{"A": 1, "k": 1}')
    given = {"SYMBOL": "NOFILL", "BACKTEST_DIR": str(data), "RESULT_DIR": str(folder)}
    path = run(template, results / "refused.ipynb", root, **given)
    found, text = record(path), texts(path)
    assert found.status == "refused"
    assert "2.996" in found.reason
    assert "FILL_PARAMS_JSON" not in text
    assert "FILL_MODEL" not in text
    assert "refused" in text
    assert [p.name for p in folder.iterdir()] == ["points_NOFILL.csv"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"SYMBOL": "AAA", "TICK_SISE": 0.1}, "SettingsError", "TICK_SISE"),
        ({"SYMBOL": "BROKEN"}, "InputError", "state_BROKEN.csv, row 1: column mid missing"),
    ],
    ids=["mistyped", "broken"],
)
def test_it_stops_with_one_line_on(
    template: Path,
    root: Path,
    data: Path,
    tmp_path: Path,
    given: dict[str, Any],
    error: str,
    said: str,
) -> None:
    with pytest.raises(PapermillExecutionError) as stopped:
        run(template, tmp_path / "x.ipynb", root, BACKTEST_DIR=str(data), **given)
    assert stopped.value.ename == error
    assert said in stopped.value.evalue
    assert "\n" not in stopped.value.evalue


# --- its settings ----------------------------------------------------------------------------


def test_a_name_in_small_letters_is_mistyped_too(parameters: dict[str, Any]) -> None:
    # papermill -p tick_size 0.1 only warns; the value would silently not arrive
    with pytest.raises(SettingsError, match=r"tick_size.*TICK_SIZE"):
        chosen({**parameters, "CONFIG": "", "tick_size": 0.1})


def test_names_of_a_session_are_none_of_its_business(parameters: dict[str, Any]) -> None:
    # Run All a second time: cells of one's own have left names behind
    session = {"In": [], "Out": {}, "_": 1, "log": None, "settings": None, "sys": os, "df": None}
    found = chosen({**parameters, "CONFIG": "", **session}).settings
    assert found == Settings()


def test_a_quant_may_call_a_number_by_one_capital(parameters: dict[str, Any]) -> None:
    # A = result.params.A in a cell of one's own, then Run All once more
    assert chosen({**parameters, "CONFIG": "", "A": 1.5, "N": 40}).settings == Settings()


def test_a_config_that_is_named_must_be_there(parameters: dict[str, Any], data: Path) -> None:
    given = {**parameters, "BACKTEST_DIR": str(data), "SYMBOL": "AAA"}
    assert chosen(given).settings.MAX_DELTA_TICKS == 7.0
    assert chosen({**given, "CONFIG": ""}).settings.MAX_DELTA_TICKS == 50.0
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        chosen({**given, "CONFIG": "mine.yaml"})


def test_a_value_typed_by_hand_wins_over_the_file_even_if_it_is_the_default(
    parameters: dict[str, Any], data: Path
) -> None:
    given = {**parameters, "BACKTEST_DIR": str(data), "SYMBOL": "AAA"}
    found = chosen({**given, "MAX_DELTA_TICKS": 50.0})
    assert found.settings.MAX_DELTA_TICKS == 50.0
    assert found.settings.TICK_SIZE == 1.0
    assert found.sources["MAX_DELTA_TICKS"] == "notebook parameters"
    assert found.sources["TICK_SIZE"] == str(data / "calibration.yaml")


def test_what_is_in_force_is_shown_with_its_source(executed: Path, data: Path) -> None:
    (cell,) = (c for c in nbformat.read(executed, as_version=4).cells if c.id == "bootstrap")
    shown = cell.outputs[-1]["data"]
    assert f"MAX_DELTA_TICKS = 7.0 ({data / 'calibration.yaml'})" in shown["text/plain"]
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in shown["text/html"].split("</tr>")]
    sources = {row[0]: row[1:] for row in rows if row}
    assert sources["MAX_DELTA_TICKS"][:3] == ["7.0", "ticks", str(data / "calibration.yaml")]
    assert sources["MIN_FILLS"][:3] == ["10", "fills", "default"]
    assert set(Settings.model_fields) <= set(sources)


def test_a_bad_value_is_one_line_without_a_traceback(
    template: Path, root: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(PapermillExecutionError):
        run(template, tmp_path / "x.ipynb", root, BACKTEST_DIR=str(data), MAX_DELTA_TICKS="far")
    cells = nbformat.read(tmp_path / "x.ipynb", as_version=4).cells
    (error,) = (o for c in cells for o in c.get("outputs", []) if o.output_type == "error")
    said = "SettingsError: notebook parameters: MAX_DELTA_TICKS: found 'far'; "
    (line,) = error.traceback
    assert line.startswith(said)
    assert "\n" not in line
