"""A batch over run folders of days, night after night."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mm.pipeline.cache import CACHE
from mm.pipeline.cli import main
from tests.conftest import Tables, WriteRun


def params(out: Path) -> dict[str, Any]:
    """The parameters, but for when they were made."""
    found: dict[str, Any] = json.loads((out / "AAA" / "params_AAA.json").read_text())
    found.pop("created_utc")
    return found


def cache_of(out: Path) -> dict[str, int]:
    """What run.json says of the cache; metrics.prom says the same."""
    said: dict[str, int] = json.loads((out / "run.json").read_text())["cache"]
    metrics = (out / "metrics.prom").read_text()
    assert f"mm_calibration_cache_bytes {said['bytes']}\n" in metrics
    for state, n in (("held", said["files"]), ("read", said["read"]), ("made", said["made"])):
        assert f'mm_calibration_cache_files{{state="{state}"}} {n}\n' in metrics
    return said


def batch(data: Path, out: Path, *more: str) -> str:
    """What a batch that went well says."""
    command = ["--data-dir", str(data), "--out-dir", str(out), "-p", "TICK_SIZE", "1", *more]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("shared_kernels")
def test_nights_keep_what_they_know_of_each_day(
    tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    def day(number: int, of: Tables) -> None:
        moved = {
            kind: table.assign(
                **{n: table[n] + number * 86_400_000 for n in table if n.endswith("_ms")}
            )
            for kind, table in of.items()
        }
        write_run(tmp_path / "data" / f"day{number}", moved)

    data, out, scratch = (tmp_path / name for name in ("data", "out", "scratch"))
    day(0, tables)
    day(1, later_tables)
    assert f"GB in {out / CACHE}" in batch(data, out)
    held = {path.name for path in (out / CACHE).iterdir()}
    size = sum(path.stat().st_size for path in (out / CACHE).iterdir())
    first = cache_of(out)
    assert first == {"bytes": size, "files": len(held), "read": 0, "made": len(held)}
    day(2, tables)
    shutil.rmtree(data / "day0")  # the window rolls on
    batch(data, out)
    assert held < {path.name for path in (out / CACHE).iterdir()}
    second = cache_of(out)
    assert 0 < second["made"] == second["files"] - len(held)
    # Of the day that went nothing is asked for, of the one that stayed all that is needed.
    assert 0 < second["read"] < len(held)
    assert "kept of pooled runs" not in batch(data, scratch, "--cache-gb", "0")
    assert not (scratch / CACHE).exists()
    assert params(out) == params(scratch)
    shutil.rmtree(out / CACHE)
    batch(data, out, "--force")
    assert params(out) == params(scratch)
    batch(data, out, "--force", "--cache-gb", "0")  # what was kept goes
    assert not list((out / CACHE).iterdir())
