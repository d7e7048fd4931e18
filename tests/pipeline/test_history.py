"""The history: a row a symbol and batch, whole whoever else writes, and rebuilt if it is lost."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from mm.core.storage import Remote
from mm.pipeline import history
from mm.pipeline.books import write_books
from mm.results.record import Record
from tests.support.records import failed, record

NOW = datetime(2026, 11, 26, 6, tzinfo=UTC)


def test_a_row_tells_what_a_night_found(tmp_path: Path) -> None:
    through = {"lambda": 2.0, "ci95": None, "n_fills": 3, "exposure_s": 1.5}
    more = {"window_ms": (1000, 9000), "settings": {"TICK_SIZE": 0.5}, "through": through}
    found = record(A=1.2, k=0.3, mid=10_000.0, **more)
    gone = found.model_copy(update={"status": "missing"})
    history.add(tmp_path, {"AAA": found, "BBB": failed(), "CCC": gone}, NOW)
    rows = pd.read_parquet(tmp_path / "history").set_index("symbol")
    assert list(rows["status"]) == ["ok", "failed", "missing"]
    row = rows.loc["AAA"]
    assert row["lambda_5_ticks_per_h"] == pytest.approx(3600 * 1.2 * math.exp(-1.5))
    assert row["lambda_1_bps_per_h"] == pytest.approx(3600 * 1.2 * math.exp(-0.3 * 2.0))
    assert (row["window_start_ms"], row["window_end_ms"], row["lambda_through"]) == (1000, 9000, 2)
    assert [row["var_logA"], row["cov_logA_k"], row["var_k"]] == [0.01, 0.0012, 0.0004]
    assert json.loads(row["versions"])["python"]
    assert len(row["inputs_sha256"]) == len(row["settings_sha256"]) == len(row["code_sha256"]) == 64
    assert rows.loc["CCC", ["A", "k", "window_end_ms"]].isna().all(), "nothing was calibrated"


def test_batches_that_write_at_once_all_stand(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from mm.pipeline import history; from mm.results.record import Record\n"
        "records = {f'S{i}': Record(status='refused') for i in range(20)}\n"
        "for _ in range(10): history.add(Path(sys.argv[1]), records, datetime.now(UTC))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    rows = pd.read_parquet(tmp_path / "history")
    assert set(rows.groupby("batch_id").size()) == {20}
    assert len(rows) == 3 * 10 * 20


def test_at_a_url_it_is_the_same(tmp_path: Path) -> None:
    there = Remote.of(f"file://{tmp_path}")
    for _ in range(2):
        history.add(there, {"AAA": record()}, NOW)
    assert history.read(there).num_rows == len(pd.read_parquet(tmp_path / "history")) == 2


def test_it_is_rebuilt_from_the_books_once(tmp_path: Path) -> None:
    records = {"AAA": record(), "BBB": Record(status="missing")}
    (tmp_path / ".state").mkdir()
    write_books(tmp_path, records, records)
    history.add(tmp_path, records, NOW)
    kept = pd.read_parquet(tmp_path / "history")
    assert history.rebuild(tmp_path) == 0
    shutil.rmtree(tmp_path / "history")
    assert history.rebuild(tmp_path) == 1
    assert history.rebuild(tmp_path) == 0
    (again,) = pd.read_parquet(tmp_path / "history").to_dict("records")
    told = ("batch_id", "batch_utc", "code_sha256", "versions")
    before = kept.set_index("symbol").loc["AAA"].drop(list(told))
    assert before.dropna().to_dict().items() <= again.items()
