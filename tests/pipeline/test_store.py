"""Logs and results at URLs: a real S3 server on loopback, that can be told to refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mm
from mm.convert import convert
from mm.core.errors import CalibrationError, InputError, SettingsError
from mm.core.storage import Remote, StoreError, is_url, path_or_url
from mm.logs.load import load_log
from mm.pipeline.batch import EXIT_FAILED, EXIT_OK, EXIT_OUTDATED, Options, run_batch
from mm.pipeline.locks import scratch
from mm.pipeline.plan import Request, make_plan
from mm.pipeline.store import open_store
from mm.pipeline.symbol import SymbolRun
from mm.results.record import Record
from tests.support.s3 import S3, SECRET, everything, put, serving

pytestmark = pytest.mark.usefixtures("shared_kernels")

Tables = Mapping[str, pd.DataFrame]
WriteRun = Callable[..., Path]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serving() as s3:
        yield s3


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    yield server
    server.refuse = lambda _request: False


class Seen:
    """Remembers how a run went."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.runs: dict[str, SymbolRun] = {}
        self.lines: list[str] = []

    def started(self, name: str) -> None:
        self.started_.append(name)

    def done(self, run: SymbolRun) -> None:
        self.runs[run.symbol] = run

    def trouble(self, line: str) -> None:
        self.lines.append(line)

    def told(self, records: Mapping[str, Record]) -> None:
        pass

    def kept(self, folder: Path, size: int) -> None:
        pass


def ran(data: Remote, out: Remote, **request: Any) -> tuple[int, Seen]:
    seen = Seen()
    return run_batch(make_plan(Request(data, out, **request), {}), Options(), seen), seen


def writes(request: Mapping[str, Any], part: str, *, copies: bool = False) -> bool:
    """Whether a request puts, or copies within the store, a file with this in its name."""
    put = request["REQUEST_METHOD"] == "PUT" and part in request["PATH_INFO"]
    return put and ("HTTP_X_AMZ_COPY_SOURCE" in request) == copies


def test_from_bucket_to_bucket_again_and_when_the_store_refuses(
    s3: S3, tables: Tables, later_tables: Tables
) -> None:
    data, out = Remote.of("s3://desk/run/data"), Remote.of("s3://desk/run/out")
    put(data, tables, "AAA")
    (data / "calibration.yaml").write_bytes(b"defaults: {TICK_SIZE: 1.0}\n")
    code, seen = ran(data, out)
    assert (code, seen.lines) == (EXIT_OK, [])
    there = everything(out)
    assert {name for name in there if name.startswith("AAA/")} == {
        "AAA/calibration_AAA.ipynb",
        "AAA/report_AAA.html",
        "AAA/params_AAA.json",
        "AAA/points_AAA.csv",
    }
    assert {name for name in there if "/" not in name} == {
        "index.html",
        "summary.csv",
        "run.json",
        "calibration.eml",
        "metrics.prom",
    }
    left = {name for name in there if "/" in name and not name.startswith("AAA/")}
    (part,) = (name for name in left if name.startswith("history/"))
    kept = {".state/records/AAA.json", ".state/marks/AAA.json", part}
    assert left == kept, "no staging, no lock"
    expected = mm.calibrate(**tables, tick_size=1.0).params
    assert expected is not None
    params = json.loads(there["AAA/params_AAA.json"])
    assert (params["A"], params["k"]) == (expected.A, expected.k)
    record = json.loads(there["run.json"])["symbols"]["AAA"]
    assert record["settings"]["BACKTEST_DIR"] == data.url, "an executed copy reads the same logs"
    assert record["settings_from"]["TICK_SIZE"] == f"{data.url}/calibration.yaml"
    assert not [name for name, content in there.items() if SECRET.encode() in content]

    # nothing has changed
    code, seen = ran(data, out)
    assert (code, seen.started_) == (EXIT_OK, [])
    again = everything(out)
    assert [n for n in there if n.startswith("AAA/") and again[n] != there[n]] == []
    assert b"params_AAA.json" in again["index.html"], "what did not run is linked to as well"
    assert again["index.html"].count(b"observed intensities") == 1

    # the code of the pages has changed
    of_older_code = {**json.loads(there[".state/records/AAA.json"]), "pages": "older"}
    (out / ".state" / "records" / "AAA.json").write_bytes(json.dumps(of_older_code).encode())
    (out / "AAA" / "report_AAA.html").write_bytes(b"")
    marks = {path.name: path.mark for path in (out / "AAA").iterdir()}
    (out / ".state" / "marks" / "AAA.json").write_bytes(json.dumps(marks).encode())
    code, seen = ran(data, out)
    assert (code, seen.started_, seen.lines) == (EXIT_OK, [], [])
    assert everything(out)["AAA/report_AAA.html"] == there["AAA/report_AAA.html"]
    assert json.loads(everything(out)[".state/records/AAA.json"])["pages"] == record["pages"]

    # an input has changed, and the store takes no report
    put(data, later_tables, "AAA")
    s3.refuse = lambda request: writes(request, "report_AAA")
    code, seen = ran(data, out)
    assert code == EXIT_FAILED
    assert seen.started_ == ["AAA"]
    error = seen.runs["AAA"].record.error or ""
    assert error.startswith("not published, the old result stands: s3://desk/run/out/.staging/")
    assert "no room" in error
    held = everything(out)
    assert {n: held[n] for n in there if n.startswith("AAA/")} == {
        n: there[n] for n in there if n.startswith("AAA/")
    }
    assert json.loads(held["run.json"])["symbols"]["AAA"]["status"] == "failed"
    assert not [name for name in held if ".staging" in name]

    # then it takes all, but fails while they are put in place: the next batch completes it
    s3.refuse = lambda request: writes(request, "params_AAA", copies=True)
    code, seen = ran(data, out)
    assert code == EXIT_FAILED
    assert "the next batch completes it" in (seen.runs["AAA"].record.error or "")
    assert everything(out)["AAA/params_AAA.json"] == there["AAA/params_AAA.json"]
    s3.refuse = lambda _request: False
    code, seen = ran(data, out)
    assert (code, seen.started_) == (EXIT_OK, [])
    last = everything(out)
    later = mm.calibrate(**later_tables, tick_size=1.0).params
    assert later is not None
    assert json.loads(last["AAA/params_AAA.json"])["A"] == later.A != expected.A
    assert not [name for name in last if ".staging" in name]

    # somebody writes over a result
    (out / "AAA" / "points_AAA.csv").write_bytes(b"")
    s3.refuse = lambda request: writes(request, "/index.html")
    code, seen = ran(data, out)
    assert seen.started_ == ["AAA"]
    assert code == EXIT_FAILED
    (line,) = seen.lines
    assert line.startswith("not all is in the results folder: s3://desk/run/out/index.html: ")


def test_another_run_on_the_same_place_is_refused_unless_it_is_dead(
    s3: S3, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = Remote.of("s3://desk/two/data"), Remote.of("s3://desk/two/out")
    put(data, {**tables, "state": tables["state"].drop(columns="mid")}, "AAA")
    now = pd.Timestamp.now("UTC")
    for renewed, said in ((now, "process 7 on elsewhere"), (now - pd.Timedelta("1h"), None)):
        lock = {"host": "elsewhere", "process": 7, "renewed_utc": renewed.isoformat()}
        (out / ".state" / "lock.json").write_bytes(json.dumps(lock).encode())
        if said:
            with pytest.raises(CalibrationError, match=said):
                ran(data, out)
        else:
            code, seen = ran(data, out)
            assert code == EXIT_FAILED
            assert "mid" in (seen.runs["AAA"].record.error or "")


def test_runs_below_are_pooled_and_messages_name_the_url(
    s3: S3, tables: Tables, later_tables: Tables
) -> None:
    data = Remote.of("s3://desk/pooled")
    put(data / "monday", tables, "AAA")
    put(data / "tuesday", later_tables, "AAA")
    log = load_log(data, "AAA")
    assert [run.name for run in log.runs] == ["monday", "tuesday"]
    assert set(log.inputs_sha256) >= {"monday/fills_AAA.csv", "tuesday/state_AAA.csv"}
    (data / "monday" / "state_AAA.csv").remove()
    with pytest.raises(InputError, match=r"^s3://desk/pooled/monday: no state_AAA\.csv"):
        load_log(data, "AAA")
    with pytest.raises(InputError, match=r"^s3://desk/nothing: no such folder"):
        load_log(Remote.of("s3://desk/nothing"), "AAA")


def test_a_symbol_gone_from_both_places_leaves_the_books(s3: S3, tables: Tables) -> None:
    data, out = Remote.of("s3://desk/gone/data"), Remote.of("s3://desk/gone/out")
    for symbol in ("AAA", "BBB", "CCC"):
        put(data, tables, symbol)
    assert ran(data, out)[0] == EXIT_OK
    for path in data.iterdir():
        if path.name.endswith(("_BBB.csv", "_CCC.csv")):
            path.remove()
    (out / "BBB").remove()
    assert ran(data, out)[0] == EXIT_OUTDATED
    assert json.loads(everything(out)["CCC/params_CCC.json"])["outdated"].startswith("missing")
    assert list(json.loads(everything(out)["run.json"])["symbols"]) == ["AAA", "CCC"]


def test_a_log_in_parts_is_read_from_a_store_and_resumed(
    s3: S3, tables: Tables, later_tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    here = tmp_path / "parts"
    convert(write_run(tmp_path / "csv", tables, "AAA"), here, by_day=True)
    data, out = Remote.of("s3://desk/parts/data"), Remote.of("s3://desk/parts/out")
    for part in (path for path in here.rglob("*") if path.is_file()):
        (data / part.relative_to(here).as_posix()).write_bytes(part.read_bytes())
    note = data / "state_AAA.parquet" / "_SUCCESS"
    note.write_bytes(b"")
    assert any("state_AAA.parquet/date=" in name for name in data.walk())
    there, local = load_log(data, "AAA"), load_log(here, "AAA")
    assert there.runs[0].inputs_sha256 == local.runs[0].inputs_sha256
    code, seen = ran(data, out)
    assert (code, seen.lines) == (EXIT_OK, [])
    expected = mm.calibrate(**tables).params
    assert expected is not None
    params = json.loads(everything(out)["AAA/params_AAA.json"])
    assert (params["A"], params["k"]) == (expected.A, expected.k)
    assert ran(data, out)[1].started_ == []

    # Another day is another log.
    (part,) = (here / "fills_AAA.parquet").rglob("*.parquet")
    more = data / "fills_AAA.parquet" / "date=2100-01-01" / "part-0.parquet"
    more.write_bytes(part.read_bytes())
    assert ran(data, out)[1].started_ == ["AAA"]


def test_the_command_takes_urls(s3: S3, root: Path, tables: Tables, tmp_path: Path) -> None:
    data = Remote.of("s3://desk/listed")
    put(data, tables, "AAA")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(root / "run_calibration.py"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    done = command("--data-dir", data.url, "--list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "AAA\n", "")
    s3.refuse = lambda _request: True
    done = command("--data-dir", data.url, "--list")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "s3://desk/listed: " in line


# --- without a server


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("s3://key:secret@bucket/data", "s3://bucket: a URL with credentials"),
        ("https://host/data?token=secret", "https://host: a URL with credentials"),
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(given: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        path_or_url(given)
    assert "secret" not in str(error.value)


def test_a_path_is_no_url(tmp_path: Path) -> None:
    assert not is_url(str(tmp_path))
    assert not is_url(r"C:\data")
    assert path_or_url(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_every_store_is_a_folder(scheme: str, tmp_path: Path) -> None:
    top = Remote.of(f"{scheme}://{tmp_path}/top/")
    assert not top.is_dir()
    assert top.walk() == {}
    (top / "below" / "a.txt").write_bytes(b"one")
    (top / "b.txt").write_bytes(b"two")
    assert [(path.name, path.is_dir()) for path in top.iterdir()] == [
        ("b.txt", False),
        ("below", True),
    ]
    assert list(top.walk()) == ["b.txt", "below/a.txt"]
    before = (top / "b.txt").mark
    (top / "b.txt").write_bytes(b"three")
    assert (top / "b.txt").mark != before
    (top / "below" / "a.txt").copy_to(top / "c.txt")
    assert (top / "c.txt").fetch(tmp_path / "here" / "c").read_bytes() == b"one"
    (top / "below").remove()
    (top / "below").remove()
    assert not (top / "below" / "a.txt").is_file()
    with pytest.raises(FileNotFoundError):
        (top / "below" / "a.txt").read_bytes()


def test_a_symbol_that_left_nothing_has_a_page_that_says_so_and_no_parameters() -> None:
    out = Remote.of("memory://failures/out")
    (out / "AAA" / "params_AAA.json").write_bytes(b"{}")
    (out / "AAA" / "report_AAA.html").write_bytes(b"old")
    with open_store(out) as results:
        record = Record(status="failed", error="lost its worker", error_kind="lost_worker")
        results.failed("AAA", record)
    there = everything(out)
    assert {name for name in there if name.startswith("AAA/")} == {"AAA/report_AAA.html"}
    assert b"lost its worker" in there["AAA/report_AAA.html"].lower()
    assert json.loads(there[".state/records/AAA.json"])["error_kind"] == "lost_worker"
    assert not [name for name in there if ".staging" in name or "lock" in name]


HOLDER = """\
import sys, time
from mm.pipeline.locks import scratch
with scratch("mm-out-") as folder:
    (folder / "kept").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_run_left_here_goes_with_the_next_and_a_living_one_s_stays(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    killed, living = (
        subprocess.Popen([sys.executable, "-c", HOLDER], cwd=root, env=env, stdout=subprocess.PIPE)
        for _ in range(2)
    )
    try:
        assert killed.stdout is not None
        assert living.stdout is not None
        left, used = (Path(p.stdout.readline().decode().strip()) for p in (killed, living))  # type: ignore[union-attr]
        killed.kill()
        killed.wait()
        assert (left / "kept").exists(), "nobody could tidy up"
        with scratch("mm-out-") as own:
            assert not left.exists()
            assert (used / "kept").exists()
            assert own.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {used.name}
    finally:
        for process in (killed, living):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_an_unknown_scheme_is_one_line() -> None:
    with pytest.raises(StoreError, match=r"^nosuch://x/y: ValueError: Protocol not known"):
        Remote.of("nosuch://x/y").is_dir()
