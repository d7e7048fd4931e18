"""Sixty nights of a desk, day by day through the commands: is each event told on its morning, how
often is a quiet symbol told of, and do promoted parameters forecast better?

    python benchmarks/nights.py [--short] [--seed 1]

Seven markets of eleven minutes a day: two quiet ones, one with day effects of sd 0.1, one that
drifts by 3 % a night, one whose rate breaks by a factor of 3 for good, one in which one night is
off by a factor of 4 and the next as before, one whose file is not renewed for three nights, is
gone for three others, and whose TICK_SIZE is set anew. Each night: score, batch, promote. The desk
promotes by force what was kept back as moved two nights running.

A false alarm is a morning on which a symbol is told of without an event in the last three nights.
The market with day effects is counted apart: a log of one day can't know of them, nor the history
in its first nights.

Forecasts of each night's fills by placement distance, in nats a fill (mm.diagnostics.forecast):
what was live, against promoting every night whatever comes, and against the first night's for ever.
Exits 1 where an event is not told on its morning, the drift not within four nights of λ being a
quarter higher, with more than 0.2 false alarms a symbol and month, or where, over all nights,
promoted parameters forecast no better than both others.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mm.core.arrays import sums_by
from mm.core.settings import Settings
from mm.diagnostics.forecast import gain
from mm.exposure.accounts import account
from mm.logs.load import load_log
from mm.pipeline.cli import main
from mm.pipeline.executor import PRELOAD
from mm.pipeline.kernels import open_kernels
from mm.simulate import Scenario, simulate

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Calendar:
    """The night on which each thing happens; a file that is ``stale`` or ``gone`` is so for
    ``away`` nights. ``symbols``: the markets, in the order of their seeds."""

    nights: int
    spike: int
    breaks: int
    stale: int
    gone: int
    tick: int
    drifts_from: int
    away: int
    symbols: tuple[str, ...]

    @property
    def events(self) -> dict[int, tuple[str, tuple[str, ...]]]:
        """What a morning must say, and of which symbol: words of which one is enough."""
        return {
            self.breaks: ("BREAKS", ("λ",)),
            self.spike: ("SPIKES", ("λ",)),
            self.stale: ("FILES", ("stale", "same log")),
            self.gone: ("FILES", ("missing",)),
            self.tick: ("FILES", ("TICK_SIZE",)),
        }

    def quiet(self, symbol: str, night: int) -> bool:
        """Whether nothing happened to a symbol that night or in the three before."""
        after = self.away + 3
        lasting = {
            "BREAKS": [(self.breaks, 4)],
            "SPIKES": [(self.spike, 4)],
            "FILES": [(self.stale, after), (self.gone, after), (self.tick, 4)],
        }
        near = any(first <= night < first + n for first, n in lasting.get(symbol, ()))
        return symbol not in ("VARIES", "DRIFTS") and not near

    def level(self, symbol: str, night: int, rng: np.random.Generator) -> float:
        """A of a symbol's market that night, over its usual one."""
        if symbol == "VARIES":
            return math.exp(0.1 * rng.standard_normal() - 0.005)
        if symbol == "DRIFTS":
            return 1.03 ** max(0, night - self.drifts_from)
        if symbol == "BREAKS":
            return 3.0 if night >= self.breaks else 1.0
        return 4.0 if (symbol, night) == ("SPIKES", self.spike) else 1.0


SIXTY = Calendar(
    nights=60, drifts_from=8, stale=13, spike=22, breaks=30, gone=36, tick=48, away=3,
    symbols=("CALM", "STEADY", "VARIES", "DRIFTS", "BREAKS", "SPIKES", "FILES"),
)  # fmt: skip
#: For the tests: every event told on its morning, in some seconds.
SHORT = Calendar(
    nights=5, drifts_from=5, spike=5, stale=1, gone=2, breaks=3, tick=4, away=1,
    symbols=("CALM", "BREAKS", "FILES"),
)  # fmt: skip
CONFIG: dict[str, Any] = {
    "defaults": {"TICK_SIZE": 1.0},
    "warn_after": {"count": 20, "period": "hour"},
    "error_after": {"count": 30, "period": "hour"},
    "valid_for": {"count": 3, "period": "day"},
    "max_move": 0.5,
}


def write_night(data: Path, calendar: Calendar, night: int, seed: int) -> None:
    """Every symbol's log of that day in place of the one before."""
    for number, symbol in enumerate(calendar.symbols):
        if symbol == "FILES" and calendar.stale <= night < calendar.stale + calendar.away:
            continue
        gone = symbol == "FILES" and calendar.gone <= night < calendar.gone + calendar.away
        rng = np.random.default_rng([seed, number, night])
        scenario = Scenario(A=0.4 * calendar.level(symbol, night, rng), k=0.3, duration_s=660.0)
        log = simulate(scenario, int(rng.integers(2**31)))
        shift = int((FIRST + timedelta(days=night)).timestamp() * 1000)
        shift -= int(log.state["recv_ms"].iloc[0])
        for kind in ("orders", "fills", "state"):
            path = data / f"{kind}_{symbol}.parquet"
            if gone:
                path.unlink(missing_ok=True)
                continue
            table = getattr(log, kind)
            times = [name for name in table if name.endswith("_ms")]
            table.assign(**{name: table[name] + shift for name in times}).to_parquet(path)


@contextmanager
def clock(night: int) -> Iterator[None]:
    """Six in the morning after that day."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return (FIRST + timedelta(days=night, hours=6)).astimezone(tz)

    with ExitStack() as stack:
        for module in ("batch", "commands", "pages", "history"):
            stack.enter_context(mock.patch(f"mm.pipeline.{module}.datetime", Clock))
        yield


def call(*words: str) -> str:
    """What a command says, on both streams."""
    done = CliRunner().invoke(main, words)
    if done.exit_code not in (0, 3, 4):
        raise SystemExit(f"{' '.join(words)}: exit {done.exit_code}\n{done.output}")
    return done.output


def told_of(out: Path) -> list[str]:
    """The mail's sentences on what needs a person and what changed."""
    mail = message_from_bytes((out / "calibration.eml").read_bytes(), policy=default)
    body = mail.get_body(("plain",))
    assert body is not None
    lines = body.get_content().replace("\n  ", " ").splitlines()
    end = next((i for i, line in enumerate(lines) if "λ(δ)" in line), len(lines))
    return [line for line in lines[:end] if line.startswith("- ")]


def night_sums(data: Path, symbol: str) -> tuple[Any, ...]:
    """Exposure (s), fills and |distance| by cell, with the placement level."""
    settings = Settings.build({"TICK_SIZE": 1.0})
    accounts = account(load_log(data, symbol), settings)
    cells = accounts.exposure.cells(accounts.selection)
    return cells.exposure_s, cells.events * 1.0, cells.delta, cells.level


def expected(numbers: dict[str, float], sums: tuple[Any, ...]) -> tuple[Any, ...]:
    """Fills seen and expected by placement distance; distances in ticks of one."""
    seconds, n, delta, placed = sums
    _, of = np.unique(placed, return_inverse=True)
    rate = numbers["A"] * np.exp(-numbers["k"] / numbers["tick_size"] * delta)
    return tuple(sums_by(of, v, int(of.max()) + 1) for v in (n, rate * seconds))


def live_of(out: Path, symbol: str) -> dict[str, float] | None:
    """What is live, as a consumer would load it."""
    path = out / "registry" / "live.json"
    version = json.loads(path.read_text())["symbols"].get(symbol) if path.exists() else None
    if version is None:
        return None
    text = (out / "registry" / "versions" / symbol / f"{version}.json").read_text()
    return dict(json.loads(text))


def play(calendar: Calendar, seed: int, room: Path) -> int:
    """All nights; prints what was told, and the scores. Returns the exit code."""
    data, out = room / "data", room / "out"
    data.mkdir()
    first: dict[str, Any] = {}
    newest: dict[str, Any] = {}
    kept_back: Counter[str] = Counter()
    gains: dict[str, Any] = defaultdict(lambda: np.zeros(3))
    false, nights_of, missed, slow = Counter[bool](), Counter[bool](), [], []
    drift_told: list[int] = []
    for night in range(calendar.nights):
        write_night(data, calendar, night, seed)
        config = CONFIG | {"expected": list(calendar.symbols)}
        if night >= calendar.tick:
            config["symbols"] = {"FILES": {"TICK_SIZE": 0.5}}
        (data / "calibration.yaml").write_text(yaml.safe_dump(config))
        there = [s for s in calendar.symbols if (data / f"orders_{s}.parquet").exists()]
        for symbol in there if night else ():
            sums, old = night_sums(data, symbol), live_of(out, symbol)
            if old is None:
                continue
            seen, live = expected(old, sums)
            every, never = (expected(p[symbol], sums)[1] for p in (newest, first))
            gains[symbol] += seen.sum(), gain(seen, live, every), gain(seen, live, never)
        with clock(night):
            if night:
                call("score", "--out-dir", str(out))
            call("--data-dir", str(data), "--out-dir", str(out))
            said = call("promote", "--out-dir", str(out)).splitlines()
            back = {line.split()[0] for line in said if "moved:" in line}
            kept_back = Counter({s: kept_back[s] + 1 for s in back})
            for symbol in [s for s, n in kept_back.items() if n >= 2]:
                call("promote", "--out-dir", str(out), "--symbols", symbol, "--force",
                     "--reason", "two nights running")  # fmt: skip
        for symbol in there:
            found = out / symbol / f"params_{symbol}.json"
            if found.exists():
                newest[symbol] = json.loads(found.read_text())
                first.setdefault(symbol, newest[symbol])
        lines = told_of(out) if night else []
        symbol, words = calendar.events.get(night, ("", ()))
        if symbol:
            mine = [line for line in lines if symbol in line]
            good = any(word in line for line in mine for word in words)
            print(f"night {night}: {symbol}: {'told' if good else 'NOT TOLD'}: {mine[:2]}")
            missed += [] if good else [night]
        for one in calendar.symbols if night else ():
            calm = calendar.quiet(one, night)
            if calm or one == "VARIES":
                mine = [line for line in lines if one in line]
                false[calm] += bool(mine)
                nights_of[calm] += 1
                slow += [f"night {night}: {line}" for line in mine]
        drifts = [f"night {night}: {line}" for line in lines if "DRIFTS" in line]
        drift_told += [night] if drifts else []
        slow += drifts
    print("\nWhat else was told:", *slow, sep="\n")
    rates = {calm: 30.0 * false[calm] / n for calm, n in nights_of.items()}
    varying = f"; with day effects {rates[False]:.2f}" if False in rates else ""
    print(
        f"\nfalse alarms: {rates[True]:.2f} a symbol and month (asked: 0.2 at most), of "
        f"{nights_of[True]} quiet nights{varying}"
    )
    print(
        "\n| symbol | fills | against every night | against the first night's |\n|---|---|---|---|"
    )
    for symbol, (n, every, never) in [*gains.items(), ("all", sum(gains.values()))]:
        print(f"| {symbol} | {n:,.0f} | {every / n:+.4f} | {never / n:+.4f} |")
    quarter = calendar.drifts_from + math.log(1.25) / math.log(1.03)
    late = calendar.nights > quarter + 4 and not any(-2 < n - quarter < 4 for n in drift_told)
    worse = calendar is SIXTY and min(sum(gains.values())[1:]) <= 0.0
    return 1 if missed or late or worse or rates[True] > 0.2 else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="five nights of three markets")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="nights-") as place,
        open_kernels("warm", PRELOAD) as kernels,
        mock.patch("mm.pipeline.local.open_kernels", return_value=nullcontext(kernels)),
    ):
        sys.exit(play(SHORT if given.short else SIXTY, given.seed, Path(place)))
