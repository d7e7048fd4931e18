"""Converted logs: the same calibration to the last digit, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mm.calibration import run_steps
from mm.convert import convert, main
from mm.core.errors import InputError
from mm.core.settings import Settings
from mm.logs.discovery import find_symbols
from mm.logs.load import load_log
from mm.pipeline.plan import Request, make_plan
from mm.pipeline.resume import fingerprint
from tests.support import damage

SETTINGS = Settings.build({"SYMBOL": "AAA", "TICK_SIZE": 1.0})
#: The run crosses midnight (UTC) after two minutes.
BEFORE_MIDNIGHT_MS = 1_735_689_600_000 + 86_400_000 - 120_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    return damage.write_good(folder, damage.good_tables(start_ms=BEFORE_MIDNIGHT_MS))


def numbers(folder: Path) -> str:
    result = run_steps(load_log(folder, "AAA"), SETTINGS)
    assert result.params is not None
    params = result.params.model_dump(exclude={"created_utc", "inputs_sha256"})
    return repr((params, result.points_csv(), result.accounts.records().to_dict("list")))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("partition", ["none", "day"])
def test_the_calibration_of_the_converted_is_the_same_to_the_last_digit(
    partition: str, large: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = numbers(source)
    if large:
        monkeypatch.setattr("mm.logs.load.LARGE_BYTES", 0)
        monkeypatch.setattr("mm.logs.columnar.stream.CHUNK_BYTES", 9_000)
    assert main([str(source), str(tmp_path / "out"), "--partition", partition]) == 0
    log = load_log(tmp_path / "out", "AAA")
    assert (log.runs[0].order_names is not None) == large
    assert numbers(tmp_path / "out") == before


def test_days_are_hive_partitions_with_the_rows_in_their_order(
    source: Path, tmp_path: Path
) -> None:
    orders = tmp_path / "orders_AAA.parquet"
    assert orders in convert(source, tmp_path, by_day=True)
    parts = sorted(p.relative_to(orders).as_posix() for p in orders.rglob("*.parquet"))
    assert parts == ["date=2025-01-01/part-0.parquet", "date=2025-01-02/part-0.parquet"]
    rows = pd.concat([pq.ParquetFile(orders / part).read().to_pandas() for part in parts])
    written = pd.read_csv(source / "orders_AAA.csv")
    assert rows["recv_ms"].tolist() == written["recv_ms"].tolist()
    assert rows["order_id"].tolist() == written["order_id"].tolist()
    # Other tools' notes beside the parts are no parts.
    (orders / "_metadata.parquet").write_bytes(b"no")
    assert numbers(tmp_path) == numbers(source)


def test_quotes_and_windows_line_ends_convert_too(source: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(source, tmp_path / "quoted")
    path = folder / "orders_AAA.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").replace(b"PLACE", b'"PLACE"'))
    convert(folder, tmp_path / "out")
    assert numbers(tmp_path / "out") == numbers(source)


def test_run_folders_stay_run_folders(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables = damage.good_tables(seed=3 if name == "a" else 4)
        damage.write_good(tmp_path / "runs" / name, tables)
    convert(tmp_path / "runs", tmp_path / "out")
    assert [r.folder.name for r in find_symbols(tmp_path / "out")["AAA"]] == ["a", "b"]
    assert numbers(tmp_path / "out") == numbers(tmp_path / "runs")


def test_a_malformed_row_is_named_and_nothing_is_left(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(source, tmp_path / "bad")
    damage.cell("state", "mid", "?", 40)(folder)
    assert main([str(folder), str(tmp_path / "out")]) == 1
    assert "state_AAA.csv: row 42: column mid: no number" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path)
    with pytest.raises(InputError, match="is there already"):
        convert(source, tmp_path)


def test_symbols_that_are_not_there_are_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no files of symbol 'BBB' \(symbols there: AAA\)"):
        convert(source, tmp_path / "out", ["AAA", "BBB"])
    assert not (tmp_path / "out").exists()


def test_time_that_goes_back_over_midnight_is_no_partition(source: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(source, tmp_path / "back")
    path = folder / "fills_AAA.csv"
    head, first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *rest, first]))
    with pytest.raises(InputError, match=r"fills_AAA\.csv: time goes back to the day before"):
        convert(folder, tmp_path / "out", by_day=True)
    convert(folder, tmp_path / "out")


def test_a_part_that_changed_makes_a_symbol_run_again(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path, by_day=True)
    request = Request(data_dir=tmp_path, out_dir=tmp_path / "results")
    (job,) = make_plan(request, {}).jobs
    before = fingerprint(job, "code")
    part = tmp_path / "fills_AAA.parquet" / "date=2025-01-02" / "part-0.parquet"
    part.write_bytes(part.read_bytes() + b" ")
    assert fingerprint(job, "code") != before


def test_a_folder_without_parts_is_named(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path, by_day=True)
    shutil.rmtree(tmp_path / "state_AAA.parquet" / "date=2025-01-01")
    shutil.rmtree(tmp_path / "state_AAA.parquet" / "date=2025-01-02")
    with pytest.raises(InputError, match=r"state_AAA\.parquet: a folder without a \.parquet file"):
        load_log(tmp_path, "AAA")


def test_settings_come_along_and_those_that_are_there_stay(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(source, tmp_path / "source")
    settings, out = folder / "calibration.yaml", tmp_path / "out"
    settings.write_text("defaults: {TICK_SIZE: 2.0}\n")
    assert main([str(folder), str(out)]) == 0
    (job,) = make_plan(Request(data_dir=out), {}).jobs
    assert job.resolved.settings.TICK_SIZE == 2.0
    assert capsys.readouterr().err == ""

    for path in out.glob("*.parquet"):
        path.unlink()
    (out / "calibration.yaml").write_text("defaults: {TICK_SIZE: 3.0}\n")
    assert main([str(folder), str(out)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{out / 'calibration.yaml'}: kept; it differs from {settings}" in line
    assert "3.0" in (out / "calibration.yaml").read_text()


@pytest.mark.parametrize("arguments", [["nowhere"], ["source", "--symbols", "BBB"]])
def test_usage_errors_exit_as_the_other_commands_do(
    source: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = source if arguments[0] == "source" else tmp_path / "nowhere"
    assert main([str(folder), str(tmp_path / "out"), *arguments[1:]]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
