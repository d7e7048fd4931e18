"""Faults of the machine, and what nobody may be let in by: whole results or the old ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mm
from mm.core.errors import OutputError, SettingsError
from mm.core.settings import check_names
from mm.pipeline.locks import out_lock
from mm.results.record import write_text
from tests.conftest import Tables, WriteRun

RESULTS = {"calibration_AAA.ipynb", "params_AAA.json", "points_AAA.csv", "report_AAA.html"}
SECRET = "hunter2-correct-horse"  # noqa: S105  ours


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tables: Tables, write_run: WriteRun) -> Path:
    return write_run(tmp_path_factory.mktemp("data"), tables)


def command(data: Path, out: Path, *more: str) -> list[str]:
    places = ["--data-dir", str(data), "--out-dir", str(out), "-p", "TICK_SIZE", "1.0"]
    return [sys.executable, "run_calibration.py", *places, *more]


def run(
    root: Path, words: list[str], limit: Callable[[], None] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=root,
        env={**os.environ, **env},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=240,
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def leftovers(out: Path) -> list[Path]:
    hidden = (path for path in out.rglob(".*") if path.name != ".state")
    return [*hidden, *out.rglob("*.part")]


@pytest.fixture(scope="module")
def finished(root: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    secrets = {"SMTP_PASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "API_TOKEN": SECRET}
    done = run(root, command(data, out), **secrets)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def old(finished: Path, tmp_path: Path) -> Path:
    """A results folder of a run that went well."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


# --- nothing lost, nothing half written ----------------------------------------------------------


def test_a_limit_on_file_size_leaves_the_old_result(root: Path, data: Path, old: Path) -> None:
    before = digests(old / "AAA")
    assert set(before) == RESULTS
    for kilobytes in (1, 60):

        def limit(size: int = kilobytes * 1024) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        done = run(root, command(data, old, "--force"), limit)
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert "Traceback" not in said
        (line,) = [x for x in done.stderr.splitlines() if x.startswith("AAA: failed")]
        assert "can't be written" in line
        assert "File too large" in line
        assert "an older result is left as it was" in line
        assert digests(old / "AAA") == before
        assert not leftovers(old)
    again = run(root, command(data, old, "--force"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(digests(old / "AAA")) == RESULTS


def test_a_results_folder_that_vanishes_is_one_line(root: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(data, out), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    give_up = time.monotonic() + 120
    while not list(out.glob(".staging-*")) and time.monotonic() < give_up:
        time.sleep(0.01)
    shutil.rmtree(out)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "AAA: failed: results can't be written" in said
    assert not leftovers(tmp_path)


def test_what_can_t_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/x.json: can't be written \(Not a directory\)"):
        write_text(tmp_path / "file" / "x.json", "{}")


def test_little_memory_fails_the_symbol_and_no_more(root: Path, data: Path, old: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (900 * 2**20, 900 * 2**20))

    # A kernel whose threads died for want of memory lives and answers nothing, until the deadline.
    words = command(data, old, "--force", "--retries", "0", "--deadline", "20")
    done = run(root, words, limit)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert done.returncode in (0, 1), said
    assert not leftovers(old)
    status = json.loads((old / "run.json").read_text())["symbols"]["AAA"]["status"]
    there = (old / "AAA" / "params_AAA.json").exists()
    assert there == (status in ("ok", "warn")) == (done.returncode == 0), said


def test_results_go_through_a_linked_folder_but_the_state_through_none(
    root: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (tmp_path / "real" / "AAA").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real" / "run.json").symlink_to(tmp_path / "elsewhere" / "mine.txt")
    done = run(root, command(data, tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(digests(tmp_path / "real" / "AAA")) == RESULTS
    assert digests(tmp_path / "elsewhere").keys() == {"mine.txt"}
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "real" / ".state")
    (tmp_path / "real" / ".state").symlink_to(tmp_path / "elsewhere")
    done = run(root, command(data, tmp_path / "out"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert ".state: is a link" in done.stderr
    assert digests(tmp_path / "elsewhere").keys() == {"mine.txt"}


def test_a_full_disk_keeps_no_run_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with out_lock(tmp_path):
        pass


# --- nobody let in -------------------------------------------------------------------------------


def test_secrets_of_the_environment_are_recorded_nowhere(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert len(files) > 6
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", ["API_KEY", "smtp_password", "AccessToken", "SECRET", "DB_PASS"])
def test_parameters_that_look_like_secrets_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="looks like a secret") as error:
        check_names({name: SECRET}, "command line")
    assert SECRET not in str(error.value)


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    package = Path(mm.__file__).parent
    forbidden = re.compile(
        r"\b(import|from) (pickle|shelve|marshal|dill|joblib)\b"
        r"|read_pickle|yaml\.(unsafe_)?load\(|yaml\.full_load|shell=True|os\.system|os\.popen"
        r"|\beval\(|\bexec\(|allow_pickle=True"
    )
    found = [
        f"{path.name}: {line.strip()}"
        for path in [*package.rglob("*.py"), package.parent / "run_calibration.py"]
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert not found


def test_the_page_s_messages_of_faults_are_those_that_tests_look_for(root: Path) -> None:
    page = (root / "docs" / "input.md").read_text(encoding="utf-8").split("## Faults", 1)[1]
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    messages = [re.findall(r"`([^`]+)`", row)[-1] for row in rows]
    assert len(messages) == 7
    tests = "".join(
        path.read_text(encoding="utf-8") for path in sorted(root.glob("tests/**/test_*.py"))
    )
    assert not [message for message in messages if message not in tests]


def test_every_dependency_has_an_upper_bound(root: Path) -> None:
    for path in root.glob("requirements*.txt"):
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
        names = [line for line in lines if line and not line.startswith("-r")]
        assert not [name for name in names if "<" not in name and "==" not in name], path.name
