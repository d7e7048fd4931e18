"""Which engine wrote a recording, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from mm.core.errors import InputError
from mm.core.settings import check_symbol
from mm.engines import binance, hftbacktest, hummingbot, nautilus
from mm.engines.events import Recording, Tables
from mm.engines.mapping import tables_by

ENGINES: Mapping[str, ModuleType] = {
    one.NAME: one for one in (nautilus, hftbacktest, binance, hummingbot)
}


def engines_of(path: Path) -> list[str]:
    """The engines whose files these seem to be, by their content."""
    return [name for name, engine in ENGINES.items() if engine.recognises(path)]


def tables_of(path: Path, name: str = "auto", symbol: str = "") -> list[Tables]:
    """The three tables of every symbol in a recording. ``name``: of ENGINES, or a mapping file;
    ``auto`` looks at the files. ``symbol``: what to call the only one, or which of several, with
    commas.

    Raises InputError for files of no engine or of another one, and what an adapter can't read.
    """
    if name.endswith((".yaml", ".yml")):
        return [tables_by(Path(name), path, symbol)]
    if name not in ENGINES and name != "auto":
        known = ", ".join(ENGINES)
        raise InputError(f"no engine {name!r}", where=path, remedy=f"{known}, or a mapping in YAML")
    if name == "auto":
        alike = engines_of(path)
        if len(alike) != 1:
            found = f"looks like {' and '.join(alike)}" if alike else "of no engine that is known"
            raise InputError(found, where=path, remedy=f"give --from {' or '.join(ENGINES)}")
        (name,) = alike
    elif not ENGINES[name].recognises(path):
        others = " and ".join(engines_of(path))
        seems = f"; it looks like {others}" if others else ""
        raise InputError(
            f"not what {name} writes{seems}", where=path, remedy="docs/engines.md has the files"
        )
    read: list[Recording] = ENGINES[name].recordings(path, symbol)
    if symbol and len(read) > 1:
        read = _chosen(read, symbol.split(","), path)
    made = [one.tables(str(path)) for one in read]
    if not made:
        raise InputError(
            "no order", where=path, remedy="give a recording in which orders are placed"
        )
    for one in made:
        check_symbol(one.symbol)
    return made


def _chosen(found: list[Recording], symbols: list[str], path: Path) -> list[Recording]:
    there = {one.symbol: one for one in found}
    missing = [symbol for symbol in symbols if symbol not in there]
    if missing:
        what = f"no orders of {missing[0]} (found: {', '.join(there)[:120]})"
        raise InputError(what, where=path, remedy="name those, or none for all")
    return [there[symbol] for symbol in symbols]
