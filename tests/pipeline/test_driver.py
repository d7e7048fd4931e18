"""The driver as its users start it: real processes, real papermill, results on disk."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

import mm
from mm.core.settings import Settings
from mm.results.params import schema

Tables = dict[str, pd.DataFrame]
WriteRun = Callable[..., Path]
OLD = "2001-02-03T04:05:06+00:00"
OURS = {*Settings.model_fields, "OUT_DIR", "CONFIG"}


@dataclass(frozen=True)
class Done:
    """How a run of the driver ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said in trouble, without what Jupyter says on its own."""
        return [line for line in self.err.splitlines() if "IPKernelApp" not in line]


class Driver:
    """Starts ``run_calibration.py`` with an environment that holds no settings but those given."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        clean = {name: value for name, value in os.environ.items() if name not in OURS}
        done = subprocess.run(
            [sys.executable, str(self.root / "run_calibration.py"), *map(str, arguments)],
            cwd=cwd or self.root,
            env={**clean, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def driver(root: Path) -> Driver:
    return Driver(root)


def books(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "run.json").read_text(encoding="utf-8"))["symbols"])


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["symbol"]: row for row in csv.DictReader(file)}


def params(out: Path, symbol: str) -> dict[str, Any]:
    return dict(json.loads((out / symbol / f"params_{symbol}.json").read_text(encoding="utf-8")))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def four_files(symbol: str) -> set[str]:
    return {
        f"calibration_{symbol}.ipynb",
        f"report_{symbol}.html",
        f"params_{symbol}.json",
        f"points_{symbol}.csv",
    }


# --- the demo --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def demo(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """What ``make calibrate`` does, into a folder of our own."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return driver("--out-dir", out), out


@pytest.fixture(scope="session")
def truths(root: Path) -> dict[str, tuple[float, float]]:
    """A and k by symbol from the table of data/README.md."""
    text = (root / "data" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z0-9]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert len(rows) >= 3
    return {symbol: (float(A), float(k)) for symbol, A, k in rows}


def test_the_demo_s_truths_lie_in_their_intervals(
    demo: tuple[Done, Path], truths: dict[str, tuple[float, float]]
) -> None:
    done, out = demo
    assert done.code == 0, done.err
    assert set(books(out)) == set(truths)
    for symbol, (A, k) in truths.items():
        ci95 = params(out, symbol)["ci95"]
        assert ci95["A"][0] <= A <= ci95["A"][1], symbol
        assert ci95["k"][0] <= k <= ci95["k"][1], symbol
        assert ci95["k"][1] - ci95["k"][0] < 0.5 * k, f"{symbol}: an interval this wide is no news"


def test_every_symbol_has_its_four_files_and_nothing_lies_about(
    demo: tuple[Done, Path], truths: dict[str, tuple[float, float]]
) -> None:
    _, out = demo
    for symbol in truths:
        assert names(out / symbol) == four_files(symbol)
    assert names(out) >= {*truths, "run.json", "summary.csv"}
    # Records for resuming and the lock are the only thing that is not a result.
    assert {name for name in names(out) if name.startswith(".")} == {".state"}


def test_the_books_say_what_the_params_say(
    demo: tuple[Done, Path], truths: dict[str, tuple[float, float]]
) -> None:
    _, out = demo
    records, rows = books(out), summary(out)
    assert list(rows) == sorted(truths)
    for symbol in truths:
        found, record, row = params(out, symbol), records[symbol], rows[symbol]
        for name in ("A", "k"):
            assert found[name] == record[name] == float(row[name])
        assert found["quality"] == record["status"] == row["status"]
        for name in ("ci95", "lambda_at", "through", "passive", "candidates", "findings"):
            assert found[name] == record[name], name
        assert found["n_fills"] == record["n_fills"] == int(row["n_fills"])
        assert found["inputs_sha256"] == record["inputs_sha256"]
        assert len(record["inputs_sha256"]) == 3
        assert found["settings"]["TICK_SIZE"] == found["tick_size"]
        assert record["settings_from"]["TICK_SIZE"].endswith("calibration.yaml")
        assert record["seconds"] > 0


def test_params_are_valid_by_the_published_schema(demo: tuple[Done, Path], root: Path) -> None:
    published = json.loads((root / "docs" / "params.schema.json").read_text(encoding="utf-8"))
    assert published == schema(), "python -m mm.results.params > docs/params.schema.json"
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    _, out = demo
    for symbol in books(out):
        validator.validate(params(out, symbol))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**params(out, "BTCUSDT"), "A": -1.0})


def test_one_line_a_symbol_on_the_terminal(
    demo: tuple[Done, Path], truths: dict[str, tuple[float, float]]
) -> None:
    done, out = demo
    for symbol in truths:
        (line,) = (text for text in done.out.splitlines() if f" {symbol} " in text)
        assert f"A = {params(out, symbol)['A']:.4g} /s" in line
    assert str(out) in done.out
    assert done.lines == []


def test_jupyter_s_own_chatter_stays_off_the_terminal(demo: tuple[Done, Path]) -> None:
    done, _ = demo
    assert done.err == ""


# --- one broken, one refused, among good ones ------------------------------------------------


@pytest.fixture(scope="session")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    tables: Tables,
    unfilled_tables: Tables,
    write_run: WriteRun,
) -> Path:
    """A good symbol, one with a broken file, one without fills, in a folder with a space."""
    folder = tmp_path_factory.mktemp("elsewhere") / "my backtest"
    write_run(folder, tables, symbol="0700")
    write_run(folder, unfilled_tables, "NOFILL")
    write_run(folder, {**tables, "state": tables["state"].drop(columns="mid")}, symbol="BROKEN")
    (folder / "calibration.yaml").write_text("defaults: {TICK_SIZE: 1.0}\n")
    return folder


@pytest.fixture(scope="session")
def mixed(
    driver: Driver, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Done, Path]:
    """All three, where two of them have parameters of an older run."""
    out = tmp_path_factory.mktemp("mixed") / "my results"
    for symbol in ("BROKEN", "NOFILL"):
        (out / symbol).mkdir(parents=True)
        (out / symbol / f"params_{symbol}.json").write_text('{"A": 1.0, "k": 1.5}')
    return driver("--data-dir", data, "--out-dir", out), out


def test_a_broken_symbol_fails_alone(mixed: tuple[Done, Path], tables: Tables) -> None:
    done, out = mixed
    assert done.code == 1
    records = books(out)
    assert {s: r["status"] == "failed" for s, r in records.items()} == {
        "0700": False,
        "BROKEN": True,
        "NOFILL": False,
    }
    good = mm.calibrate(**tables, symbol="0700", tick_size=1.0)
    assert good.params is not None
    found = params(out, "0700")
    assert (found["A"], found["k"]) == (good.params.A, good.params.k)
    assert names(out / "0700") == four_files("0700")


def test_a_failure_is_one_line_that_names_the_file(mixed: tuple[Done, Path]) -> None:
    done, out = mixed
    (line,) = (text for text in done.err.splitlines() if text.startswith("BROKEN: failed"))
    error = books(out)["BROKEN"]["error"]
    assert error in line
    assert "state_BROKEN.csv" in error
    assert "mid" in error
    assert "Error:" not in error, "a sentence, not an exception"
    assert summary(out)["BROKEN"]["reason"] == error


def test_refused_or_failed_leaves_no_params_not_even_older_ones(mixed: tuple[Done, Path]) -> None:
    _, out = mixed
    assert not list((out / "BROKEN").glob("params*"))
    assert names(out / "NOFILL") == four_files("NOFILL") - {"params_NOFILL.json"}
    record = books(out)["NOFILL"]
    assert record["status"] == "refused"
    assert (record["A"], record["k"]) == (None, None)
    limit = f"{record['lambda_upper']:.3g}"
    assert record["lambda_upper"] == pytest.approx(2.996 / record["exposure_s"], rel=1e-3)
    assert f"2.996/ΣT = {limit} /s" in record["reasons"][0]


def test_one_symbol_again_keeps_the_others_lines_with_their_date(
    driver: Driver, data: Path, mixed: tuple[Done, Path]
) -> None:
    _, out = mixed
    content = json.loads((out / "run.json").read_text(encoding="utf-8"))
    for record in content["symbols"].values():
        record["finished_utc"] = OLD
    (out / "run.json").write_text(json.dumps(content), encoding="utf-8")
    before = {path: path.read_bytes() for path in (out / "0700").iterdir()}

    done = driver("--data-dir", data, "--out-dir", out, "-p", "SYMBOL", "NOFILL")
    assert done.code == 3
    assert "2.996" in done.err
    after = books(out)
    dates = {symbol: record.pop("finished_utc") for symbol, record in after.items()}
    assert (dates["0700"], dates["BROKEN"]) == (OLD, OLD)
    assert dates["NOFILL"] > OLD
    for symbol in ("0700", "BROKEN"):
        assert after[symbol] == {
            n: v for n, v in content["symbols"][symbol].items() if n != "finished_utc"
        }
        assert summary(out)[symbol]["finished_utc"] == OLD
    assert {path: path.read_bytes() for path in (out / "0700").iterdir()} == before


def test_a_symbol_of_digits_and_the_original_s_method(
    driver: Driver, data: Path, tables: Tables, tmp_path: Path
) -> None:
    given = ["-p", "SYMBOL", "0700", "-p", "FIT_METHOD", "log_linear"]
    done = driver("--data-dir", data, "--out-dir", tmp_path, *given)
    assert done.code == 0, done.err
    assert set(books(tmp_path)) == {"0700"}
    found = params(tmp_path, "0700")
    assert found["symbol"] == "0700"
    assert found["fit_method"] == "log_linear"
    original = mm.calibrate(**tables, tick_size=1.0).estimate.original
    assert original is not None
    assert (found["A"], found["k"]) == (original.A, original.k)
    assert found["original"] == {"A": original.A, "k": original.k}


def test_the_original_s_environment_names_work_from_any_folder(
    driver: Driver, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    env = {
        "OUT_DIR": "link",  # the folder the backtest wrote, as it is seen from here
        "SYMBOL": "0700",
        "TICK_SIZE": "0.5",
        "MIN_DELTA_TICKS": "1",
        "MAX_DELTA_TICKS": "30",
        "MIN_EXPOSURE_S": "2",
        "POISSON_DT_MS": "200",
    }
    done = driver("--out-dir", "results", env=env, cwd=tmp_path)
    assert done.code == 0, done.err
    record = books(tmp_path / "results")["0700"]
    assert record["settings"]["TICK_SIZE"] == record["tick_size"] == 0.5
    assert record["settings"]["POISSON_DT_MS"] == record["dt_ms"] == 200
    used = [record["settings"][f"{name}_DELTA_TICKS"] for name in ("MIN", "MAX")]
    assert [*used, record["settings"]["MIN_EXPOSURE_S"]] == [1.0, 30.0, 2.0]
    wanted = set(env) - {"OUT_DIR", "SYMBOL"}
    assert {n: record["settings_from"][n] for n in wanted} == dict.fromkeys(wanted, "environment")
    assert names(tmp_path) == {"link", "results"}


def test_a_kernel_that_does_not_start_fails_its_symbol_and_clears_its_params(
    driver: Driver, data: Path, tmp_path: Path
) -> None:
    # a kernelspec of a virtual environment that is gone is common on a quant's machine
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    kernel = {"argv": [sys.executable, "-c", "raise SystemExit(1)"], "display_name": "gone"}
    (spec / "kernel.json").write_text(json.dumps({**kernel, "language": "python"}))
    out = tmp_path / "out"
    (out / "0700").mkdir(parents=True)
    (out / "0700" / "params_0700.json").write_text('{"A": 1.0, "k": 1.5}')
    env = {"JUPYTER_PATH": str(tmp_path / "jupyter")}
    done = driver("--data-dir", data, "--out-dir", out, "--symbols", "0700", env=env)
    status = books(out)["0700"]["status"]
    assert (done.code, status) in {(0, "ok"), (0, "warn"), (1, "failed")}
    if status == "failed":
        assert not list((out / "0700").glob("params*"))
    else:  # it was run by the driver's own Python after all
        assert params(out, "0700")["A"] != 1.0


def test_a_name_in_the_file_without_files_and_a_tick_that_nobody_gave_are_told(
    driver: Driver, tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "data", tables, "BTCUSDT")
    (folder / "calibration.yaml").write_text(
        "symbols: {BTCUSD: {TICK_SIZE: 1.0}, ZZ: {TICK_SIZE: 1.0}}\n"
    )
    out = tmp_path / "out"
    done = driver("--data-dir", folder, "--out-dir", out, "--symbols", "BTCUSDT")
    assert done.code == 0, done.err
    first, second = done.lines
    assert first.startswith("warning:")
    assert "calibration.yaml: symbols: BTCUSD has no files" in first
    assert first.endswith("did you mean BTCUSDT?")
    assert "symbols: ZZ has no files" in second
    assert "did you mean" not in second
    told = "tick size 0.1, seen in the prices"
    (line,) = (text for text in done.out.splitlines() if " BTCUSDT " in text)
    assert told in line
    report = (out / "BTCUSDT" / "report_BTCUSDT.html").read_text(encoding="utf-8")
    assert f"per tick ({told})" in report


# --- usage -----------------------------------------------------------------------------------


def test_list_names_the_symbols_and_what_they_lack(driver: Driver, data: Path) -> None:
    done = driver("--data-dir", data, "--list")
    assert (done.code, done.out.split(), done.err) == (0, ["0700", "BROKEN", "NOFILL"], "")
    (data.parent / "half").mkdir()
    (data.parent / "half" / "orders_X.csv").touch()
    done = driver("--data-dir", data.parent / "half", "--list")
    assert done.out.split(maxsplit=1) == ["X", "without fills, state\n"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "TICK_SISE", "1"], "TICK_SISE is not a setting; did you mean TICK_SIZE?"),
        (["--symbols", "070"], "did you mean 0700?"),
        (["--data-dir", "{tmp}/nowhere"], "no such folder"),
        (["--data-dir", "{tmp}/empty"], "no orders_<SYMBOL>"),
        (["-y", "TICK_SIZE: [1"], "not YAML"),
        (["-p", "TICK_SIZE", "-1"], "TICK_SIZE: found -1"),
        (["--config", "{tmp}/empty"], "can't be read"),
        (["--out-dir", "{tmp}/file"], "{tmp}/file"),
        (["-p", "TICK_SIZE"], "-p"),
        (["--retry-failed"], "no batch has left results in {tmp}"),
        (["--data-dir", ""], "'--data-dir': found '', not a folder"),
        (["--out-dir", " "], "'--out-dir': found '', not a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0] + value[-1][:12],
)
def test_usage_errors_are_one_line_and_touch_nothing(
    driver: Driver, data: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = names(tmp_path)
    given = [text.format(tmp=tmp_path) for text in arguments]
    done = driver("--data-dir", data, "--out-dir", tmp_path / "out", *given)
    assert done.code == 2
    assert said.format(tmp=tmp_path) in done.lines[-1]
    if not done.err.startswith("Usage:"):  # click's own
        assert len(done.lines) == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "MAIL_SMTP_HOST is not set"),
        ({"MAIL_SMTP_HOST": "localhost", "MAIL_SMTP_PORT": "abc"}, "MAIL_SMTP_PORT is 'abc'"),
        ({"MAIL_SMTP_HOST": "localhost", "MAIL_SMTP_CA_FILE": "/none.pem"}, "/none.pem: No such"),
    ],
)
def test_a_mail_that_could_never_be_sent_is_told_before_anything_runs(
    driver: Driver, data: Path, tmp_path: Path, environ: dict[str, str], said: str
) -> None:
    given = ["--mail-from", "a@x.org", "--mail-to", "b@x.org"]
    done = driver("--data-dir", data, "--out-dir", tmp_path / "out", *given, env=environ)
    assert done.code == 2
    (line,) = done.lines
    assert said in line
    assert names(tmp_path) == set()
