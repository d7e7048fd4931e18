"""A night and its morning by the command line: what machines watch, and what goes live."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from mm.core.config import read_config
from mm.core.errors import SettingsError
from mm.pipeline import history
from mm.pipeline.cli import main
from mm.results.record import Record
from tests.support.records import HIT

WriteRun = Callable[..., Path]
Tables = Mapping[str, pd.DataFrame]
Command = Callable[..., subprocess.CompletedProcess[str]]

SAMPLE = re.compile(r'mm_calibration_\w+(\{\w+="(\\.|[^"\\])*"(,\w+="(\\.|[^"\\])*")*\})? \S+')


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    tables: Mapping[str, pd.DataFrame],
    write_run: WriteRun,
) -> Path:
    folder = write_run(tmp_path_factory.mktemp("night") / "data", tables)
    (folder / "calibration.yaml").write_text(
        "defaults: {TICK_SIZE: 1.0}\nvalid_for: {count: 3, period: day}\nmax_move: 0.5\n"
    )
    return folder


@pytest.fixture(scope="module")
def command(root: Path, data: Path) -> Command:
    """Calls run_calibration.py on the results folder beside the data."""

    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, str(root / "run_calibration.py"), *arguments],
            cwd=data.parent,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def pinged() -> Iterator[tuple[str, list[str]]]:
    """A health check: its URL, and the paths that it was asked for. It answers 500 to 3."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(500 if self.path.endswith("/3") else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/secret", paths
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def night(command: Command, data: Path, pinged: tuple[str, list[str]]) -> Path:
    """The results of one batch."""
    out = data.parent / "out"
    arguments = ("--data-dir", str(data), "--out-dir", str(out), "--log-file", str(out) + ".jsonl")
    done = command(*arguments, MM_PING_URL=pinged[0])
    assert done.returncode == 0, done.stderr
    assert pinged[1] == ["/secret/0"]
    return out


def test_what_machines_read_of_a_night(night: Path) -> None:
    text = (night / "metrics.prom").read_text(encoding="utf-8")
    assert text.endswith("\n")
    samples = [line for line in text.splitlines() if not line.startswith("# ")]
    assert all(SAMPLE.fullmatch(line) for line in samples)
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in samples)}
    params = json.loads((night / "AAA" / "params_AAA.json").read_text(encoding="utf-8"))
    assert values['mm_calibration_A{symbol="AAA"}'] == params["A"]
    assert (
        values['mm_calibration_data_until_timestamp_seconds{symbol="AAA"}'] * 1000
        == (params["window_ms"][1])
    )
    assert values[f'mm_calibration_status{{symbol="AAA",status="{params["quality"]}"}}'] == 1
    assert values['mm_calibration_status{symbol="AAA",status="missing"}'] == 0
    assert values["mm_calibration_batch_exit_code"] == 0
    assert 0 < values["mm_calibration_batch_seconds"] < 600

    lines = Path(f"{night}.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["event"] for e in events] == [
        "batch_started", "started", "done", "told", "batch_ended",
    ]  # fmt: skip
    assert events[2]["A"] == params["A"]
    assert events[-1]["exit_code"] == 0
    assert "secret" not in Path(f"{night}.jsonl").read_text("utf-8")


def test_a_health_check_that_is_not_reached_costs_one_line(
    command: Command, tmp_path: Path, pinged: tuple[str, list[str]]
) -> None:
    arguments = ("--data-dir", str(tmp_path), "--out-dir", str(tmp_path / "out"))
    done = command(*arguments, MM_PING_URL="file:///etc/passwd")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = command(*arguments, MM_PING_URL="http://127.0.0.1:9/secret")
    assert done.returncode == 2, "its own exit code"
    assert "MM_PING_URL was not reached" in done.stderr
    assert "secret" not in done.stderr
    command(*arguments, MM_PING_URL=pinged[0])
    assert pinged[1][-1] == "/secret/2", "usage errors are told too"


def test_promote_export_roll_back(command: Command, night: Path, tmp_path: Path) -> None:
    registry = ("--out-dir", str(night), "--registry", str(tmp_path / "registry"))
    refused = command("promote", *registry)
    assert refused.returncode == 3
    assert refused.stderr.startswith("AAA  not promoted: expired: valid until 20")
    assert command("promote", *registry, "--force").returncode == 2, "without a reason"
    assert command("promote", *registry, "--symbols", "BBB").returncode == 2
    forced = command("promote", *registry, "--force", "--reason", "a backtest of older data")
    assert forced.returncode == 0
    assert forced.stdout.startswith("AAA  live: the first; FORCED")
    status = command("status", *registry)
    assert status.returncode == 4
    assert "EXPIRED" in status.stderr
    exported = command("export", *registry, "--to", str(tmp_path / "consumer"))
    assert exported.returncode == 4
    assert list((tmp_path / "consumer").iterdir()) == []
    assert command("rollback", *registry, "--reason", "no").returncode == 0
    assert command("rollback", *registry).returncode == 2
    journal = (tmp_path / "registry" / "journal.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["why"] for line in journal.splitlines()] == [
        "a backtest of older data", "no",
    ]  # fmt: skip


def test_the_history_by_the_command_line(command: Command, night: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(night, tmp_path / "out")
    shutil.rmtree(copy / "history")
    assert command("history", "--out-dir", str(copy)).returncode == 2
    done = command("history", "--out-dir", str(copy), "--rebuild")
    assert done.returncode == 0
    assert "1 rows, 1 batches, 1 symbols" in done.stdout


def test_the_morning_tells_of_forecasts_that_fail(
    command: Command, data: Path, night: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(night, tmp_path / "out")
    (out / "registry").mkdir()
    ledger = out / "registry" / "scores.jsonl"
    miss = HIT.model_copy(update={"seen": 200}).model_dump_json() + "\n"
    told = "the last 3 forecasts missed"
    for text, said in ((3 * miss, told), (2 * miss, None), ("{}\n", None)):
        ledger.write_text(text, encoding="utf-8")
        done = command("--data-dir", str(data), "--out-dir", str(out))
        assert done.returncode == 0
        assert ("ledger can't be read" in done.stderr) == (text == "{}\n")
        assert json.loads((out / "run.json").read_text())["symbols"]["AAA"]["forecast"] == said
        mail = message_from_bytes((out / "calibration.eml").read_bytes(), policy=default)
        body = mail.get_body(("plain",))
        assert body is not None
        for page in ((out / "index.html").read_text(encoding="utf-8"), body.get_content()):
            assert (told in page) == (said is not None)


def test_a_second_night_has_a_drift_page_that_says_what_is_live(
    command: Command, data: Path, night: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(night, tmp_path / "out"))
    page, index = out / "drift.html", out / "index.html"
    assert not page.exists()
    assert "drift.html" not in index.read_text(encoding="utf-8")
    history.add(out, {"AAA": Record(status="refused")}, datetime.now(UTC) - timedelta(days=1))
    batch = ("--data-dir", str(data), "--out-dir", str(out))
    assert command(*batch).returncode == 0
    assert 'href="drift.html"' in index.read_text(encoding="utf-8")
    assert "live since" not in page.read_text(encoding="utf-8")
    where = ("--out-dir", str(out))
    assert command("promote", *where, "--force", "--reason", "older data").returncode == 0
    assert "live since" in page.read_text(encoding="utf-8")
    assert command("rollback", *where).returncode == 0
    assert "live since" not in page.read_text(encoding="utf-8")

    (out / "registry" / "journal.jsonl").write_text("{}\n", encoding="utf-8")
    for done, code in ((command(*batch), 1), (command("score", *where), 3)):
        assert done.returncode == code
        (line,) = [line for line in done.stderr.splitlines() if "drift.html" in line]
        assert "written: " in line
        assert "journal.jsonl, row 1: " in line
    assert 'href="drift.html"' in index.read_text(encoding="utf-8"), "every other page is there"


def test_what_happens_to_a_market_is_told_on_its_morning_and_nothing_else_is(root: Path) -> None:
    """Unchanged, missing, another rate, another tick size."""
    done = subprocess.run(
        [sys.executable, "benchmarks/nights.py", "--short"],
        cwd=root,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": told: ") == 4
    assert "false alarms: 0.00" in done.stdout


@pytest.mark.parametrize("where", ["mm.registry.change.status", "click.Command.parse_args"])
def test_ctrl_c_ends_a_command_as_it_does_a_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    done = CliRunner().invoke(main, ["status", "--out-dir", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_options_of_a_batch_do_not_get_lost_before_a_command(command: Command) -> None:
    done = command("--symbols", "AAA", "promote")
    assert done.returncode == 2
    assert "--symbols stands before promote" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("valid_for: 3", "valid_for: found 3"),
        ("block_codes: [levle]", "did you mean level"),
        ("block_codes: level", "not a list"),
        ("max_move: -1", "max_move: found -1"),
        ("max_move: true", "max_move: found True"),
    ],
)
def test_what_may_go_live_is_checked_where_it_is_written(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_config(path)


def test_codes_that_can_be_blocked_are_those_of_warnings(root: Path) -> None:
    from mm.core.policy import CODES

    page = (root / "docs" / "verdict.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| `")]
    warned = [re.findall(r"`(\w+)`", row[1]) for row in rows if row[2].strip() != "refused"]
    assert {code for codes in warned for code in codes} == CODES
