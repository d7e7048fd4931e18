"""The same results wherever it runs: locale, home, matplotlib's settings, limit of open files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import nbformat
import pandas as pd
import pytest

from mm.core import places
from mm.core.places import FILES_A_JOB, FILES_OF_DRIVER, jobs_by_files, no_surroundings
from mm.plots.picture import finish, new_figure, style

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locales and limits of Linux")

Tables = Mapping[str, pd.DataFrame]
SYMBOL = "ÄÖλ"


def results(
    root: Path, data: Path, out: Path, environ: Mapping[str, str], limit: str
) -> tuple[dict[str, object], list[str]]:
    """Parameters and figures of one symbol by the command."""
    command = [sys.executable, "run_calibration.py", "--data-dir", str(data), "--jobs", "12"]
    done = subprocess.run(
        ["bash", "-c", f'{limit}; exec "$@"', "-", *command, "--out-dir", str(out)],
        cwd=root,
        env=dict(environ),
        capture_output=True,
        check=False,
    )
    told = done.stdout.decode("utf-8") + done.stderr.decode("utf-8")
    assert done.returncode == 0, told
    assert SYMBOL in told
    assert ("open files" in told) == bool(limit != "true"), told
    folder = out / SYMBOL
    params = json.loads((folder / f"params_{SYMBOL}.json").read_text(encoding="utf-8"))
    params.pop("created_utc")
    document = nbformat.read(folder / f"calibration_{SYMBOL}.ipynb", as_version=4)
    pictures = [
        output["data"]["image/png"]
        for cell in document.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 8
    return params, pictures


def test_nothing_around_a_batch_changes_its_results(
    root: Path, tables: Tables, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_run(tmp_path / "dätä", tables, SYMBOL)
    settings = tmp_path / "matplotlibrc"
    settings.write_text("text.usetex: True\nfont.size: 30\naxes.facecolor: black\n")
    odd = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "MPLBACKEND": "nonsense",
        "MATPLOTLIBRC": str(settings),
        "HOME": str(tmp_path / "no" / "such" / "home"),
    }
    plain = results(root, data, tmp_path / "plain", os.environ, "true")
    found = results(root, data, tmp_path / "odd", odd, "ulimit -n 200")
    assert found == plain
    assert not (tmp_path / "no").exists()


def test_a_user_s_style_changes_no_figure() -> None:
    def drawn() -> bytes:
        figure = new_figure(200)
        with style():
            axes = figure.subplots()
            axes.plot([1, 2, 3], [3, 1, 2], label="λ")
            axes.legend()
        return finish(figure, "").png

    plain = drawn()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linestyle": ":"}):
        assert drawn() == plain


def test_an_account_without_an_entry_gets_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(places.Path, "home", unknown)
    monkeypatch.delenv("HOME", raising=False)
    with no_surroundings():
        home = Path(os.environ["HOME"])
        assert home.is_dir()
    assert "HOME" not in os.environ
    assert not home.exists()


def test_jobs_are_as_many_as_files_may_be_open() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        assert jobs_by_files(8) == 8
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert soft >= FILES_OF_DRIVER + 8 * FILES_A_JOB, "raised as far as needed"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
