"""What follows a batch on the command line: promote, rollback, status, export, score, history."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm.core.config import below_root
from mm.core.errors import CalibrationError, one_line
from mm.core.storage import AnyPath, path_or_url

if TYPE_CHECKING:
    from mm.core.policy import Policy
    from mm.registry.change import Offer, Outcome, Signature

_USAGE, _NOT_ALL, _OUTDATED = 2, 3, 4

_out_dir = click.option(
    "--out-dir", metavar="PATH|URL", help="Folder of the batch's results.  [default: out]"
)
_registry = click.option(
    "--registry",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of the registry.  [default: registry in the results folder]",
)
_symbols = click.option("--symbols", metavar="A,B", help="Only these.  [default: all]")
_why = click.option("--reason", "why", default="", help="Why, for the journal.")


@click.command()
@_out_dir
@_registry
@_symbols
@_why
@click.option("--check", is_flag=True, help="Say what may go live, and change nothing that is.")
@click.option("--force", is_flag=True, help="Whatever speaks against it; needs --reason.")
def promote(*, check: bool, force: bool, why: str, **given: Any) -> None:
    """Make the parameters of the last batch live, where nothing speaks against it.

    Not those of a log that is missing or stale, nor with a warning that block_codes: of
    calibration.yaml names, nor those that moved by more than its max_move:.

    \b
    Exit codes: 0 all live · 2 usage · 3 some are not, the lines say why
    """
    if force and not why.strip():
        raise click.UsageError("--force needs --reason: the journal must say why")

    def run(out_dir: AnyPath, folder: Path, symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.registry.change import promote
        from mm.registry.store import open_registry

        offers, policy = _offers(out_dir, symbols, needed=True)
        with open_registry(folder) as registry:
            told = promote(registry, offers, policy, _signed(why, force), only_offer=check)
        return [*told, *_redrawn(out_dir, folder)]

    _told(run, _NOT_ALL, given)


@click.command()
@_out_dir
@_registry
@_symbols
@_why
def rollback(*, why: str, **given: Any) -> None:
    """Take back the last promotion; with --symbols the last one of each. Again: the one before."""

    def run(out_dir: AnyPath, folder: Path, symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.registry.change import rollback
        from mm.registry.store import open_registry

        with open_registry(_there(folder)) as registry:
            told = rollback(registry, _signed(why), symbols)
        return [*told, *_redrawn(out_dir, folder)]

    _told(run, _NOT_ALL, given)


@click.command()
@_out_dir
@_registry
def status(**given: Any) -> None:
    """What is live, since when and until when, and what speaks against the newest.

    Exit code 4 where what is live has expired or is not as it was registered.
    """

    def run(out_dir: AnyPath, folder: Path, _symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.registry.change import status
        from mm.registry.store import Registry

        return status(Registry(folder), *_offers(out_dir, None), datetime.now(UTC))

    _told(run, _OUTDATED, given)


@click.command()
@_out_dir
@_registry
@click.option(
    "--to", "target", type=click.Path(path_type=Path), required=True, help="The consumer's folder."
)
def export(*, target: Path, **given: Any) -> None:
    """Write the live params files into a folder; those that have expired are not, exit code 4."""

    def run(_out_dir: AnyPath, folder: Path, _symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.registry.change import export
        from mm.registry.store import Registry

        return export(Registry(_there(folder)), target, datetime.now(UTC))

    _told(run, _OUTDATED, given)


@click.command()
@_out_dir
@_registry
@_symbols
def score(**given: Any) -> None:
    """Hold the last batch's fills against what was live before; to be called before promote.

    Exit code 3 where a forecast has missed three times in a row, or can't be scored.
    """

    def run(out_dir: AnyPath, folder: Path, symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.pipeline.metrics import write_forecast
        from mm.registry.change import Outcome
        from mm.registry.ledger import SCORES, running, scores
        from mm.registry.scoring import score_symbol
        from mm.registry.store import Registry, open_registry

        registry, told = Registry(folder), []
        # Read once for all symbols; an altered journal is told of each.
        journal, by_symbol = cache(registry.journal), scores(registry)
        for symbol, offer in _offers(out_dir, symbols, needed=True)[0].items():
            earlier = by_symbol.get(symbol, [])
            if offer.record.status in ("failed", "refused", "missing"):
                told.append(Outcome(symbol, f"not scored: its log is {offer.record.status}"))
                continue
            try:
                found = score_symbol(
                    registry, symbol, offer.record, journal=journal(), earlier=earlier
                )
            except CalibrationError as error:
                told.append(Outcome(symbol, f"not scored: {error}", done=False))
                continue
            if found is None:
                told.append(Outcome(symbol, "not scored: nothing new, or nothing was live before"))
                continue
            with open_registry(folder) as held:
                held.append(SCORES, found.model_dump_json())
            by_symbol[symbol] = [*earlier, found]
            so_far = running(by_symbol[symbol])
            told.append(Outcome(symbol, f"{found.line}; {so_far.line}", not so_far.finding))
        if isinstance(out_dir, Path):
            write_forecast(out_dir, {s: (of[-1], running(of)) for s, of in by_symbol.items()})
        return [*told, *_redrawn(out_dir, folder)]

    _told(run, _NOT_ALL, given)


@click.command()
@_out_dir
@click.option("--rebuild", is_flag=True, help="Add what the books know and the history does not.")
def history(*, rebuild: bool, **given: Any) -> None:
    """How far the history goes back; --rebuild makes one that is lost from what the books hold."""

    def run(out_dir: AnyPath, _folder: Path, _symbols: Sequence[str] | None) -> list[Outcome]:
        from mm.pipeline.history import read
        from mm.pipeline.history import rebuild as rebuilt
        from mm.registry.change import Outcome

        told = [Outcome("added", f"{rebuilt(out_dir):,} rows")] if rebuild else []
        rows = read(out_dir)
        times = sorted(set(rows["batch_utc"].to_pylist()))
        symbols, batches = (len(set(rows[name].to_pylist())) for name in ("symbol", "batch_id"))
        span = f", {times[0]} to {times[-1]}" if times else ""
        line = f"{rows.num_rows:,} rows, {batches:,} batches, {symbols:,} symbols{span}"
        return [*told, Outcome("history", line)]

    _told(run, _NOT_ALL, given)


COMMANDS = (promote, rollback, status, export, score, history)


def _told(
    run: Callable[[AnyPath, Path, Sequence[str] | None], Iterable[Outcome]],
    code_if_not: int,
    given: dict[str, Any],
) -> None:
    """Run a command, write its lines and end with its exit code."""
    try:
        named = given["out_dir"] or click.get_current_context().find_root().params.get("out_dir")
        out_dir = path_or_url(named) if isinstance(named, str) else named or below_root("out")
        folder = given.get("folder") or out_dir / "registry"
        if "folder" in given and not isinstance(folder, Path):
            raise click.UsageError("results at a URL: name a folder of this machine by --registry")
        asked = given.get("symbols")
        names = asked if asked is None else [n.strip() for n in asked.split(",") if n.strip()]
        outcomes = list(run(out_dir, Path(str(folder)), names))
    except (CalibrationError, OSError) as error:
        click.echo(f"{click.get_current_context().command_path}: {error}", err=True)
        sys.exit(_USAGE)
    width = max((len(outcome.symbol) for outcome in outcomes), default=0)
    for outcome in outcomes:
        click.echo(f"{outcome.symbol:{width}}  {outcome.line}", err=not outcome.done)
    sys.exit(0 if all(outcome.done for outcome in outcomes) else code_if_not)


def _offers(
    out_dir: AnyPath, symbols: Sequence[str] | None, *, needed: bool = False
) -> tuple[dict[str, Offer], Policy]:
    """What a batch left of each symbol, and what its configuration said on going live.

    Raises CalibrationError if no batch has left books where they are needed, or a symbol is not
    in them.
    """
    from mm.pipeline.books import read_books, read_policy
    from mm.registry.change import Offer
    from mm.results.record import params_name

    books = read_books(out_dir)
    if needed and not books:
        raise CalibrationError(f"{out_dir}: no batch has left results there; see --out-dir")
    unknown = [name for name in symbols or () if name not in books]
    if unknown:
        raise CalibrationError(f"{unknown[0]}: is not in the results in {out_dir}")
    offers = {}
    for symbol in books if symbols is None else symbols:
        path = out_dir / symbol / params_name(symbol)
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            text = None
        offers[symbol] = Offer(books[symbol], text)
    return offers, read_policy(out_dir)


def _redrawn(out_dir: AnyPath, folder: Path) -> list[Outcome]:
    """Write the drift page anew, at a URL only by a batch; a line if it can't be."""
    from mm.pipeline.drift import write_drift
    from mm.registry.change import Outcome
    from mm.report.drift import DRIFT_NAME

    try:
        if isinstance(out_dir, Path):
            write_drift(out_dir, folder, out_dir, datetime.now(UTC))
    except (CalibrationError, OSError) as error:
        return [Outcome(DRIFT_NAME, f"not written: {one_line(error)}", done=False)]
    return []


def _signed(why: str, force: bool = False) -> Signature:
    from mm.registry.change import Signature

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # an account without an entry: containers run as any number
        name = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return Signature(f"{name}@{socket.gethostname()}", why, datetime.now(UTC), force)


def _there(folder: Path) -> Path:
    if not folder.is_dir():
        raise CalibrationError(f"{folder}: no registry is there; promote makes one")
    return folder
