"""The command line of run_calibration.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm.errors import CalibrationError

if TYPE_CHECKING:
    from mm.pipeline.plan import Request

_USAGE = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder the backtest wrote; run folders below it are pooled.  [default: data]",
)
@click.option(
    "--out-dir", type=click.Path(path_type=Path), help="Folder for results.  [default: out]"
)
@click.option("--symbols", metavar="A,B", help="Only these symbols.  [default: all there are]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings per symbol.  [default: calibration.yaml in the data folder]",
)
@click.option("--jobs", type=click.IntRange(1), help="Symbols at the same time.")
@click.option(
    "-p",
    "--parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a setting for all symbols.",
)
@click.option(
    "-r",
    "--parameters-raw",
    "raw",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="The same, the value taken as text.",
)
@click.option(
    "-f",
    "--parameters-file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Settings from a YAML file.",
)
@click.option(
    "-y",
    "--parameters-yaml",
    "yamls",
    multiple=True,
    metavar="YAML",
    help="Settings from YAML text.",
)
@click.option("--list", "only_list", is_flag=True, help="List the symbols and stop.")
def main(
    data_dir: Path | None,
    out_dir: Path | None,
    symbols: str | None,
    config: Path | None,
    jobs: int | None,
    parameters: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    files: tuple[Path, ...],
    yamls: tuple[str, ...],
    only_list: bool,
) -> None:
    """Calibrate the fill intensity of every symbol that a backtest has logged.

    Runs the template notebook once a symbol and leaves its executed copy, a report and the
    parameters in OUT/<SYMBOL>/. Settings, from weakest to strongest: defaults, calibration.yaml,
    environment, command line; README.md lists them.

    \b
    Exit codes: 0 all ok or warned · 1 some failed · 2 usage · 3 some refused, none failed.
    """
    from mm.pipeline.plan import Request

    request = Request(data_dir, out_dir, symbols, config, jobs, parameters, raw, files, yamls)
    try:
        code = _list(request) if only_list else _run(request)
    except CalibrationError as error:
        click.echo(f"run_calibration.py: {error}", err=True)
        code = _USAGE
    sys.exit(code)


def _list(request: Request) -> int:
    from mm.discover import KINDS, find_symbols
    from mm.pipeline.plan import data_folder

    for symbol, runs in find_symbols(data_folder(request, os.environ)).items():
        missing = sorted({kind for run in runs for kind in KINDS if kind not in run.paths})
        pooled = f"{len(runs)} runs pooled" if len(runs) > 1 else ""
        lacks = f"without {', '.join(missing)}" if missing else ""
        click.echo("  ".join(part for part in (symbol, pooled, lacks) if part))
    return 0


def _run(request: Request) -> int:
    from mm.pipeline.plan import make_plan

    plan = make_plan(request)
    from mm.pipeline.batch import run_batch
    from mm.pipeline.console import Console

    console = Console(len(plan.jobs))
    code = run_batch(plan, console.done)
    console.close(plan.out_dir)
    return code
