"""The command line: run_calibration.py, and mm-calibrate of an installed package."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import mm
from mm.core.errors import CalibrationError
from mm.core.places import FILES_A_JOB, in_utf8, jobs_by_files, no_surroundings
from mm.core.storage import AnyPath, path_or_url
from mm.pipeline.commands import COMMANDS

if TYPE_CHECKING:
    from mm.pipeline.pages import Mail
    from mm.pipeline.plan import Request

_USAGE, _INTERRUPTED = 2, 130


def _folder(_context: click.Context, _option: click.Parameter, given: str | None) -> AnyPath | None:
    """A folder by path or URL."""
    if given is None:
        return None
    if not given.strip():  # an unset variable of a script, not a wish for the default
        raise click.BadParameter("found '', not a folder; name one, or leave the option out")
    try:
        return path_or_url(given)
    except CalibrationError as error:
        raise click.BadParameter(str(error)) from None


class _Interruptible(click.Group):
    """Ends with one line and exit code 130 at Ctrl-C, whatever it does then; click's own is 1,
    which says that symbols failed."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line."""
        with _interruptible():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run what the command line asks for."""
        with _interruptible():
            return super().invoke(ctx)


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)


@click.group(
    cls=_Interruptible,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
)
@click.option(
    "--data-dir",
    callback=_folder,
    metavar="PATH|URL",
    help="Folder the backtest wrote, or its URL; run folders below it are pooled.  [default: data]",
)
@click.option(
    "--out-dir",
    callback=_folder,
    metavar="PATH|URL",
    help="Folder for results, or its URL.  [default: out]",
)
@click.option("--symbols", metavar="A,B", help="Only these symbols.  [default: all there are]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings per symbol.  [default: calibration.yaml in the data folder]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Symbols at the same time, on this machine.  [default: twice its cores]",
)
@click.option(
    "--scheduler",
    default="local",
    show_default=True,
    metavar="local|tcp://HOST:PORT",
    help="This machine, or the workers of a dask scheduler.",
)
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
@click.option("--force", is_flag=True, help="Run symbols again whose result still holds.")
@click.option("--retry-failed", is_flag=True, help="Run only symbols that failed the last time.")
@click.option("--shard", metavar="i/n", help="Only every n-th symbol from the i-th on.")
@click.option(
    "--kernel",
    type=click.Choice(["warm", "stock"]),
    default="warm",
    show_default=True,
    help="Kernels forked from a warm process, or started one by one.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(1.0),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds a symbol may take; then its kernel is killed.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Tries more after a dead kernel or a deadline; never after bad input.",
)
@click.option(
    "--cache-gb",
    type=click.FloatRange(0.0),
    default=20.0,
    show_default=True,
    metavar="GB",
    help="What is kept of pooled runs, so that only new ones are read; 0 keeps nothing.",
)
@click.option("--mail-to", multiple=True, metavar="A@B", help="Send the batch's mail there.")
@click.option("--mail-from", metavar="A@B", help="Its sender. The server is in the environment.")
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add what happens to this file, a line of JSON each.",
)
@click.version_option(mm.__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, /, *, only_list: bool, debug: bool, **given: Any) -> None:
    """Calibrate the fill intensity of every symbol that a backtest has logged.

    Runs the template notebook once a symbol and leaves its executed copy, a report and the
    parameters in OUT/<SYMBOL>/. Settings, from weakest to strongest: defaults, calibration.yaml,
    environment, command line; README.md lists them.

    \b
    Exit codes: 0 all ok or warned · 1 some failed · 2 usage · 3 some refused, none failed
                4 nothing worse than logs missing or stale
                130 interrupted: the same command goes on where it stopped
    """
    if context.invoked_subcommand is not None:
        _check_before(context)
        return
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    logging.getLogger("mm").setLevel(logging.WARNING)
    from mm.pipeline.plan import Request

    request = Request(**{field.name: given[field.name] for field in fields(Request)})
    from mm.pipeline.watch import check_ping, ping

    try:
        check_ping(os.environ)
        with no_surroundings():
            code = _list(request) if only_list else _run(request, given)
    except CalibrationError as error:
        if debug:
            raise
        click.echo(f"{context.info_name}: {error}", err=True)
        code = _USAGE
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = _INTERRUPTED
    unheard = None if only_list else ping(os.environ, code)
    if unheard:
        click.echo(unheard, err=True)
    sys.exit(code)


for _command in COMMANDS:
    main.add_command(_command)


def _check_before(context: click.Context) -> None:
    """Refuse options of a batch before a command that knows nothing of them."""
    for name in context.params:
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("out_dir", "debug"):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} stands before {context.invoked_subcommand}; options of a command come "
                f"behind its name, see {context.info_name} {context.invoked_subcommand} --help"
            )


def command() -> None:
    """The command as a process: whatever the locale, in UTF-8."""
    in_utf8()
    main()


def _list(request: Request) -> int:
    from mm.logs.files import KINDS
    from mm.pipeline.plan import chosen

    for symbol, runs in chosen(request, os.environ).items():
        logs = [run for run in runs if not run.is_tape]
        missing = sorted({kind for run in logs for kind in KINDS if kind not in run.paths})
        pooled = f"{len(runs)} runs pooled" if len(runs) > 1 else ""
        lacks = f"without {', '.join(missing)}" if missing else ""
        click.echo("  ".join(part for part in (symbol, pooled, lacks) if part))
    return 0


def _run(request: Request, given: Mapping[str, Any]) -> int:
    from mm.pipeline.executor import Options
    from mm.pipeline.pages import Mail

    if given["scheduler"] != "local" and "://" not in given["scheduler"]:
        raise click.UsageError(f"--scheduler: found {given['scheduler']!r}, not local or a URL")
    mail = _checked(Mail(given["mail_from"], given["mail_to"]))
    names = (field.name for field in fields(Options) if field.name != "mail")
    options = Options(mail=mail, **{name: given[name] for name in names})

    from mm.pipeline.plan import make_plan

    plan = make_plan(request)
    allowed = jobs_by_files(plan.workers)
    if allowed < plan.workers and options.scheduler == "local":
        click.echo(
            f"{allowed} symbols at the same time instead of {plan.workers}: each needs "
            f"{FILES_A_JOB} open files, and the limit (ulimit -n) allows no more",
            err=True,
        )
        plan = replace(plan, workers=allowed)
    for line in plan.pooled:
        click.echo(line)
    for line in plan.warnings:
        click.echo(f"warning: {line}", err=True)
    from mm.pipeline.batch import EXIT_INTERRUPTED, run_batch
    from mm.pipeline.console import Console
    from mm.pipeline.watch import JsonLog

    console = Console(len(plan.jobs) + len(plan.rejected))
    code = None
    try:
        log = JsonLog(given["log_file"], console) if given["log_file"] else None
        code = run_batch(plan, options, log or console)
        if log:
            log.write("batch_ended", exit_code=code)
    finally:
        if code is not None:
            console.close(plan.out_dir, interrupted=code == EXIT_INTERRUPTED)
        else:
            console.abandon()
    return code


def _checked(mail: Mail) -> Mail:
    """The same; what could never be sent is a usage error now, not a lost mail after the batch."""
    from mm.report.mail import parse_address
    from mm.report.send import check_environment

    if mail.recipients and not mail.sender:
        raise click.UsageError("--mail-to needs --mail-from")
    for address in filter(None, (mail.sender, *mail.recipients)):
        parse_address(address)
    if mail.recipients:
        check_environment(os.environ)
    return mail
