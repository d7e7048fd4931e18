"""Which symbols a data folder holds, and what of it is left.

A run's three files lie in the data folder or in any folder below it; there each folder is a run of
its own. Files that differ by a date in their names are the days of one symbol:
``orders_BTCUSDT_20250101.csv`` and ``orders_BTCUSDT_20250102.csv`` are two runs of BTCUSDT.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mm.core.errors import InputError
from mm.core.storage import AnyPath
from mm.logs.files import KINDS, SUFFIXES, TAPE_KINDS, Kind, RunFiles

_FILE = re.compile(
    # orders_report and fills_report are nautilus_trader's, of no symbol "report".
    r"(orders|fills|state)_(?!report\.)(.+?)(\.csv|\.csv\.gz|\.parquet)"
    r"|(trades|quotes)_(.+?)(\.csv|\.csv\.gz|\.parquet|(?:\.csv)?\.zip)|(trades)_(.+?)(\.npz)"
)
_LOOKS_LIKE_ONE = re.compile(r"(orders?|fills?|states?)[-_. ].+", re.IGNORECASE)
#: Eight digits or ISO, with a time of day perhaps: six digits are the expiry of a future.
_DAY = r"20\d\d(?P<dash{0}>[-_]?)(?:0[1-9]|1[0-2])(?P=dash{0})(?:0[1-9]|[12]\d|3[01])"
_DATED = re.compile(
    rf"(?P<before>.+?)[-_.](?P<last>{_DAY.format(1)}(?:[-_T]?\d\d(?:-?\d\d){{0,2}}Z?)?)"
    rf"|(?P<first>{_DAY.format(2)})[-_.](?P<after>.+)"
)
#: What prints need beside them, in order of preference.
_WITH_PRINTS: tuple[Kind, ...] = ("quotes", "state")
#: No line lists more names.
_LISTED = 6


@dataclass(frozen=True)
class Found:
    """``symbols``: runs by symbol, both in order; ``left``: a line each on what is not read or may
    be meant otherwise."""

    symbols: Mapping[str, Sequence[RunFiles]]
    left: tuple[str, ...] = ()

    def pooled(self, symbols: Sequence[str]) -> list[str]:
        """A line for each way in which runs of these symbols are pooled."""
        alike: dict[tuple[str, ...], list[str]] = {}
        for symbol in symbols:
            runs = tuple(run.name for run in self.symbols[symbol])
            if len(runs) > 1:
                alike.setdefault(runs, []).append(symbol)
        return [
            f"{_names(those)}: {len(runs)} runs pooled: {_names(runs)}"
            for runs, those in alike.items()
        ]


def discover(data_dir: AnyPath) -> Found:
    """Every symbol in a data folder with its runs, and what is left.

    A symbol exists if any of its three files does. Where a folder holds files of a symbol, those
    in folders below it are not used. Raises InputError if there is no such folder, or one that
    can't be read.
    """
    if not data_dir.is_dir():
        raise InputError(
            "no such folder", where=str(data_dir), remedy="give the folder of the backtest"
        )
    by_symbol: dict[str, list[RunFiles]] = {}
    left = []
    for below, folder, entries in _folders(data_dir):
        for symbol, run in _runs_of(folder, below, entries).items():
            by_symbol.setdefault(symbol, []).append(run)
        here = {path.name for path in entries}
        odd = [path.name for path in entries if _is_odd(path) or _is_half_a_tape(path, here)]
        if odd:
            left.append(
                f"{folder}: not read: {_names(odd)}; a log is orders_, fills_ and state_<SYMBOL>"
                f"{', '.join(SUFFIXES[:3])}, a tape trades_ and quotes_<SYMBOL>"
            )
    found = {symbol: _uppermost(symbol, runs) for symbol, runs in by_symbol.items()}
    found, single = _days_joined(found)
    return Found(dict(sorted(found.items())), (*left, *single))


def find_symbols(data_dir: AnyPath) -> Mapping[str, Sequence[RunFiles]]:
    """The symbols that :func:`discover` finds."""
    return discover(data_dir).symbols


def _folders(top: AnyPath) -> Iterator[tuple[str, AnyPath, list[AnyPath]]]:
    """A folder and those below it, parents first, with their path below it and what they hold. No
    hidden ones, no logs in parts, and none that leads back to a folder above it."""
    waiting: list[tuple[str, AnyPath, tuple[AnyPath, ...]]] = [("", top, ())]
    while waiting:
        below, folder, above = waiting.pop()
        place = folder.resolve() if isinstance(folder, Path) else folder
        if place in above:
            continue
        entries = _entries(folder)
        yield below, folder, entries
        waiting += [
            (f"{below}/{path.name}".lstrip("/"), path, (*above, place))
            for path in reversed(entries)
            if path.name[0] != "." and not _FILE.fullmatch(path.name) and path.is_dir()
        ]


def _entries(folder: AnyPath) -> list[AnyPath]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise InputError(
            f"the folder can't be read ({error.strerror})",
            where=str(folder),
            remedy="look at its rights, or move it away",
        ) from None


def _is_odd(path: AnyPath) -> bool:
    return bool(
        _LOOKS_LIKE_ONE.fullmatch(path.name)
        and not _FILE.fullmatch(path.name)
        and not path.is_dir()
    )


def _is_half_a_tape(path: AnyPath, names: Collection[str]) -> bool:
    """Prints without quotes, or quotes without prints, of a symbol without orders."""
    match = _FILE.fullmatch(path.name)
    if match is None or match[1]:
        return False
    symbol = match[5] or match[8]
    beside = [n for n in names if (m := _FILE.fullmatch(n)) and symbol in (m[2], m[5], m[8])]
    return not (_tape_kinds(beside) or any(name.startswith("orders_") for name in beside))


def _tape_kinds(names: Collection[str]) -> tuple[Kind, ...]:
    """The kinds of a symbol's files that are its tape; none where it has orders, or no quotes."""
    there = {name.partition("_")[0] for name in names}
    if there & {"orders", "fills"} or "trades" not in there:
        return ()
    if any(name.endswith(".npz") for name in names):
        return ("trades",)
    return next((("trades", kind) for kind in _WITH_PRINTS if kind in there), ())


def _runs_of(folder: AnyPath, below: str, entries: Sequence[AnyPath]) -> dict[str, RunFiles]:
    seen: dict[str, dict[Kind, list[tuple[int, AnyPath]]]] = {}
    for path in entries:
        match = _FILE.fullmatch(path.name)
        if match:
            word, symbol, suffix = filter(None, match.groups())
            kind = next(k for k in (*KINDS, *TAPE_KINDS) if k == word)
            seen.setdefault(symbol, {}).setdefault(kind, []).append((SUFFIXES.index(suffix), path))
    runs = {}
    for symbol, all_kinds in seen.items():
        names = [path.name for found in all_kinds.values() for _, path in found]
        wanted = _tape_kinds(names) or KINDS
        paths, warnings = {}, []
        for kind, candidates in all_kinds.items():
            if kind not in wanted:
                continue
            first, *others = [path for _, path in sorted(candidates, key=lambda item: item[0])]
            paths[kind] = first
            if others:
                beside = ", ".join(path.name for path in others)
                warnings.append(f"{first.name} is read; {beside} beside it is not")
        if paths:
            runs[symbol] = RunFiles(folder, paths, below, warnings=tuple(warnings))
    return runs


def _uppermost(symbol: str, runs: Sequence[RunFiles]) -> list[RunFiles]:
    """The runs without those in a folder below another run's, which is told of them."""
    kept: list[RunFiles] = []
    for run in runs:  # parents come first
        over = next(
            (i for i, k in enumerate(kept) if f"{run.below}/".startswith(_as_parent(k))), None
        )
        if over is None:
            kept.append(run)
        else:
            kept[over] = replace(kept[over], ignored=(*kept[over].ignored, run.below))
    return [
        replace(run, warnings=(*run.warnings, _ignoring(symbol, run))) if run.ignored else run
        for run in kept
    ]


def _as_parent(run: RunFiles) -> str:
    return f"{run.below}/" if run.below else ""


def _ignoring(symbol: str, run: RunFiles) -> str:
    where = run.below or run.folder.name
    return f"{symbol}: files in {where} are used; those in {_names(run.ignored)} are not"


def _days_joined(
    found: Mapping[str, list[RunFiles]],
) -> tuple[dict[str, list[RunFiles]], list[str]]:
    """Symbols whose names differ by a date only, as one; and a line on those with a single date,
    which may be part of the name as that of a future is."""
    days: dict[str, dict[str, str]] = {}
    for name in found:
        match = _DATED.fullmatch(name)
        if match:
            symbol = match["before"] or match["after"]
            days.setdefault(symbol, {})[name] = match["last"] or match["first"]
    joined = dict(found)
    single = []
    for symbol, named in days.items():
        if len(named) == 1 and symbol not in found:
            single.append(
                f"{next(iter(named))}: taken as the name of a symbol, since there is no other day "
                f"of {symbol}"
            )
            continue
        runs = found.get(symbol, [])
        for name, day in named.items():
            runs = [*runs, *(replace(run, day=day) for run in joined.pop(name))]
        joined[symbol] = sorted(runs, key=lambda run: (run.below, run.day))
    return joined, single


def _names(names: Sequence[str]) -> str:
    """Names in a line of bounded length, the last of many among them."""
    if len(names) <= _LISTED:
        return ", ".join(names)
    return f"{', '.join(names[: _LISTED - 1])} … {names[-1]} ({len(names)})"
