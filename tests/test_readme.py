"""Every command of the README runs, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mm.core.settings import as_markdown

KEPT_OUT = shutil.ignore_patterns(".git", ".venv", "out", ".*_cache", ".hypothesis")


def commands(readme: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a user has it after `make`: with a virtual environment."""
    target = tmp_path_factory.mktemp("user") / "repository"
    shutil.copytree(root, target, ignore=KEPT_OUT)
    (target / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return target


def test_every_command_runs(root: Path, copy: Path) -> None:
    # Without what a `make test ARGS=...` around this test would hand on to the one inside it.
    ours = ("PYTEST", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS")
    env = {n: v for n, v in os.environ.items() if not n.startswith(ours)}
    listed = commands(root / "README.md")
    assert len(listed) >= 8
    for command in listed:
        words = command.split()
        if words == ["make", "test"]:
            words = ["make", "-n", "test"]  # it is what runs this
        done = subprocess.run(words, cwd=copy, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (copy / "out" / "BTCUSDT" / "report_BTCUSDT.html").exists()
    assert (copy / "out" / "try.ipynb").exists()


def test_every_link_and_picture_is_there(root: Path) -> None:
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)


def test_the_list_of_settings_is_up_to_date(root: Path) -> None:
    assert (root / "docs" / "settings.md").read_text(encoding="utf-8") == as_markdown()
