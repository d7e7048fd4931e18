"""Virtual orders on a tape as the three tables, for other tools.

    python -m mm.tape IN OUT --symbol BTCUSDT -p TICK_SIZE 0.1 -p HORIZON_MS 2000

IN holds trades_<SYMBOL> with quotes_<SYMBOL> (docs/tape.md);
OUT gets orders_, fills_ and state_<SYMBOL>.parquet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mm.core.errors import CalibrationError, InputError, one_line
from mm.core.settings import Settings
from mm.tape.log import read_tapes, tape_log, tapes_of


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mm.tape",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="IN", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--symbol", required=True)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"))
    given = parser.parse_args(arguments)
    try:
        print(_write(given.data, given.out, given.symbol, dict(given.p)))
    except CalibrationError as error:
        print(f"mm.tape: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _write(data: Path, out: Path, symbol: str, given: dict[str, str]) -> str:
    settings = Settings.build({"SYMBOL": symbol, **given}, "-p")
    runs = tapes_of(data, symbol)
    if not runs:
        what = f"no trades_{symbol} with quotes_{symbol} or state_{symbol}"
        raise InputError(what, where=data, remedy="look there")
    tapes = read_tapes(runs, settings)
    log = tape_log(tapes, settings)
    for run in log.runs:
        folder = out / run.name if len(log.runs) > 1 else out
        folder.mkdir(parents=True, exist_ok=True)
        for kind, table in (("orders", run.orders), ("fills", run.fills), ("state", run.state)):
            part = folder / f".{kind}_{symbol}.part"
            table.astype({"order_id": "str"} if "order_id" in table else {}).to_parquet(part)
            part.replace(folder / f"{kind}_{symbol}.parquet")
    said = [text for one in tapes for text in one.tape.said]
    return "\n".join([*said, f"{log.rule}; in {out}"])


if __name__ == "__main__":
    sys.exit(main())
