"""Symbols on the workers of a dask scheduler: real processes, started by dask's own commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import mm
import mm.pipeline
from mm.core.errors import CalibrationError
from mm.core.storage import Remote
from mm.pipeline import cluster, worker
from mm.pipeline.batch import EXIT_FAILED, EXIT_OK, Options, run_batch
from mm.pipeline.books import read_record
from mm.pipeline.plan import Plan, Request, make_plan
from mm.pipeline.publish import whole
from mm.pipeline.resume import code_marks
from mm.pipeline.symbol import SymbolRun
from mm.results.record import Record
from tests.support.s3 import SECRET, everything, put, serving

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="warm kernels are Linux's"),
    pytest.mark.usefixtures("shared_kernels"),
]

WATCHDOG_S = 120.0
GOOD = ("AAA", "BBB", "CCC")
WriteRun = Callable[..., Path]
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Cluster:
    """A scheduler's address, its worker processes, and where these keep temporary files."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]
    temporary: Path

    def kernels(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The kernels that a worker runs: children of the process that starts them."""
        found = []
        for starter in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # gone by now, and its kernels with it
                found += starter.children()
        return found


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition to hold; returns what it gave."""
    give_up = time.monotonic() + WATCHDOG_S
    while time.monotonic() < give_up:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited too long")


@contextlib.contextmanager
def a_cluster(root: Path, folder: Path, workers: int) -> Iterator[Cluster]:
    """A scheduler and workers by dask's own commands; at its end they have left nothing of ours."""
    temporary = Path(tempfile.mkdtemp(prefix="mw-", dir="/tmp"))  # short, for sockets
    file, dask = folder / "scheduler.json", str(Path(sys.executable).with_name("dask"))
    env = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(temporary)}
    at = ["--host", "127.0.0.1", "--no-dashboard"]
    # A worker lingers for a while when its scheduler is gone.
    one = [
        "--nthreads",
        "1",
        "--no-nanny",
        "--local-directory",
        str(folder),
        "--death-timeout",
        "5",
    ]
    processes: list[Any] = []
    try:
        for command in (
            [dask, "scheduler", *at, "--port", "0", "--scheduler-file", str(file)],
            *[[dask, "worker", *at, *one, "--scheduler-file", str(file)]] * workers,
        ):
            # The scheduler, elsewhere, needs no mm: without PYTHONPATH it has none.
            given = env if "worker" in command else {**env, "PYTHONPATH": ""}
            log = (folder / f"{len(processes)}.log").open("wb")
            with log:
                process = subprocess.Popen(command, cwd=folder, env=given, stdout=log, stderr=log)
            processes.append(process)
        address = until(lambda: file.exists() and json.loads(file.read_text() or "{}"))["address"]
        yield Cluster(address, processes[0], processes[1:], temporary)
    finally:
        for process in reversed(processes):  # a worker whose scheduler has gone first lingers
            process.terminate()
            process.wait(WATCHDOG_S)
        # What a killed worker leaves, its kernels' starter takes away once it sees it gone.
        until(lambda: {path.name for path in temporary.iterdir()} <= {"dask-scratch-space"})
        shutil.rmtree(temporary)


@pytest.fixture(scope="module")
def running(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(root, tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@pytest.fixture
def data(tmp_path: Path, tables: Tables, write_run: WriteRun) -> Path:
    for name in GOOD:
        write_run(tmp_path / "data", tables, name)
    return tmp_path / "data"


class Seen:
    """Remembers how a run went."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.runs: list[SymbolRun] = []

    def started(self, name: str) -> None:
        self.started_.append(name)

    def done(self, run: SymbolRun) -> None:
        self.runs.append(run)

    def trouble(self, line: str) -> None:
        raise AssertionError(line)

    def told(self, records: Mapping[str, Record]) -> None:
        pass

    def kept(self, folder: Path, size: int) -> None:
        pass


def plan(data: Path, out: str = "out", **request: Any) -> Plan:
    return make_plan(Request(data_dir=data, out_dir=data.parent / out, **request), {})


def ran(planned: Plan, **options: Any) -> tuple[int, Seen]:
    seen = Seen()
    return run_batch(planned, Options(**options), seen), seen


def start(root: Path, data: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "run_calibration.py", "--data-dir", str(data)]
    return subprocess.Popen(
        [*command, "--out-dir", str(data.parent / "out"), *options],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def records(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / "run.json").read_text(encoding="utf-8"))["symbols"]
    return {str(symbol): dict(record) for symbol, record in found.items()}


def leftovers(out: Path) -> list[str]:
    return [path.name for path in out.iterdir() if path.name[0] == "." and path.name != ".state"]


# In this order: the last one takes a worker away.


def test_statuses_deadlines_and_resume_are_those_of_the_local_pool(
    running: Cluster,
    data: Path,
    tables: Tables,
    unfilled_tables: Tables,
    write_run: WriteRun,
) -> None:
    shutil.rmtree(data)
    write_run(data, tables, "AAA")
    write_run(data, unfilled_tables, "NOFILL")
    write_run(data, {**tables, "state": tables["state"].drop(columns="mid")}, "BROKEN")
    code, there = ran(plan(data), scheduler=running.address)
    assert code == EXIT_FAILED
    assert sorted(there.started_) == ["AAA", "BROKEN", "NOFILL"]
    assert len(there.runs) == 3
    ran(plan(data, "local"))
    out, local = records(data.parent / "out"), records(data.parent / "local")
    own = ("seconds", "finished_utc", "outputs", "freshness")
    for symbol, record in out.items():
        names = set(record["outputs"])
        assert names == set(local[symbol]["outputs"])
        assert {p.name for p in (data.parent / "out" / symbol).iterdir()} == names
        for name in own:
            record.pop(name), local[symbol].pop(name)
    assert out == local

    code, again = ran(plan(data))
    assert (code, again.started_) == (EXIT_FAILED, ["BROKEN"]), "what holds, holds for both"

    late = {"deadline_s": 0.2, "force": True, "scheduler": running.address}
    code, seen = ran(plan(data, symbols="AAA"), **late)
    assert code == EXIT_FAILED
    (run,) = seen.runs
    assert (run.record.error_kind, run.record.attempts) == ("deadline", 2)
    assert not (data.parent / "out" / "AAA" / "params_AAA.json").exists()


def test_ctrl_c_kills_what_runs_and_keeps_the_workers(
    running: Cluster, root: Path, data: Path
) -> None:
    driver = start(root, data, "--scheduler", running.address)
    until(lambda: any(running.kernels(process) for process in running.workers))
    driver.send_signal(signal.SIGINT)
    text, errors = driver.communicate(timeout=WATCHDOG_S)
    assert driver.returncode == 130, errors
    assert "run the same command to go on" in text
    assert leftovers(data.parent / "out") == []
    until(lambda: not any(running.kernels(process) for process in running.workers))
    assert all(process.poll() is None for process in running.workers)


def test_a_worker_with_other_code_is_told_before_anything_runs(
    running: Cluster, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = code_marks()
    for other, said in (
        ({**here, "mm": "0"}, "runs another version of mm/ or the template"),
        ({**here, "numpy": "0"}, f"has numpy {here['numpy']}, the driver 0"),
    ):
        monkeypatch.setattr(cluster, "code_marks", lambda other=other: other)
        with pytest.raises(CalibrationError, match=r"^worker tcp://[\d.:]+: ") as error:
            ran(plan(data), scheduler=running.address)
        assert said in str(error.value)
    assert leftovers(data.parent / "out") == []


def test_a_killed_worker_s_symbol_is_run_again_and_all_are_published_once(
    running: Cluster, root: Path, data: Path, tables: Tables
) -> None:
    driver = start(root, data, "--scheduler", running.address)
    victim = running.workers[0]
    kernels = until(lambda: running.kernels(victim))
    (starter,) = psutil.Process(victim.pid).children()
    victim.kill()
    text, errors = driver.communicate(timeout=WATCHDOG_S)
    assert driver.returncode == EXIT_OK, errors
    assert "Traceback" not in errors
    lines = [line for line in text.splitlines() if line.startswith("[")]
    assert sorted(line.split()[1] for line in lines) == list(GOOD), "each ends once"

    out = data.parent / "out"
    assert leftovers(out) == []
    expected = mm.calibrate(**tables).params  # the same log under three names
    assert expected is not None
    for symbol, record in records(out).items():
        assert (record["A"], record["k"]) == (expected.A, expected.k)
        kept = read_record(out, symbol)
        assert kept is not None
        assert whole(out / symbol, kept.outputs)
        assert kept.outputs == record["outputs"]
    # The killed worker's kernels and their starter are gone with it.
    until(lambda: not any(process.is_running() for process in (starter, *kernels)))


# --- clusters of their own


def test_a_lost_scheduler_ends_the_run_as_interrupted_and_the_same_command_goes_on(
    root: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "cluster").mkdir()
    with a_cluster(root, tmp_path / "cluster", 1) as lost:
        driver = start(root, data, "--scheduler", lost.address)
        kernels = until(lambda: lost.kernels(lost.workers[0]))
        lost.scheduler.kill()
        text, errors = driver.communicate(timeout=WATCHDOG_S)
        assert driver.returncode == 130, errors
        assert "Traceback" not in errors
        assert "the connection to the dask scheduler is lost" in errors
        assert "run the same command to go on" in text
        assert leftovers(data.parent / "out") == []
        before = {symbol for symbol in GOOD if (data.parent / "out" / symbol).exists()}
        code, seen = ran(plan(data))
        assert code == EXIT_OK
        assert set(seen.started_) == set(GOOD) - before
    until(lambda: not any(process.is_running() for process in kernels))


def test_workers_read_from_a_store_and_the_driver_publishes_to_it(
    root: Path, tables: Tables, later_tables: Tables, tmp_path: Path
) -> None:
    """No folder is shared by anyone."""
    (tmp_path / "cluster").mkdir()
    where, out = Remote.of("s3://desk/night/data"), Remote.of("s3://desk/night/out")
    with serving() as store:
        for symbol, given in (("AAA", tables), ("BBB", later_tables)):
            put(where, given, symbol)
        with a_cluster(root, tmp_path / "cluster", 2) as running:
            seen = Seen()
            there = Options(scheduler=running.address)
            assert run_batch(make_plan(Request(where, out), {}), there, seen) == EXIT_OK
            assert sorted(seen.started_) == ["AAA", "BBB"]
            held = everything(out)
            for symbol, given in (("AAA", tables), ("BBB", later_tables)):
                expected = mm.calibrate(**given).params
                assert expected is not None
                params = json.loads(held[f"{symbol}/params_{symbol}.json"])
                assert (params["A"], params["k"]) == (expected.A, expected.k)
            assert not [n for n, content in held.items() if SECRET.encode() in content]

            # One input changes, and the store takes no report of it.
            put(where, tables, "BBB")
            store.refuse = lambda request: (
                request["REQUEST_METHOD"] == "PUT" and "report_BBB" in request["PATH_INFO"]
            )
            seen = Seen()
            assert run_batch(make_plan(Request(where, out), {}), there, seen) == EXIT_FAILED
            assert seen.started_ == ["BBB"]
            (error,) = [run.record.error for run in seen.runs if run.symbol == "BBB"]
            assert (error or "").startswith("not published, the old result stands: s3://desk/night")
            kept = everything(out)
            names = [name for name in held if name.startswith("BBB/")]
            assert {name: kept[name] for name in names} == {name: held[name] for name in names}


# --- without a cluster


def test_no_scheduler_is_one_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.3)
    with pytest.raises(CalibrationError, match="no dask scheduler answers there") as error:
        ran(plan(data), scheduler="tcp://127.0.0.1:9")
    assert "\n" not in str(error.value)


def test_a_worker_says_what_it_can_not_see(data: Path) -> None:
    here = code_marks()
    name = "fills_AAA.csv"
    size = (data / name).stat().st_size
    assert worker.look(here, str(data), {name: size}) == ""
    assert "there is no folder" in worker.look(here, str(data / "no"), {})
    assert "is another file there" in worker.look(here, str(data), {name: size + 1})
    told = worker.look(here, str(data), {"fills_ZZZ.csv": 1})
    assert "can't be read there" in told
    assert told.endswith("or a URL")


def test_without_dask_one_line_says_what_to_install(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mm.pipeline.cluster")
    monkeypatch.delattr(mm.pipeline, "cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CalibrationError, match="make scale"):
        ran(plan(data), scheduler="tcp://127.0.0.1:9")
