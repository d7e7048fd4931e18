"""Batches as they go wrong: nothing changed, dead kernels, deadlines, interrupts, kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from mm.pipeline import local, resume, symbol
from mm.pipeline.batch import EXIT_FAILED, EXIT_OK, EXIT_OUTDATED, Options, run_batch
from mm.pipeline.plan import Plan, Request, make_plan
from mm.pipeline.symbol import SymbolRun
from mm.results.record import Record

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="warm kernels are Linux's"),
    pytest.mark.usefixtures("shared_kernels"),
]

WATCHDOG_S = 120.0
WriteRun = Callable[..., Path]
Tables = Mapping[str, pd.DataFrame]


class Seen:
    """Remembers how a run went."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.runs: dict[str, SymbolRun] = {}

    def started(self, name: str) -> None:
        self.started_.append(name)

    def done(self, run: SymbolRun) -> None:
        self.runs[run.symbol] = run

    def trouble(self, line: str) -> None:
        raise AssertionError(line)

    def told(self, records: Mapping[str, Record]) -> None:
        self.records = records

    def kept(self, folder: Path, size: int) -> None:
        pass


@pytest.fixture
def data(tmp_path: Path, tables: Tables, write_run: WriteRun) -> Path:
    for name in ("AAA", "BBB", "CCC"):
        write_run(tmp_path / "data", tables, name)
    return tmp_path / "data"


def plan(data: Path, **request: object) -> Plan:
    return make_plan(Request(data_dir=data, out_dir=data.parent / "out", **request), {})


def ran(data: Path, options: Options = Options(), **request: object) -> tuple[int, Seen]:  # noqa: B008
    seen = Seen()
    return run_batch(plan(data, **request), options, seen), seen


def cells(*sources: str) -> nbformat.NotebookNode:
    v4 = nbformat.v4
    made = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    return made  # type: ignore[no-any-return]


def test_what_has_not_changed_is_not_run_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = data.parent / "out"
    code, first = ran(data)
    assert code == EXIT_OK
    assert sorted(first.started_) == ["AAA", "BBB", "CCC"]

    with monkeypatch.context() as patched:
        patched.setattr(local, "open_kernels", None)  # nothing to do: not even a test kernel
        code, second = ran(data)
    assert code == EXIT_OK
    assert second.started_ == []
    assert all(run.skipped for run in second.runs.values())

    fills = data / "fills_BBB.csv"
    fills.write_bytes(fills.read_bytes().rstrip(b"\n").rsplit(b"\n", 1)[0] + b"\n")
    (out / "CCC" / "params_CCC.json").write_text("{}", encoding="utf-8")
    _, third = ran(data)
    assert sorted(third.started_) == ["BBB", "CCC"], "a changed input, a damaged output"
    assert json.loads((out / "CCC" / "params_CCC.json").read_text(encoding="utf-8"))["A"] > 0

    assert ran(data, parameters=[("MIN_FILLS", "11")], symbols="AAA")[1].started_ == ["AAA"]
    _, forced = ran(data, Options(force=True), symbols="BBB")
    assert forced.started_ == ["BBB"]


def test_a_change_of_code_or_versions_runs_everything_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan(data).jobs[0]
    before = resume.fingerprint(job, resume.code_digest())
    assert before == resume.fingerprint(job, resume.code_digest())
    monkeypatch.setattr(resume, "versions", lambda: {"numpy": "0"})
    assert before != resume.fingerprint(job, resume.code_digest())


@pytest.mark.parametrize("place", ["data/fills_AAA.csv", "out/AAA/params_AAA.json", "old.json"])
def test_a_named_pipe_is_never_waited_for(root: Path, data: Path, place: str) -> None:
    (data / "fills_CCC.csv").rename(data.parent / "old.json")
    for path in data.glob("*_[BC]*"):
        path.unlink()
    wanted = {"data": (1, " failed "), "out": (0, " ok "), "old.json": (2, "no regular file")}
    code, status = wanted[place.split("/")[0]]
    if place.startswith("out"):
        assert ran(data)[0] == EXIT_OK
    options = ["-p", "OLD_PARAMS_FILE", str(data.parent / place)] if place == "old.json" else []
    (data.parent / place).unlink()
    os.mkfifo(data.parent / place)
    driver = start(root, data, "--deadline", "60", *options)
    text, errors = driver.communicate(timeout=WATCHDOG_S)
    assert (driver.returncode, status in text + errors) == (code, True), text + errors


#: What a cell does, by symbol; what is then said, of which kind, after how many attempts.
ENDS = {
    "KILLED": ("os.kill(os.getpid(), signal.SIGKILL)", "dead_kernel", "SIGKILL", 2),
    "GONE": ("os._exit(3)", "dead_kernel", "status 3", 2),
    "WROTE": (
        "os.write(2, b'libx: no room'), os._exit(3)",
        "dead_kernel",
        "status 3; it last wrote: libx: no room",
        2,
    ),
    "ENDLESS": ("__import__('time').sleep(600)", "deadline", "deadline of 4 s", 2),
    "FULL": ("exec('raise MemoryError(\"no room\")')", "exception", "MemoryError: no room", 1),
    "LEFT3": ("sys.exit(3)", "exception", "SystemExit: 3", 1),
    "LEFT0": ("sys.exit(0)", "exception", "before its last cell", 1),
    "NOTHING": ("1", "exception", "before its last cell", 1),
}


def test_how_a_notebook_can_end(
    tmp_path: Path, tables: Tables, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ENDS:
        write_run(data, tables, name)
    # One of each kind has results, which go.
    assert ran(data, symbols="KILLED,ENDLESS,FULL")[0] == EXIT_OK
    cell = f"import os, signal, sys\neval({ {name: end[0] for name, end in ENDS.items()} }[SYMBOL])"
    template = tmp_path / "template.ipynb"
    nbformat.write(cells("a = 1", cell, "b = 2"), template)
    monkeypatch.setattr(symbol, "TEMPLATE", template)
    monkeypatch.setattr(resume, "TEMPLATE", template)

    code, seen = ran(data, Options(deadline_s=4.0), jobs=4)
    assert code == EXIT_FAILED
    books = json.loads((out / "run.json").read_text())["symbols"]
    for name, (_, kind, said, attempts) in ENDS.items():
        record = seen.runs[name].record
        found = (record.status, record.error_kind, record.attempts)
        assert found == ("failed", kind, attempts), (name, record.error)
        assert said in (record.error or ""), name
        assert not (out / name / f"params_{name}.json").exists()
        assert books[name]["status"] == "failed"
        saved = nbformat.read(out / name / f"calibration_{name}.ipynb", as_version=4)
        if kind in ("dead_kernel", "deadline"):
            at = next(i for i, c in enumerate(saved.cells) if "did not end" in c.source)
            assert saved.cells[at + 1].source == cell
    assert leftovers(out) == []


def test_symbols_without_a_log_and_results_leave_the_books(data: Path) -> None:
    out, odd = data.parent / "out", data / "orders_A (1).csv"
    odd.touch()
    code, _ = ran(data)
    assert code == EXIT_FAILED, "a name that can't be a file's"
    odd.unlink()
    for path in data.glob("*_[BC]*"):
        path.unlink()
    shutil.rmtree(out / "BBB")
    code, _ = ran(data)
    assert code == EXIT_OUTDATED, "CCC has results and no log any more"
    assert list(json.loads((out / "run.json").read_text())["symbols"]) == ["AAA", "CCC"]
    for name in ("summary.csv", "index.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert "AAA" in text
        assert "CCC" in text, "its results stand"
        assert "BBB" not in text
        assert "(1)" not in text


def test_retry_failed_runs_only_what_failed(
    data: Path, tables: Tables, write_run: WriteRun
) -> None:
    broken = data / "state_BBB.csv"
    good = broken.read_bytes()
    broken.write_bytes(b"")
    code, _ = ran(data)
    assert code == EXIT_FAILED
    broken.write_bytes(good)
    (data / "fills_AAA.csv").write_bytes((data / "fills_AAA.csv").read_bytes() + b"\n")
    code, again = ran(data, Options(retry_failed=True))
    assert code == EXIT_OK
    assert again.started_ == ["BBB"]


def test_stock_kernels_give_the_same_to_the_last_digit(data: Path) -> None:
    found = {}
    for kernel in ("warm", "stock"):
        ran(data, Options(kernel=kernel, force=True), symbols="AAA")
        folder = data.parent / "out" / "AAA"
        params = json.loads((folder / "params_AAA.json").read_text(encoding="utf-8"))
        document = nbformat.read(folder / "calibration_AAA.ipynb", as_version=4)
        pictures = [
            output["data"]["image/png"]
            for cell in document.cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        params.pop("created_utc")
        found[kernel] = (params, pictures)
    assert found["warm"] == found["stock"]
    assert len(found["warm"][1]) == 8


def test_shards_split_the_symbols(data: Path) -> None:
    parts = [[job.symbol for job in plan(data, shard=f"{i}/2").jobs] for i in (1, 2)]
    assert parts == [["AAA", "CCC"], ["BBB"]]


# --- the command as a process


def start(root: Path, data: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "run_calibration.py", "--data-dir", str(data)]
    return subprocess.Popen(
        [*command, "--out-dir", str(data.parent / "out"), *options],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def leftovers(out: Path) -> list[str]:
    """Half-made folders and files."""
    return [
        path.name
        for path in out.rglob(".*")
        if path.name != ".state" and ".state" not in path.parts
    ]


def test_ctrl_c_ends_within_seconds_and_the_next_run_goes_on(root: Path, data: Path) -> None:
    out = data.parent / "out"
    driver = start(root, data, "--jobs", "1")
    assert driver.stdout is not None
    first = driver.stdout.readline()
    assert first.startswith("[1/3]")
    os.killpg(driver.pid, signal.SIGINT)
    text, errors = driver.communicate(timeout=WATCHDOG_S)
    assert driver.returncode == 130, errors
    assert "interrupted" in text
    assert "Traceback" not in errors
    assert leftovers(out) == []
    done = {name for name in ("AAA", "BBB", "CCC") if (out / name).exists()}
    assert 1 <= len(done) < 3
    again = start(root, data)
    text, _ = again.communicate(timeout=WATCHDOG_S)
    assert again.returncode == 0
    assert text.count("skipped") == len(done) + 1, "each, and the count"


@pytest.mark.parametrize(
    "soak", [["many", "--symbols", "2"], ["kills", "--symbols", "2", "--times", "3"]]
)
def test_nothing_is_left_behind(root: Path, soak: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/soak.py", *soak],
        cwd=root,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_runs_on_one_folder_are_one_too_many(root: Path, data: Path) -> None:
    first = start(root, data, "--jobs", "1")
    assert first.stdout is not None
    first.stdout.readline()
    second = start(root, data)
    _, errors = second.communicate(timeout=WATCHDOG_S)
    assert second.returncode == 2
    (line,) = errors.splitlines()
    assert f"process {first.pid}" in line
    first.communicate(timeout=WATCHDOG_S)
    assert first.returncode == 0
