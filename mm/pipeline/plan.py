"""What a batch will do: which symbols, with which settings. Every usage error is found here,
before anything is touched."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm.core.config import (
    REPO_ROOT,
    Resolved,
    below_root,
    find_config,
    from_command_line,
    from_environment,
    read_config,
    resolve,
)
from mm.core.errors import InputError, SettingsError
from mm.core.expected import Expected
from mm.core.policy import Policy
from mm.core.settings import Settings, check_symbol
from mm.core.storage import AnyPath, Remote, path_or_url
from mm.logs.discovery import discover, find_symbols
from mm.logs.files import RunFiles
from mm.results.read import read_numbers

#: So many files that lie beside those that are read are named.
_MOST_LINES = 12


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    data_dir: AnyPath | None = None
    out_dir: AnyPath | None = None
    symbols: str | None = None
    config: Path | None = None
    jobs: int | None = None
    shard: str | None = None
    parameters: Sequence[tuple[str, str]] = ()
    raw: Sequence[tuple[str, str]] = ()
    files: Sequence[Path] = ()
    yamls: Sequence[str] = ()

    def settings(self) -> dict[str, Any]:
        """The settings given there. Raises SettingsError."""
        return from_command_line(self.parameters, self.raw, self.files, self.yamls)


@dataclass(frozen=True)
class Job:
    """One symbol to calibrate."""

    symbol: str
    resolved: Resolved
    runs: Sequence[RunFiles]


@dataclass(frozen=True)
class Plan:
    """All symbols to calibrate, and where results go. ``rejected``: symbols whose name can't
    be part of a file name, with the line that says so. ``missing``: symbols that the
    configuration names and that have no files; ``warnings``: a line for each, whichever symbols
    were asked for; ``present``: all symbols that have files, also those that are not to run;
    ``all_symbols``: none were asked for by name; ``data_name``: the data folder as settings name
    it; ``pooled``: a line on the runs of symbols that have several."""

    data_dir: AnyPath
    out_dir: AnyPath
    jobs: Sequence[Job]
    workers: int
    rejected: Mapping[str, str]
    missing: Sequence[str] = ()
    warnings: Sequence[str] = ()
    present: Collection[str] = ()
    all_symbols: bool = False
    data_name: str = ""
    expected: Expected = field(default_factory=Expected)
    pooled: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)


def make_plan(request: Request, environ: Mapping[str, str] | None = None) -> Plan:
    """Resolve a request.

    Raises SettingsError for unknown names, values that make no sense, and symbols that are not
    there; InputError for a data folder that is not there.
    """
    environment: dict[str, Any] = dict(from_environment(os.environ if environ is None else environ))
    command_line = request.settings()
    if "RESULT_DIR" in command_line or "RESULT_DIR" in environment:
        raise SettingsError("RESULT_DIR is set by this command; use --out-dir")
    data_dir = _data_dir(request, environment, command_line)
    config = read_config(request.config) if request.config else find_config(data_dir)
    for layer, source in ((environment, "environment"), (command_line, "command line")):
        # SYMBOL may name several here.
        several = isinstance(layer.get("SYMBOL"), str)
        Settings.build({n: v for n, v in layer.items() if n != "SYMBOL" or not several}, source)
    found = discover(data_dir)
    there = found.symbols
    symbols = _shard(_symbols(request, environment, command_line, data_dir, list(there)), request)
    data_name = _portable(data_dir)
    driven_values = {"BACKTEST_DIR": data_name, "RESULT_DIR": ""}
    jobs, rejected = [], {}
    for symbol in symbols:
        try:
            check_symbol(symbol)
        except SettingsError as error:
            rejected[symbol] = str(error)
            continue
        resolved = resolve(symbol, config, environment, command_line, driven_values)
        _check_old_params(resolved)
        jobs.append(Job(symbol, resolved, there[symbol]))
    out_dir = request.out_dir or below_root("out")
    if isinstance(out_dir, Path):
        out_dir = out_dir.absolute()
    # Half of a symbol's time is waiting for its kernel: twice the cores is where it stops paying.
    workers = request.jobs or max(1, min(len(jobs), 2 * (os.cpu_count() or 1)))
    absent = [s for s in config.symbols if s not in there]
    by_name = request.symbols, command_line.get("SYMBOL"), environment.get("SYMBOL")
    all_symbols = not any(by_name)
    named = dict.fromkeys([*config.symbols, *(config.expected.symbols or ())])
    missing = [s for s in named if s not in there] if all_symbols else []
    unnamed = [s for s in there if s not in config.symbols]
    warnings = [
        f"{config.source} is read; {config.beside} beside it is not: take one away"
        for _ in filter(None, [config.beside])
    ]
    of_runs = [line for s in symbols for run in there[s] for line in run.warnings]
    more = len(of_runs) - _MOST_LINES
    warnings += [*found.left, *of_runs[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    warnings += [
        f"{config.source}: symbols: {name} has no files in {data_dir}, so its settings go to no "
        f"symbol; {_hint(name, unnamed, 'correct the name, or take it away')}"
        for name in absent
    ]
    return Plan(
        data_dir,
        out_dir,
        jobs,
        workers,
        rejected,
        missing,
        warnings,
        list(there),
        all_symbols,
        data_name,
        config.expected,
        found.pooled(symbols),
        config.policy,
    )


def _check_old_params(resolved: Resolved) -> None:
    """Raise SettingsError for an OLD_PARAMS_FILE that can't be used: only found in its kernel, it
    would cost the symbol the parameters it has."""
    old = resolved.settings.OLD_PARAMS_FILE
    if not old:
        return
    try:
        read_numbers(below_root(old))
    except InputError as error:
        source = resolved.sources["OLD_PARAMS_FILE"]
        hint = "" if error.where == old else f"; given as {old!r}, looked for below {below_root()}"
        raise SettingsError(f"{source}: OLD_PARAMS_FILE: {error}{hint}") from None


def _shard(symbols: list[str], request: Request) -> list[str]:
    """Every n-th symbol from the i-th on, for ``--shard i/n``."""
    if request.shard is None:
        return symbols
    number, _, count = request.shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SettingsError(
            f"--shard: found {request.shard!r}, expected i/n with i from 1 to n, for example 1/4"
        )
    return symbols[int(number) - 1 :: int(count)]


def chosen(request: Request, environ: Mapping[str, str]) -> dict[str, Sequence[RunFiles]]:
    """The files of the symbols that a request is about, for ``--list``.

    Raises what make_plan raises for folders, symbols and shards.
    """
    environment, command_line = dict(from_environment(environ)), request.settings()
    data_dir = _data_dir(request, environment, command_line)
    there = find_symbols(data_dir)
    names = _symbols(request, environment, command_line, data_dir, list(there))
    return {name: there[name] for name in _shard(names, request)}


def _data_dir(
    request: Request, environment: Mapping[str, Any], given: Mapping[str, Any]
) -> AnyPath:
    if request.data_dir is not None and "BACKTEST_DIR" in given:
        raise SettingsError("--data-dir and the parameter BACKTEST_DIR name one folder; give one")
    if str(given.get("BACKTEST_DIR", "x")).strip() == "":
        raise SettingsError("command line: BACKTEST_DIR: found '', not a folder; name one")
    named = given.get("BACKTEST_DIR") or environment.get("BACKTEST_DIR")
    folder = request.data_dir or (path_or_url(str(named)) if named else below_root("data"))
    return folder if isinstance(folder, Remote) else folder.expanduser().absolute()


def _portable(folder: AnyPath) -> str:
    """A folder as an executed notebook should name it: below the repo root where it is."""
    if isinstance(folder, Remote):
        return folder.url
    resolved = folder.resolve()
    if REPO_ROOT and resolved.is_relative_to(REPO_ROOT):
        return resolved.relative_to(REPO_ROOT).as_posix()
    return str(resolved)


def _symbols(
    request: Request,
    environment: Mapping[str, Any],
    command_line: Mapping[str, Any],
    data_dir: AnyPath,
    there: list[str],
) -> list[str]:
    """The symbols to run: --symbols or SYMBOL, or all there are."""
    by_option, by_parameter = request.symbols, command_line.get("SYMBOL")
    if by_option is not None and by_parameter is not None:
        raise SettingsError("--symbols and the parameter SYMBOL say the same thing; give one")
    asked = by_option if by_option is not None else by_parameter or environment.get("SYMBOL")
    if not there:
        raise SettingsError(
            f"no orders_<SYMBOL>, fills_<SYMBOL> or state_<SYMBOL> files in {data_dir}, nor "
            f"trades_ and quotes_<SYMBOL>; {_elsewhere(data_dir)}"
        )
    if asked is None:
        return there
    wanted = list(dict.fromkeys(name.strip() for name in str(asked).split(",") if name.strip()))
    if not wanted:
        raise SettingsError(f"no symbol named (there: {', '.join(there[:20])})")
    for name in wanted:
        if name not in there:
            hint = _hint(name, there, f"there: {', '.join(there[:20])}")
            raise SettingsError(f"symbol {name!r} has no files in {data_dir}; {hint}")
    return wanted


def _elsewhere(data_dir: AnyPath) -> str:
    """What to do about a folder without logs."""
    from mm.engines.recordings import engines_of

    alike = engines_of(data_dir) if isinstance(data_dir, Path) else []
    if len(alike) == 1:
        command = f"python -m mm.convert --from {alike[0]} {data_dir} OUT_DIR"
        return f"it looks like a recording of {alike[0]}: {command} makes logs of it"
    return "give the folder of the backtest with --data-dir"


def _hint(name: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else otherwise
