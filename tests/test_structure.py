"""The shape of the code: what may load what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from mm.pipeline import resume


def loaded_by(statement: str, root: Path) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


# From the ground up; a room imports rooms before it only, and never a later one.
ROOMS = [
    "core",
    "logs",
    "tape",
    "engines",
    "exposure",
    "fitting",
    "diagnostics",
    "quotes",
    "results",
    "plots",
    "report",
    "registry",
    "pipeline",
]
STATISTICS = ["exposure", "fitting", "diagnostics"]
# What people call, above the rooms, and the simulator, which is the estimator's judge.
TOP = ["calibration", "notebook", "convert", "explain", "attribute"]
APART = ["simulate"]


def test_the_statistics_load_no_plots_and_no_notebooks(root: Path) -> None:
    names = [
        f"mm.{room}.{path.stem}"
        for room in STATISTICS
        for path in sorted((root / "mm" / room).glob("*.py"))
        if path.stem != "__init__"
    ]
    assert {"mm.exposure.cells", "mm.fitting.fit", "mm.diagnostics.diagnose"} <= set(names)
    loaded = loaded_by(f"import {', '.join(names)}", root)
    assert not loaded & {"matplotlib", "papermill", "nbconvert", "nbformat", "nbclient", "IPython"}


@pytest.mark.parametrize(
    ("statement", "kept_out"),
    [
        ("import mm", {"pandas", "numpy", "pydantic"}),
        ("import mm; mm.calibrate; mm.Settings", {"matplotlib", "papermill", "nbconvert"}),
        ("import mm.pipeline.cli", {"pandas", "numpy", "papermill", "matplotlib", "nbconvert"}),
        (
            "from datetime import UTC, datetime; from pathlib import Path; import tempfile\n"
            "from mm.pipeline import history; from mm.results.record import Record\n"
            "with tempfile.TemporaryDirectory() as name:\n"
            "    history.add(Path(name), {'A': Record(status='ok', A=0.1)}, datetime.now(UTC))\n"
            "    assert history.read(Path(name)).column('A').to_pylist() == [0.1]",
            {"pandas"},
        ),
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
    assert graph["mm.calibration"] >= {"mm.exposure.accounts", "mm.logs.load"}, (
        "the walk must see imports"
    )
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_mm_holds_these_rooms_and_each_says_what_belongs_there(root: Path) -> None:
    packages = {path.parent.name for path in (root / "mm").glob("*/__init__.py")}
    assert packages == {*ROOMS, *APART}
    assert {path.stem for path in (root / "mm").glob("*.py")} == {"__init__", *TOP}
    for name in packages:
        said = ast.get_docstring(ast.parse((root / "mm" / name / "__init__.py").read_text("utf-8")))
        assert said, name
        assert said.splitlines()[0].endswith("."), name


def test_imports_run_down_from_room_to_room(root: Path) -> None:
    height = {f"mm.{room}": number for number, room in enumerate(ROOMS)}
    height |= {f"mm.{name}": len(ROOMS) + number for number, name in enumerate(TOP)}
    seen = 0
    for name, imported in import_graph(root).items():
        room = ".".join(name.split(".")[:2])
        for other in imported:
            other_room = ".".join(other.split(".")[:2])
            if room == other_room or other_room == "mm":
                continue
            assert other_room != "mm.simulate", f"{name} imports its judge {other}"
            assert height.get(room, -1) > height[other_room], f"{name} climbs to {other}"
            seen += 1
    assert seen > 300, "the walk must see imports"


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
    assert "jinja2" in loaded, "it went all the way"
    assert not loaded & {*statistics, *heavy}
    assert not loaded_by(f"{run}\nimport mm.report.page", root) & statistics


def test_results_hand_over_words_and_the_templates_hold_the_tags(root: Path) -> None:
    names = "a|b|br|code|div|em|h[1-6]|i|li|ol|p|pre|small|span|strong|sub|sup|table|tbody|td|th"
    tag = re.compile(rf"</?({names}|thead|tr|ul)\b[^<>]*>")
    assert tag.search("<td style='x'>")
    assert not tag.search("<Fit A> b")
    rooms = ("core", *STATISTICS, "logs", "results", "plots")
    paths = [path for room in rooms for path in (root / "mm" / room).rglob("*.py")]
    for path in [*paths, *(root / "mm" / f"{name}.py" for name in TOP)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not tag.search(node.value), f"{path.name}:{node.lineno} {node.value[:60]}"


def test_the_map_of_the_code_is_up_to_date(root: Path) -> None:
    """Rooms are all named, every path exists, and the glossary stays short."""
    text = (root / "docs" / "code.md").read_text(encoding="utf-8")
    assert {f"mm/{room}" for room in [*ROOMS, *APART]} <= set(re.findall(r"`(mm/\w+)`", text))
    paths = re.findall(r"`((?:mm|docs|tests)/[\w/.]+)`", text)
    assert len(paths) > 20
    assert not [path for path in paths if not (root / path).exists()]
    words = text.split("## Words", 1)[1].strip().splitlines()[2:]
    assert len(words) <= 25


def test_every_module_says_in_its_first_line_what_it_holds(root: Path) -> None:
    for path in (root / "mm").rglob("*.py"):
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        assert len(said.splitlines()[0] if said else "") > 15, path


def test_all_code_that_numbers_follow_from_makes_a_symbol_run_again(root: Path) -> None:
    graph = import_graph(root)
    waiting, reached = ["mm.notebook", "mm.calibration"], set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph.get(name, ())
    parts = {name.split(".")[1] for name in reached if name.startswith("mm.")}
    assert {"tape", "quotes", "fitting"} <= parts
    counted = {name.removesuffix(".py") for name in resume._CALIBRATION}
    assert parts <= counted
