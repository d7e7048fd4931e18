"""`python -m mm.simulate OUT_DIR`: write logs with a known truth as a data folder."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from mm.simulate.demo import DEMO, DEMO_SEED, SCENARIOS
from mm.simulate.log import SimulatedLog, simulate
from mm.simulate.scenario import Scenario
from mm.simulate.write import write_logs

USAGE_ERROR = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line: the usage is a --help away."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or exit with 2 on a bad argument."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.list:
        width = max(map(len, SCENARIOS))
        for name, (purpose, _) in SCENARIOS.items():
            print(f"{name:{width}}  {purpose}")
        return 0
    if options.out_dir is None:
        parser.error("OUT_DIR is missing: the folder to write to")
    try:
        logs = _demo(options) if options.demo else [_one(options)]
        paths = write_logs(logs, options.out_dir, with_truth=not options.demo, force=options.force)
    except FileExistsError as error:
        parser.error(f"{error}: choose another folder or pass --force to replace them")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for log in logs:
        truth = log.truth
        n_fills = log.fills["order_id"].nunique()
        print(f"{truth['symbol']}: A={truth['A']} k={truth['k']}, {n_fills} filled orders")
    print(f"{len(paths)} files in {options.out_dir}")
    return 0


def _one(options: argparse.Namespace) -> SimulatedLog:
    _, scenario = SCENARIOS[options.scenario or "clean"]
    if options.tick_size is not None:
        scenario = scenario.in_ticks_of(options.tick_size)
    given = {name: getattr(options, name) for name in ("symbol", "A", "k")}
    if options.minutes is not None:
        given["duration_s"] = options.minutes * 60.0
    return simulate(_updated(scenario, given), 0 if options.seed is None else options.seed)


def _demo(options: argparse.Namespace) -> list[SimulatedLog]:
    for name in ("scenario", "symbol", "minutes", "A", "k", "tick_size", "seed"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} cannot be given with --demo")
    return [simulate(scenario, DEMO_SEED + i) for i, scenario in enumerate(DEMO)]


def _updated(scenario: Scenario, given: dict[str, Any]) -> Scenario:
    return replace(scenario, **{name: v for name, v in given.items() if v is not None})


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m mm.simulate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("out_dir", nargs="?", type=Path, metavar="OUT_DIR", help="folder to write to")
    add("--demo", action="store_true", help="write the demo data of data/ exactly")
    add("--list", action="store_true", help="list the scenarios and stop")
    add(
        "--scenario",
        choices=SCENARIOS,
        metavar="NAME",
        help="default: clean; see --list",
    )
    add("--symbol", type=_symbol, help="name in the file names (default: BTCUSDT)")
    add("--seed", type=_number(int, 0), metavar="N", help="default: 0")
    add("--minutes", type=_number(float, 0, open_=True), metavar="M", help="length of the run")
    add("--A", type=_number(float, 0, open_=True), help="fill intensity at distance 0, 1/s")
    add("--k", type=_number(float, -math.inf, open_=True), help="decay, 1/tick")
    add(
        "--tick-size",
        type=_number(float, 0, open_=True),
        help="quote currency; all prices scale with it",
    )
    add("--force", action="store_true", help="replace existing files")
    return parser


def _number(
    kind: type[int] | type[float], low: float, *, open_: bool = False
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and (value > low or (value == low and not open_)):
            return value
        what = "an integer" if kind is int else "a finite number"
        bound = "" if low == -math.inf else f" {'above' if open_ else 'of at least'} {low:g}"
        raise argparse.ArgumentTypeError(f"found {text!r}, must be {what}{bound}")

    return parse


def _symbol(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return text
    raise argparse.ArgumentTypeError(
        f"found {text!r}, must be letters, digits, '.', '_' or '-': it goes into file names"
    )


if __name__ == "__main__":
    sys.exit(main())
