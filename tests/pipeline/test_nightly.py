"""What nights leave behind: a history that only grows, and gauges for a collector."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from mm.core.errors import OutputError
from mm.pipeline.cli import main
from mm.pipeline.history import append_history
from mm.pipeline.metrics import METRICS_PROM, write_metrics
from mm.results.record import Freshness
from tests.support.records import HOSTILE, failed, record

NOW = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)
_SAMPLE = re.compile(r'(mm_calibration_\w+)(\{(\w+="(\\.|[^"\\])*",?)+\})? -?[0-9.e+-]+')


def test_two_batches_are_two_files_and_one_table(tmp_path: Path, root: Path) -> None:
    given = ["--data-dir", str(root / "data"), "--symbols", "BTCUSDT", "--out-dir", str(tmp_path)]
    first = CliRunner().invoke(main, [*given, "--kernel", "stock"])
    assert first.exit_code == 0, first.output
    files = set((tmp_path / "history").iterdir())
    assert len(files) == 1
    before = {path: path.read_bytes() for path in files}
    assert CliRunner().invoke(main, given).exit_code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    table = pd.read_parquet(tmp_path / "history").sort_values("batch")
    assert table["symbol"].tolist() == ["BTCUSDT"] * 2
    assert table["log"].tolist() == ["new", "unchanged"]
    assert table["A"].nunique() == table["inputs"].nunique() == table["fingerprint"].nunique() == 1
    row = table.iloc[0]
    assert len(row["delta_ticks"]) == len(row["delta_bps"]) == len(row["lambda_per_hour"]) > 3
    assert row["var_log_A"] > 0
    text = (tmp_path / METRICS_PROM).read_text()
    assert 'mm_calibration_status{symbol="BTCUSDT",status="ok"} 1' in text


def test_records_without_numbers_are_rows_too(tmp_path: Path) -> None:
    name = append_history(tmp_path, {"AAA": record(), "BAD": failed()}, NOW, "1.0")
    table = pd.read_parquet(tmp_path / name).set_index("symbol")
    assert table.loc["BAD", "status"] == "failed"
    assert pd.isna(table.loc["BAD", "A"])
    assert table.loc["AAA", "A"] == 1.0
    assert append_history(tmp_path, {}, NOW, "1.0") == ""
    other = append_history(tmp_path, {"AAA": record()}, NOW.replace(hour=3), "1.0")
    assert other != name
    assert len(pd.read_parquet(tmp_path / "history")) == 3


def test_a_place_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("in the way")
    with pytest.raises(OutputError) as error:
        append_history(tmp_path, {"AAA": record()}, NOW, "1.0")
    assert "\n" not in str(error.value)


def test_gauges_are_of_the_format_whatever_a_symbol_is_called(tmp_path: Path) -> None:
    fresh = record(freshness=Freshness(age_s=93_600.0))
    records = dict.fromkeys(HOSTILE, fresh) | {"BAD": failed()}
    text = write_metrics(tmp_path, records, 12.5).read_bytes().decode()
    samples = [line for line in text.rstrip("\n").split("\n") if line[0] != "#"]
    assert all(_SAMPLE.fullmatch(line) for line in samples)
    assert sum(line.startswith("mm_calibration_data_age_seconds{") for line in samples) == len(
        HOSTILE
    )
    assert "mm_calibration_batch_seconds 12.5" in samples
    assert not any("lambda" in line and "BAD" in line for line in samples)
    for name in {line.split("{")[0].split(" ")[0] for line in samples}:
        assert f"# TYPE {name} gauge" in text
