"""The shape of the code: what may load what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest


def loaded_by(statement: str, root: Path) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_statistics_load_no_plots_and_no_notebooks(root: Path) -> None:
    names = ["exposure", "intensity", "fit", "diagnose", "estimate", "fill_model", "trials"]
    there = [name for name in names if (root / "mm" / f"{name}.py").is_file()]
    assert there[:3] == ["exposure", "intensity", "fit"]
    loaded = loaded_by(f"import {', '.join(f'mm.{name}' for name in there)}", root)
    assert not loaded & {"matplotlib", "papermill", "nbconvert", "nbformat", "nbclient", "IPython"}


@pytest.mark.parametrize(
    ("statement", "kept_out"),
    [
        ("import mm", {"pandas", "numpy", "pydantic"}),
        ("import mm; mm.calibrate; mm.Settings", {"matplotlib", "papermill", "nbconvert"}),
        ("import mm.pipeline.cli", {"pandas", "numpy", "papermill", "matplotlib", "nbconvert"}),
    ],
)
def test_a_first_import_costs_nothing_it_does_not_need(
    root: Path, statement: str, kept_out: set[str]
) -> None:
    assert not loaded_by(statement, root) & kept_out


def test_every_name_of_the_package_is_there_and_no_other() -> None:
    import mm

    assert all(getattr(mm, name).__module__.startswith("mm.") for name in mm.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        mm.no_such_name  # noqa: B018  the access is what is tested


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """The mm modules that a file imports, on top or in a function, but not for types only."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = str(node.module)
            found.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(path.read_text(encoding="utf-8")))
    # `mm` itself is lazy: importing it loads nothing that could come back
    return (found & modules) - {"mm"}


def import_graph(root: Path) -> dict[str, set[str]]:
    paths = {}
    for path in (root / "mm").rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: imports_of(path, set(paths)) - {name} for name, path in paths.items()}


def test_no_import_cycles(root: Path) -> None:
    graph = import_graph(root)
    assert graph["mm.calibration"] >= {"mm.accounts", "mm.load"}, "the walk must see imports"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_packages_import_each_other_one_way_only(root: Path) -> None:
    def package(name: str) -> str:
        # A module right below mm belongs to no package and stands for itself.
        return ".".join(name.split(".")[:2])

    graph: dict[str, set[str]] = {}
    for name, imported in import_graph(root).items():
        others = {package(other) for other in imported} - {package(name)}
        graph.setdefault(package(name), set()).update(others)
    assert "mm.report" in graph["mm.pipeline"], "the walk must see packages"
    assert "mm.pipeline" not in graph["mm.report"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"packages import each other: {' -> '.join(error.args[1])}")


def test_the_driver_loads_no_statistics(root: Path, tmp_path: Path) -> None:
    """They are the kernels' work; a run with nothing to do must not wait for them."""
    (tmp_path / "run.json").write_text('{"symbols": {}}')
    run = (
        "import sys; from mm.pipeline.cli import main\n"
        f"try: main(['--out-dir', {str(tmp_path)!r}, '--retry-failed'])\n"
        "except SystemExit as done: assert done.code == 0"
    )
    statistics = {"numpy", "pandas", "scipy", "matplotlib"}
    heavy = {"papermill", "nbconvert", "rfc3987_syntax", "pyarrow"}
    loaded = loaded_by(run, root)
    assert "nbformat" in loaded, "it went all the way"
    assert not loaded & {*statistics, *heavy}
    assert not loaded_by(f"{run}\nimport mm.report.page", root) & statistics


def test_the_map_of_the_code_names_every_module_and_no_other(root: Path) -> None:
    text = (root / "docs" / "code.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^- `([\w/]+\.py)`:", text, re.MULTILINE))
    modules = {path.relative_to(root / "mm").as_posix() for path in (root / "mm").rglob("*.py")}
    assert named == {name for name in modules if not name.endswith("__init__.py")}
