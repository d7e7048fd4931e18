"""The forecast ledger: how what was live fared on the fills that came after it.

``registry/scores.jsonl`` has a line a symbol and log. The journal says what was live when, each
version under the hash of its text: so a forecast is registered before its data come, and one that
was altered since is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from pydantic import BaseModel, ConfigDict, ValidationError

from mm.core.errors import CalibrationError
from mm.registry.store import Registry, Release

SCORES = "scores.jsonl"
#: So many misses one after the other are no chance: of forecasts that hold, at 95 %, 1 in 8,000; of
#: those made anew each night, where one night's chance counts in two scores, 1 in 1,000.
IN_A_ROW = 3
#: Page's cumulative sums of z, S = max(0, S ± z - 1/2), are told above 5: of forecasts that hold
#: once in 465 nights (Page 1954, Biometrika 41; Siegmund 1985, Sequential Analysis, chapter 2).
#: One night counts for 3 at most: alone it is a miss.
_SLACK, CUSUM_LIMIT, _MOST = 0.5, 5.0, 3.0
#: From so many scores on, of at most so many, it is known how a symbol's forecasts err.
_ENOUGH, _LOOKED_BACK = 10, 60
_MEDIAN_OF_NORMAL = 0.6745  # of |z|


class Level(BaseModel):
    """Fills of orders placed at a whole-tick distance: those seen, and those expected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticks: int
    seen: int
    expected: float


class Score(BaseModel):
    """One forecast and what came. ``prospective``: it was live before the first row of the log was
    written; otherwise only its own data are older, as where backtests replay the past.
    ``interval``: 95 %, of the number of fills; ``number``: quantiles of the N-test, ``space`` of
    the S-test; ``gain_*``: information gain per fill, against a constant rate, against the version
    that was live before, and against the original notebook's A and k on the same data. ``usual``:
    how many times the interval is wider than the params say, by how earlier forecasts erred."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: str
    version: str
    registered_utc: str
    prospective: bool
    window_ms: tuple[int, int]
    inputs_sha256: dict[str, str]
    seen: int
    expected: float
    interval: tuple[int, int]
    z: float
    number: tuple[float, float]
    space: float | None
    gain_constant: float | None
    gain_previous: float | None
    gain_original: float | None = None
    usual: float = 1.0
    levels: tuple[Level, ...]

    @property
    def missed(self) -> bool:
        """Whether the number of fills is outside the interval."""
        return not self.interval[0] <= self.seen <= self.interval[1]

    @property
    def line(self) -> str:
        """In one line."""
        low, high = self.interval
        gains = "".join(
            f"; gain {value:+.3f} a fill against {what}"
            for what, value in (
                ("a constant rate", self.gain_constant),
                ("what was live before", self.gain_previous),
                ("the original notebook's", self.gain_original),
            )
            if value is not None
        )
        return (
            f"{self.seen:,} fills, {self.expected:,.1f} expected ({low:,}–{high:,})"
            f"{' MISSED' if self.missed else ''}{gains}"
        )


@dataclass(frozen=True)
class Running:
    """A symbol's scores so far: how many, how many missed at the end one after the other, the mean
    information gain per fill against a constant rate, and of the version scored last the larger of
    both cumulative sums, negative for fewer fills than expected."""

    scored: int
    missed: int
    missed_in_a_row: int
    gain_constant: float | None
    cusum: float = 0.0

    @property
    def finding(self) -> str:
        """What a person should look at, in words; empty if nothing."""
        if self.missed_in_a_row >= IN_A_ROW:
            return f"the last {self.missed_in_a_row} forecasts missed"
        if abs(self.cusum) > CUSUM_LIMIT:
            more = "more" if self.cusum > 0 else "fewer"
            return f"night after night {more} fills than forecast (CUSUM {abs(self.cusum):.1f})"
        return ""

    @property
    def line(self) -> str:
        """In one line."""
        found = f"; {self.finding}" if self.finding else ""
        return f"{self.missed} of {self.scored} missed{found}"


@dataclass(frozen=True)
class Forecast:
    """What was live, since when, and what was live before it."""

    version: str
    registered_utc: str
    previous: str | None
    prospective: bool


def scores(registry: Registry) -> dict[str, list[Score]]:
    """All scores by symbol, the oldest first. Raises CalibrationError for a damaged file."""
    found: dict[str, list[Score]] = {}
    for number, line in enumerate(registry.lines(SCORES), 1):
        try:
            score = Score.model_validate_json(line)
        except ValidationError:
            where = registry.folder / SCORES
            raise CalibrationError(f"{where}, row {number}: not as it was written") from None
        found.setdefault(score.symbol, []).append(score)
    return found


def running(of_symbol: Iterable[Score]) -> Running:
    """What a symbol's scores come to."""
    every = list(of_symbol)
    missed = [score.missed for score in every]
    row = next((i for i, miss in enumerate(reversed(missed)) if not miss), len(missed))
    gains = [(s.gain_constant * s.seen, s.seen) for s in every if s.gain_constant is not None]
    fills = sum(n for _, n in gains)
    gain = sum(g for g, _ in gains) / fills if fills else None
    return Running(len(every), sum(missed), row, gain, _cusum(every))


def _cusum(every: list[Score]) -> float:
    above = below = 0.0
    version = None
    for score in every:
        if score.version != version:
            version, above, below = score.version, 0.0, 0.0
        z = min(max(score.z / score.usual, -_MOST), _MOST)
        above, below = max(0.0, above + z - _SLACK), max(0.0, below - z - _SLACK)
    return above if above >= below else -below


def usual_error(earlier: Sequence[Score], version: str) -> float:
    """How many times as large as their params say the forecasts of other versions have erred: the
    median of |z| over 0.674, what it is of a normal law, at least 1; 1 with fewer than ten scores.

    What one log can't know, how much nights differ, the errors of earlier nights show; a single
    break hardly moves a median. Those of ``version`` itself don't count: a lasting error is found.
    """
    known = [abs(score.z) for score in earlier[-_LOOKED_BACK:] if score.version != version]
    if len(known) < _ENOUGH:
        return 1.0
    return max(1.0, median(known) / _MEDIAN_OF_NORMAL)


def findings(registry: Registry) -> dict[str, str]:
    """What a person should look at, by symbol; none where nothing is. Raises CalibrationError."""
    found = {s: running(of_symbol).finding for s, of_symbol in scores(registry).items()}
    return {symbol: finding for symbol, finding in found.items() if finding}


def forecast_for(
    journal: Iterable[Release], symbol: str, opens_ms: int, ended: Callable[[str], int]
) -> Forecast | None:
    """What was live when a log's first row was written; else the last that was live and whose own
    data had ended by then. None if there is neither. ``ended``: when a version's data did, ms; it
    is asked of no more versions than it takes."""
    lived: list[Forecast] = []
    for release in journal:
        if symbol in release.changed:
            before, after = release.changed[symbol]
            at_ms = datetime.fromisoformat(release.when_utc).timestamp() * 1000.0
            if after is not None:
                lived.append(Forecast(after, release.when_utc, before, at_ms <= opens_ms))
            elif at_ms <= opens_ms:
                lived.clear()  # nothing was live any more
    # The newest first, of those that were live before the log's first row.
    lived.reverse()
    lived.sort(key=lambda forecast: not forecast.prospective)
    return next((one for one in lived if ended(one.version) <= opens_ms), None)
