"""CSV logs, or other engines' recordings, as Parquet logs. Used as a command:

    python -m mm.convert DATA_DIR OUT_DIR [--symbols BTCUSDT,ETHUSDT] [--partition day]
    python -m mm.convert [--from nautilus] RECORDING OUT_DIR [--symbols BTCUSDT]

The columns that a calibration uses are kept, with every row in its order and every number as it
was read, so that the calibration of the result is that of the source to the last digit. The
folder's calibration.yaml comes along.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mm.core.config import configs_in
from mm.core.errors import CalibrationError, InputError
from mm.core.places import in_utf8
from mm.logs.as_parquet import write_parquet
from mm.logs.discovery import find_symbols
from mm.logs.files import KINDS, Kind, fetched


class UsageError(InputError):
    """What was asked for can't be done; nothing was written."""


def convert(
    data_dir: Path, out_dir: Path, symbols: list[str] | None = None, *, by_day: bool = False
) -> list[Path]:
    """Write the logs of a data folder as Parquet; returns what was written.

    A log is one file, or by day a folder ``orders_X.parquet/date=2026-11-01/part-0.parquet``. Run
    folders stay run folders. Each log takes its name only when it is whole. Settings come along,
    unless OUT_DIR has its own.

    Raises InputError for logs that can't be read or hold malformed rows, UsageError for symbols
    that are not there and names that are taken.
    """
    try:
        found = find_symbols(data_dir)
    except InputError as error:
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from None
    missing = [name for name in symbols or [] if name not in found]
    if missing or not found:
        names = ", ".join(list(found)[:20]) or "none"
        what = f"no files of symbol {missing[0]!r}" if missing else "no logs"
        raise UsageError(f"{what} (symbols there: {names})", where=data_dir, remedy="look there")
    sources: dict[Path, tuple[Path, Kind]] = {}
    for name in symbols or found:
        for run in found[name]:
            folder = out_dir / (run.name if run.below or run.day else "")
            for kind, path in fetched(run).paths.items():
                sources[folder / f"{kind}_{name}.parquet"] = path, kind
    _refuse_taken(sources)
    out_dir.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=".convert-", dir=out_dir))
    try:
        for target, (path, kind) in sources.items():
            write_parquet(path, kind, room / target.relative_to(out_dir), by_day)
        for target in sources:
            target.parent.mkdir(parents=True, exist_ok=True)
            (room / target.relative_to(out_dir)).rename(target)
        for settings in configs_in(data_dir)[:1]:
            if not configs_in(out_dir):
                shutil.copyfile(str(settings), room / settings.name)
                (room / settings.name).rename(out_dir / settings.name)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return list(sources)


def convert_recording(path: Path, out_dir: Path, name: str, symbol: str = "") -> list[str]:
    """Write what another engine recorded as the three tables of each symbol; returns a line each.

    All files take their names when all are whole. Raises InputError, UsageError for taken names.
    """
    from mm.engines.recordings import tables_of

    made, said = tables_of(path, name, symbol), []
    targets = {
        out_dir / f"{kind}_{one.symbol}.parquet": getattr(one, kind)
        for one in made
        for kind in KINDS
    }
    _refuse_taken(targets)
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=out_dir) as room:
        for target, table in targets.items():
            table.to_parquet(Path(room, target.name), index=False)
        for target in targets:
            Path(room, target.name).rename(target)
    for one in made:
        counts = f"{one.orders['order_id'].nunique():,} orders, {len(one.fills):,} fills"
        said += [f"{one.symbol}: {counts}", *(f"{one.symbol}: {note}" for note in one.notes)]
    return said


def _refuse_taken(targets: Iterable[Path]) -> None:
    for target in targets:
        if target.exists():
            raise UsageError(
                "is there already", where=target, remedy="take it away, or give another OUT_DIR"
            )


def _engine_of(path: Path) -> str | None:
    """ "auto" for a file, and for a folder without logs of ours that some engine wrote."""
    from mm.engines.recordings import engines_of

    if path.is_dir() and (find_symbols(path) or not engines_of(path)):
        return None
    return "auto" if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 0 done, 1 an error of the input, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="python -m mm.convert", description="Write CSV logs as Parquet."
    )
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("--symbols", help="only these, separated by commas")
    parser.add_argument(
        "--partition", choices=("none", "day"), default="none", help="a file for each day (UTC)"
    )
    parser.add_argument(
        "--from",
        dest="engine",
        help="which engine recorded DATA_DIR, where files don't show it: nautilus, hftbacktest, "
        "binance, hummingbot, or a mapping in YAML (docs/engines.md)",
    )
    args = parser.parse_args(arguments)
    symbols = [s.strip() for s in args.symbols.split(",") if s.strip()] if args.symbols else None
    try:
        engine = args.engine or _engine_of(args.data_dir)
        if engine:
            lines = convert_recording(args.data_dir, args.out_dir, engine, ",".join(symbols or []))
            print("\n".join([*lines, f"in {args.out_dir}"]))
            return 0
        made = convert(args.data_dir, args.out_dir, symbols, by_day=args.partition == "day")
    except CalibrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        print(f"error: {error.filename}: can't be written ({error.strerror})", file=sys.stderr)
        return 1
    print(f"{len(made)} logs in {args.out_dir}")
    for theirs, ours in zip(configs_in(args.data_dir), configs_in(args.out_dir), strict=False):
        if theirs.read_bytes() != ours.read_bytes():
            print(f"{ours}: kept; it differs from {theirs}: compare them by hand", file=sys.stderr)
    return 0


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
