"""The package as others install it: no checkout, a command, the template among its files."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from jupyter_core.paths import jupyter_path

import mm
from mm.pipeline.symbol import read_outcome
from tests.conftest import Tables, WriteRun


def test_what_pip_installs_gives_the_same_digits_without_a_checkout(
    root: Path, tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(tmp_path / "data", tables)
    venv.create(tmp_path / "venv", symlinks=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["JUPYTER_PATH"] = os.pathsep.join(jupyter_path())

    def said(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    # the dependencies are those of this environment
    site = said(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    here = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    (Path(site) / "here.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    said(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", str(root))

    assert said(python, "-c", "import mm; print(mm.__file__)").startswith(str(tmp_path))
    assert said(scripts / "mm-calibrate", "--version").endswith(mm.__version__)
    expected = mm.calibrate(**tables, tick_size=1.0).params
    assert expected is not None
    # data/ and out/ are looked for where it is called
    assert "1 ok" in said(scripts / "mm-calibrate", "-p", "TICK_SIZE", "1.0")
    folder, again = tmp_path / "out" / "AAA", tmp_path / "again.ipynb"
    said(python, "-m", "papermill", "--cwd", folder, folder / "calibration_AAA.ipynb", again)
    for notebook in (folder / "calibration_AAA.ipynb", again):
        found = read_outcome(notebook)
        assert found is not None
        assert (found.record.A, found.record.k) == (expected.A, expected.k)
