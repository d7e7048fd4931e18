"""The morning after: logs that are new, unchanged, smaller, old or gone, told everywhere alike."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from email import message_from_bytes, policy
from pathlib import Path

import pandas as pd
import pytest

from mm.core.config import read_config
from mm.core.errors import SettingsError
from mm.pipeline.batch import EXIT_FAILED, EXIT_OK, EXIT_OUTDATED, Options, run_batch
from mm.pipeline.plan import Request, make_plan
from mm.pipeline.symbol import SymbolRun
from mm.results.record import Record

pytestmark = pytest.mark.usefixtures("shared_kernels")

WriteRun = Callable[..., Path]
Tables = Mapping[str, pd.DataFrame]


class Quiet:
    """Hears how a batch went and keeps what the books say."""

    records: Mapping[str, Record]

    def started(self, symbol: str) -> None:
        pass

    def done(self, run: SymbolRun) -> None:
        pass

    def trouble(self, line: str) -> None:
        raise AssertionError(line)

    def told(self, records: Mapping[str, Record]) -> None:
        self.records = records

    def kept(self, folder: Path, size: int) -> None:
        pass


def run(data: Path, **request: object) -> tuple[int, Mapping[str, Record]]:
    heard = Quiet()
    plan = make_plan(Request(data_dir=data, out_dir=data.parent / "out", **request), {})
    return run_batch(plan, Options(), heard), heard.records


@pytest.fixture
def data(tmp_path: Path, tables: Tables, write_run: WriteRun) -> Path:
    for name in ("AAA", "BBB", "CCC"):
        write_run(tmp_path / "data", tables, name)
    return tmp_path / "data"


def books(data: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((data.parent / "out" / "run.json").read_text())
    return found


def summary(data: Path) -> dict[str, dict[str, str]]:
    with (data.parent / "out" / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["symbol"]: row for row in csv.DictReader(file)}


def params(data: Path, symbol: str) -> dict[str, object]:
    path = data.parent / "out" / symbol / f"params_{symbol}.json"
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def shifted(tables: Tables, by_ms: int) -> dict[str, pd.DataFrame]:
    """The same log at another time."""
    moved = {}
    for kind, table in tables.items():
        times = [name for name in table.columns if name.endswith("_ms")]
        moved[kind] = table.assign(**{name: table[name] + by_ms for name in times})
    return moved


def test_a_morning_is_told_everywhere_alike(
    data: Path, tables: Tables, write_run: WriteRun
) -> None:
    code, first = run(data)
    assert code == EXIT_OK
    assert {r.log for r in first.values()} == {"new"}
    for path in data.glob("*_CCC*"):
        path.unlink()
    middle = int(tables["state"]["recv_ms"].median())
    half = {kind: table[table["recv_ms"] <= middle] for kind, table in tables.items()}
    write_run(data, shifted(half, 1000), "BBB")
    code, second = run(data)
    assert code == EXIT_OUTDATED
    assert {s: (r.status, r.log) for s, r in second.items()} == {
        "AAA": (first["AAA"].status, "unchanged"),
        "BBB": (second["BBB"].status, "smaller"),
        "CCC": ("missing", None),
    }

    out, told = data.parent / "out", books(data)
    morning = str(told["morning"])
    assert morning.startswith("new 1, unchanged 1, missing 1, much smaller 1, oldest data ")
    assert told["counts"] == {
        "new": 1, "unchanged": 1, "missing": 1, "stale": 0, "refused": 0, "failed": 0,
    }  # fmt: skip
    assert f'<p class="morning">{morning}</p>' in (out / "index.html").read_text(encoding="utf-8")
    mail = message_from_bytes((out / "calibration.eml").read_bytes(), policy=policy.default)
    assert str(mail["subject"]).startswith(f"[{morning}]")
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[0] == morning
    row = summary(data)["CCC"]
    assert row["status"] == "missing"
    assert float(row["A"]) == first["CCC"].A, "its old figures, with their date"
    assert row["data_until_utc"]
    assert row["missing_since_utc"]


def test_old_params_of_a_missing_symbol_stay_and_are_marked_until_it_is_back(data: Path) -> None:
    kept = data.parent / "kept"
    run(data)
    before = params(data, "CCC")
    shutil.copytree(data, kept)
    for path in data.glob("*_CCC*"):
        path.unlink()
    _, first = run(data)
    _, second = run(data)
    assert first["CCC"].missing_since_utc == second["CCC"].missing_since_utc
    marked = params(data, "CCC")
    assert marked.pop("outdated") == f"missing since {first['CCC'].missing_since_utc}"
    assert marked == {name: value for name, value in before.items() if name != "outdated"}

    shutil.copytree(kept, data, dirs_exist_ok=True)
    code, back = run(data)
    assert code == EXIT_OK
    assert (back["CCC"].status, back["CCC"].log) == (before["quality"], "unchanged")
    assert params(data, "CCC") == before


def test_only_a_batch_of_all_symbols_misses_any(
    data: Path, tables: Tables, write_run: WriteRun
) -> None:
    run(data)
    for path in data.glob("*_CCC*"):
        path.unlink()
    assert list(run(data, symbols="AAA")[1]) == ["AAA"]
    other = write_run(data.parent / "other", tables, "ZZZ")
    assert list(run(other)[1]) == ["ZZZ"], "another market's folder into the same results"
    tomorrow = write_run(data.parent / "tomorrow", tables, "AAA")
    code, found = run(tomorrow)
    assert code == EXIT_OUTDATED
    assert {s for s, r in found.items() if r.status == "missing"} == {"BBB", "CCC"}
    shutil.rmtree(data.parent / "out" / "CCC")
    assert "CCC" not in run(tomorrow)[1], "its results were taken away: it is not waited for"


def test_what_is_expected_is_said_by_the_configuration(data: Path) -> None:
    config = data / "calibration.yaml"
    run(data)
    for path in data.glob("*_CCC*"):
        path.unlink()
    config.write_text("expected: [AAA, DDD]", encoding="utf-8")
    code, found = run(data)
    assert code == EXIT_OUTDATED
    assert {s for s, r in found.items() if r.status == "missing"} == {"DDD"}
    config.write_text("expected: [AAA]", encoding="utf-8")
    assert run(data)[0] == EXIT_OK
    assert set(summary(data)) == {"AAA", "BBB", "CCC"}


def test_the_age_of_the_last_row_makes_a_symbol_stale(data: Path) -> None:
    config = data / "calibration.yaml"
    config.write_text("warn_after: {count: 1, period: hour}", encoding="utf-8")
    code, late = run(data)
    assert code == EXIT_OK
    assert late["AAA"].freshness is not None
    assert late["AAA"].freshness.status == "warn"
    assert "beyond warn_after)" in str(books(data)["morning"])

    config.write_text("error_after: {count: 1.5, period: day}", encoding="utf-8")
    code, stale = run(data)
    assert code == EXIT_OUTDATED
    assert {r.status for r in stale.values()} == {"stale"}
    assert "error_after is 36 h" in summary(data)["AAA"]["reason"]
    assert str(params(data, "AAA")["outdated"]).startswith("stale, data until ")
    (data / "state_BBB.csv").write_text("")
    assert run(data)[0] == EXIT_FAILED, "what is worse decides"

    config.unlink()
    run(data)
    assert params(data, "AAA")["outdated"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("expected: BTC", "expected: found 'BTC', not a list of symbols"),
        ("expected: [1]", "not a list of symbols"),
        ("warn_after: 26", "warn_after: found 26; write {count: 26, period: hour}"),
        ("warn_after: {count: 0, period: hour}", "warn_after: found"),
        ("warn_after: {count: 1, period: week}", "the period minute, hour or day"),
        ("error_after: {count: true, period: day}", "error_after: found"),
        (
            "{warn_after: {count: 2, period: day}, error_after: {count: 1, period: day}}",
            "error_after is shorter than warn_after",
        ),
    ],
)
def test_a_wrong_expectation_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        read_config(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
