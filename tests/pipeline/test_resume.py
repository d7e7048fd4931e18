"""What a change of our code costs: pages are made anew without a kernel, numbers by running."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tables, WriteRun

SYMBOLS = ("AAA", "BBB")
#: The driver, with nothing that could start a kernel.
WITHOUT_KERNELS = """\
import sys
from mm.pipeline import batch, cli
batch._open_executor = None
sys.argv[0] = "run_calibration.py"
cli.main()
"""


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of what runs, to be changed."""
    copy = tmp_path / "checkout"
    for name in ("mm", "notebooks"):
        shutil.copytree(root / name, copy / name)
    shutil.copy(root / "run_calibration.py", copy)
    return copy


def test_a_word_of_a_page_starts_no_kernel_and_a_constant_of_the_fit_runs_all(
    checkout: Path, tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    for symbol in SYMBOLS:
        write_run(tmp_path / "data", tables, symbol)
    out = tmp_path / "out"

    def batch(*program: str) -> str:
        words = [*program, "--data-dir", str(tmp_path / "data"), "--out-dir", str(out)]
        done = subprocess.run(
            [sys.executable, *words], cwd=checkout, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def records() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((out / "run.json").read_text())["symbols"]
        return found

    def reports() -> dict[str, str]:
        return {s: (out / s / f"report_{s}.html").read_text("utf-8") for s in SYMBOLS}

    assert "skipped" not in batch("run_calibration.py")
    first = records()

    for old, new in (("Provenance", "Whence"), ("fill calibration", "fill bulletin")):
        changed = 0
        for path in (checkout / "mm" / "report").rglob("*.*"):
            if path.suffix != ".pyc" and old in path.read_text("utf-8"):
                path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
                changed += 1
        assert changed, old
    assert "(2 unchanged, skipped)" in batch("-c", WITHOUT_KERNELS)
    assert "fill bulletin" in (out / "calibration.eml").read_text("utf-8")
    second, new_reports = records(), reports()
    for symbol in SYMBOLS:
        assert "Whence" in new_reports[symbol]
        before, after, name = first[symbol], second[symbol], f"report_{symbol}.html"
        assert before.pop("pages") != after.pop("pages")
        assert before["outputs"].pop(name) != after["outputs"].pop(name)
        for of_the_batch in ("log", "freshness"):
            assert before.pop(of_the_batch) != after.pop(of_the_batch)
        assert before == after, "numbers, files and dates are of the calibration"

    assert "(2 unchanged, skipped)" in batch("-c", WITHOUT_KERNELS)
    assert reports() == new_reports

    with (checkout / "mm" / "fitting" / "fit.py").open("a", encoding="utf-8") as file:
        file.write("\n_CHANGED = 0.5\n")
    assert "skipped" not in batch("run_calibration.py")
