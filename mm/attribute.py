"""Why parameters moved: the market, the settings, or the code.

    python -m mm.attribute OLD.json NEW.json
    python -m mm.attribute OUT_DIR            # what is live against the last batch, every symbol

Exit code 0, 1 where a symbol can't be told, 2 for bad input.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mm.calibration import load, run_steps
from mm.core.errors import CalibrationError, InputError, one_line
from mm.core.places import in_utf8
from mm.core.settings import Settings
from mm.logs.load import BacktestLog
from mm.registry.store import REGISTRY, Registry
from mm.report.compare import DISTANCES, PLACES, near_middle_far, quoted
from mm.results.params import Params
from mm.results.record import params_name


@dataclass(frozen=True)
class Part:
    """A change of the logarithm of one number, and what makes it up; ``market`` and ``code`` are
    None where only their sum is known."""

    what: str
    total: float
    settings: float
    market: float | None
    code: float | None

    @property
    def line(self) -> str:
        """In one line, as changes in percent, which multiply."""
        rest = self.total - self.settings
        parts = [f"settings {_percent(self.settings)}"]
        if self.market is None or self.code is None:
            parts = [f"market and code {_percent(rest)}", *parts]
        else:
            parts = [f"market {_percent(self.market)}", *parts, f"code {_percent(self.code)}"]
        return f"{self.what} {_percent(self.total)}: {', '.join(parts)}"


def attribute(old: Params, new: Params) -> list[Part]:
    """Why log λ at the quoted distances, and log 1/k, are others in new parameters than in old.

        total    = log λ(new)     - log λ(old)
        settings = log λ(new)     - log λ(refit 1)   refit 1: new data, old settings
        market   = log λ(refit 1) - log λ(refit 2)   refit 2: old data, old settings
        code     = log λ(refit 2) - log λ(old)

    They add up. Refits are by the code that runs now, which made the new ones; refit 1 is the new
    one itself where no setting differs that numbers follow from, refit 2 the old one where the
    packages are of the same versions and the old data are gone: then the code is taken for the
    same. Distances are compared in price.

    Raises CalibrationError where data of the new ones are gone and settings differ, or a refit is
    refused.
    """
    same_settings = _settled(old.settings) == _settled(new.settings)
    first = new if same_settings else _refit(_log(new), old)
    there = _log(old)
    second: Params | None = old if old.versions == new.versions else None
    if there is not None:
        second = _refit(there, old)
    numbers = [_numbers(p, new) for p in (new, old, first)]
    others = [None] * len(numbers[0]) if second is None else _numbers(second, new)
    found = []
    for (what, now), (_, before), (_, one), other in zip(*numbers, others, strict=True):
        two = None if other is None else other[1]
        found.append(
            Part(
                what,
                now - before,
                now - one,
                None if two is None else one - two,
                None if two is None else two - before,
            )
        )
    return found


def _numbers(params: Params, like: Params) -> list[tuple[str, float]]:
    """Logarithms of λ at the quoted distances of ``like`` and of 1/k, in price."""
    chosen = near_middle_far(quoted(like) or DISTANCES)
    scale = like.tick_size / params.tick_size
    rates = [
        (f"λ at {ticks:g} ticks", math.log(params.A) - params.k * scale * ticks) for ticks in chosen
    ]
    return [*rates, ("1/k", -math.log(params.k_price))]


def _settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in PLACES}


def _log(params: Params) -> BacktestLog | None:
    """The log that parameters are of, from the folder they were made of, though others lie there
    by now; None where any file of it is gone or another."""
    try:
        log = load(Settings.build(params.settings, "the params file"))
    except CalibrationError:
        return None
    wanted = set(params.inputs_sha256.values())
    runs = [run for run in log.runs if set(run.inputs_sha256.values()) <= wanted]
    log = replace(log, runs=tuple(runs))
    there = {digest for run in runs for digest in run.inputs_sha256.values()}
    return log if runs and there == wanted else None


def _refit(log: BacktestLog | None, old: Params) -> Params:
    if log is None:
        raise CalibrationError("settings differ, and the log of the new parameters is gone")
    settings = Settings.build(old.settings, "the old params file")
    made = run_steps(log, settings)
    if made.params is None:
        raise CalibrationError(f"with the old settings it is {made.verdict.line}")
    return made.params


def _percent(change: float) -> str:
    return f"{math.expm1(change):+.1%}" if change < math.log(10.0) else f"×{math.exp(change):.3g}"


def _read(path: Path) -> Params:
    try:
        return Params.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        what = f"no params file ({one_line(error)})"
        raise InputError(what, where=path, remedy="give one of a calibration") from None


def _of_folder(out_dir: Path) -> list[tuple[Path, Params]]:
    """The newest params file of every live symbol, and what is live."""
    registry = Registry(out_dir / REGISTRY)
    live = registry.live()
    if not live:
        raise InputError("nothing is live", where=registry.folder, remedy="promote makes it so")
    return [(out_dir / s / params_name(s), registry.params(s, v)) for s, v in live.items()]


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mm.attribute", description="Why parameters moved."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json|OUT_DIR")
    parser.add_argument("new", type=Path, nargs="?", metavar="NEW.json")
    args = parser.parse_args(arguments)
    code = 0
    try:
        pairs = [(args.new, _read(args.old))] if args.new else _of_folder(args.old)
        for path, old in pairs:
            try:
                for part in attribute(old, _read(path)):
                    print(f"{old.symbol}  {part.line}")
            except CalibrationError as error:
                if args.new:
                    raise
                print(f"{old.symbol}  not told: {error}", file=sys.stderr)
                code = 1
    except CalibrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
