"""Why parameters moved: three parts that add up, each found where only it is at work."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import mm
from mm.attribute import Part, attribute
from mm.attribute import main as command
from mm.calibration import load, run_steps
from mm.core.errors import CalibrationError
from mm.core.settings import Settings
from mm.pipeline.cli import main
from mm.results.params import Params

Tables = Mapping[str, pd.DataFrame]
WriteRun = Callable[..., Path]
DAY_MS = 86_400_000


def fitted(folder: Path, **settings: object) -> Params:
    chosen = {"SYMBOL": "AAA", "BACKTEST_DIR": str(folder), "TICK_SIZE": 1.0} | settings
    params = run_steps(*(lambda s: (load(s), s))(Settings.build(chosen))).params
    assert params is not None
    return params


def later(tables: Tables) -> dict[str, pd.DataFrame]:
    return {
        kind: table.assign(**{n: table[n] + DAY_MS for n in table if n.endswith("_ms")})
        for kind, table in tables.items()
    }


def assert_adds_up(parts: list[Part], old: Params, new: Params) -> None:
    for part in parts:
        assert part.market is not None
        assert part.code is not None
        assert part.total == pytest.approx(part.market + part.settings + part.code, abs=1e-12)
    assert parts[-1].what == "1/k"
    assert parts[-1].total == pytest.approx(math.log(old.k_price / new.k_price))


def test_a_setting_a_market_and_a_code_are_told_apart(
    tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    days = tmp_path / "days"
    write_run(days / "day1", tables)
    old = fitted(days)
    reset = fitted(days, MAX_DELTA_TICKS=8.0)
    parts = attribute(old, reset)
    assert_adds_up(parts, old, reset)
    assert all(part.market == part.code == 0.0 for part in parts)
    assert any(part.settings for part in parts)

    write_run(days / "day2", later(later_tables))  # the window has grown by a day
    new = fitted(days)
    parts = attribute(old, new)
    assert_adds_up(parts, old, new)
    assert all(part.settings == part.code == 0.0 and part.market for part in parts)

    altered = old.model_copy(
        update={"A": old.A * 2.0, "versions": {**old.versions, "mm-calibrate": "0"}}
    )
    both = fitted(days, MAX_DELTA_TICKS=8.0)
    parts = attribute(altered, both)
    assert_adds_up(parts, altered, both)
    assert parts[0].code == pytest.approx(-math.log(2.0))
    assert parts[0].settings
    assert parts[0].market
    assert parts[0].line.startswith(f"{parts[0].what} -")
    assert "code -50.0%" in parts[0].line


def test_without_the_old_log_code_and_market_stand_together(
    tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    day = write_run(tmp_path / "day", tables)
    old = fitted(day)
    write_run(day, later(later_tables))
    new = fitted(day)
    assert_adds_up(attribute(old, new), old, new)
    other = old.model_copy(update={"versions": {"mm-calibrate": "0"}})
    (part, *_) = attribute(other, new)
    assert part.market is part.code is None
    assert "market and code" in part.line
    (day / "fills_AAA.csv").unlink()
    with pytest.raises(CalibrationError, match="is gone"):
        attribute(fitted_elsewhere(tmp_path, tables, write_run), new)


def fitted_elsewhere(tmp_path: Path, tables: Tables, write_run: WriteRun) -> Params:
    return fitted(write_run(tmp_path / "other", tables), MAX_DELTA_TICKS=8.0)


@pytest.mark.usefixtures("shared_kernels")
def test_by_the_command_line(
    tmp_path: Path, tables: Tables, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_run(tmp_path / "data", tables), tmp_path / "out"
    given = ["--data-dir", str(data), "--out-dir", str(out)]
    assert CliRunner().invoke(main, [*given, "-p", "TICK_SIZE", "1.0"]).exit_code == 0
    newest = out / "AAA" / "params_AAA.json"
    shutil.copy(newest, tmp_path / "old.json")
    assert command([str(out)]) == 2
    assert "nothing is live" in capsys.readouterr().err
    assert CliRunner().invoke(main, ["promote", "--out-dir", str(out)]).exit_code == 0
    more = ["-p", "TICK_SIZE", "1.0", "-p", "MAX_DELTA_TICKS", "8"]
    assert CliRunner().invoke(main, [*given, *more]).exit_code == 0
    for words in ([str(out)], [str(tmp_path / "old.json"), str(newest)]):
        assert command(words) == 0
        assert "market +0.0%, settings " in capsys.readouterr().out
    newest.write_text("{}")
    assert command([str(out)]) == 1
    assert command([str(newest), str(newest)]) == 2
    assert capsys.readouterr().err.count("no params file") == 2


def test_the_version_is_among_what_parameters_say(
    tmp_path: Path, tables: Tables, write_run: WriteRun
) -> None:
    assert fitted(write_run(tmp_path / "data", tables)).versions["mm-calibrate"] == mm.__version__
