"""Records side by side: λ at a distance that all can be asked for, and what changed since."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from mm.core.formatting import age, duration
from mm.results.params import Params
from mm.results.record import Record, Status

#: What needs a person comes first.
ORDER = ("failed", "refused", "missing", "stale", "warn", "ok")
#: A change of λ is news from here on: more than chance gives, in one log and from night to night,
#: and of a size that matters.
NEWS_SE, NEWS_RATIO = 3.0, 0.25
#: Ticks from mid, where nothing says at which distances orders are quoted.
DISTANCES = (1.0, 2.0, 5.0)
NORMAL_95 = 1.959964
#: Where things are, which says nothing of how A and k came about.
PLACES = frozenset({"SYMBOL", "BACKTEST_DIR", "RESULT_DIR", "OLD_PARAMS_FILE"})


@dataclass(frozen=True)
class Rate:
    """λ at one distance in 1/s, with the standard error of its logarithm and a 95 % interval.
    ``quoted``: quotes rested there; else it is extrapolated."""

    value: float
    se_log: float | None
    ends: tuple[float, float] | None
    quoted: bool


@dataclass(frozen=True)
class Change:
    """λ now over λ before, at the distance where it is known best now. ``z``: the change of log λ
    in standard errors of the change; None where a fit has none. ``same``: the very same data.
    ``usual``: standard deviation of log λ from a night to the next, where the history knows it."""

    ratio: float
    z: float | None
    same: bool
    usual: float | None = None

    @property
    def news(self) -> bool:
        """Whether somebody should hear of it."""
        least = max(math.log1p(NEWS_RATIO), NEWS_SE * (self.usual or 0.0))
        sized = abs(math.log(self.ratio)) > least
        return sized and (self.z is None or abs(self.z) > NEWS_SE)


@dataclass(frozen=True)
class Line:
    """One symbol's line. ``older``: it was not part of this run."""

    symbol: str
    record: Record
    older: bool
    before: Record | None
    change: Change | None

    @property
    def status(self) -> Status:
        """Its record's."""
        return self.record.status

    @property
    def reason(self) -> str:
        """Why it is not ok, in one line."""
        return " ".join(self.record.reason.split())

    @property
    def of_log(self) -> str:
        """What is to be said of its log against the one before, or of its age; empty if nothing."""
        if self.older or self.status == "missing":
            return ""
        if self.record.log == "smaller":
            return self._smaller()
        fresh = self.record.freshness
        old = f", its last row is {age(fresh.age_s)} old" if fresh and fresh.age_s > 0 else ""
        if self.record.log == "unchanged":
            return f"the same log as in the batch before{old}"
        if fresh and fresh.status == "warn" and fresh.limit_s:
            return f"{old.lstrip(', ')}, warn_after is {age(fresh.limit_s)}"
        return ""

    @property
    def drift(self) -> str:
        """Small moves that add up, where the last one is no news by itself; empty if none."""
        alone = self.older or (self.change is not None and self.change.news)
        return "" if alone else self.record.drift or ""

    def _smaller(self) -> str:
        was, now = self.before.spans_s if self.before else {}, self.record.spans_s
        shares = {kind: now.get(kind, 0.0) / span for kind, span in was.items() if span > 0}
        if not shares:
            return "a much smaller log than in the batch before"
        kind = min(shares, key=lambda name: shares[name])
        return (
            f"a much smaller log: {kind} cover {duration(now.get(kind, 0.0))}, in the batch before "
            f"{duration(was[kind])}"
        )

    @property
    def weight(self) -> tuple[int, int, float, int, float]:
        """The gravest first: its status, forecasts that fail, a log that is smaller or old, a
        drift, a change of λ that is news, how many warnings, how far the replay is off."""
        warned = sum(finding.level != "note" for finding in self.record.findings)
        replay = self.record.replay
        off = math.log((replay.given + 1.0) / (replay.observed + 1.0)) if replay else 0.0
        news = abs(self.change.z or 0.0) if self.change and self.change.news else 0.0
        first = self.record.forecast or self.record.log == "smaller"
        log = 0 if first else 1 if self.of_log or self.drift else 2
        return ORDER.index(self.status), log, -news, -warned, -abs(off)

    @property
    def turned(self) -> Status | None:
        """The status that it has left, if any. Between ok and warn it has once the new one holds a
        second night, where there is a history: of healthy logs one in a hundred is warned of."""
        if self.before is None:
            return None
        before, now = self.record.standing or (self.before.status, self.status)
        return before if before != now else None

    @property
    def for_one_night(self) -> bool:
        """Whether its status is another than in the run before, and not yet :attr:`turned`."""
        if self.before is None or self.older or self.turned:
            return False
        return self.before.status != self.status

    @property
    def set_anew(self) -> dict[str, tuple[Any, Any]]:
        """The settings that are others than in the run before, each as it was and as it is. One
        that only one of the runs knows came with another version, and is not counted."""
        if self.before is None or self.older or self.status == "missing":
            return {}
        was, now = self.before.settings, self.record.settings
        return {
            n: (was[n], v) for n, v in now.items() if n in was and was[n] != v and n not in PLACES
        }


def lines(
    records: Mapping[str, Record],
    previous: Mapping[str, Record] | None,
    this_run: Collection[str] | None = None,
) -> list[Line]:
    """A line a symbol, the gravest first. ``this_run``: symbols of this run, None for all."""
    ran = set(records) if this_run is None else set(this_run)
    found = []
    for symbol, record in records.items():
        older, before = symbol not in ran, (previous or {}).get(symbol)
        compared = before is not None and not older and record.status != "missing"
        change = change_of(record, before) if before is not None and compared else None
        found.append(Line(symbol, record, older, before, change))
    return sorted(found, key=lambda line: (line.weight, line.symbol))


def counts(found: Iterable[Line]) -> dict[str, int]:
    """How many lines have each status, the gravest first, without zeros."""
    every = [line.status for line in found]
    return {status: every.count(status) for status in ORDER if status in every}


def headline(found: Iterable[Line]) -> str:
    """``failed 1 | refused 2 | warn 3 | ok 47``."""
    return " | ".join(f"{s} {n}" for s, n in counts(found).items()) or "no symbols"


@dataclass(frozen=True)
class Distance:
    """A distance from mid at which symbols are compared: basis points of each symbol's mid, or its
    own ticks where a mid is not known."""

    value: float
    unit: Literal["bps", "ticks"]

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    def ticks(self, record: Record) -> float | None:
        """The same in a record's ticks; None where nobody knows."""
        if self.unit == "ticks":
            return self.value
        per_tick = record.bps_per_tick
        return None if per_tick is None else self.value / per_tick


def common_distance(records: Iterable[Record]) -> Distance | None:
    """The distance at which symbols are compared; None if none has an estimate.

    Half of the symbols know λ best nearer to mid and half farther: the median of those distances,
    rounded to what people say.
    """
    known = [(r, r.lambda_at.delta_star) for r in records if r.lambda_at is not None]
    if not known:
        return None
    per_tick = [record.bps_per_tick for record, _ in known]
    in_bps = [star * one for (_, star), one in zip(known, per_tick, strict=True) if one is not None]
    if len(in_bps) < len(known):
        return Distance(_rounded(median(star for _, star in known), 0.5), "ticks")
    return Distance(_rounded(median(in_bps), 0.1), "bps")


def _rounded(value: float, least: float) -> float:
    step = least if value < 20 * least else 0.5 if value < 10 else 1.0 if value < 50 else 5.0
    return float(f"{max(step, round(value / step) * step):g}")


def rate(record: Record, at: Distance | float | None) -> Rate | None:
    """λ at a distance (a number is ticks) from a record's A and k; None if it has none."""
    delta = at.ticks(record) if isinstance(at, Distance) else at
    return None if delta is None else rate_at(record, delta)


def quoted(source: Record | Params | None) -> list[float]:
    """The distances at which orders were quoted, ticks, the nearest first."""
    rows = source.lambda_quoted if source is not None else ()
    return sorted({row.delta for row in rows if row.quoted})


def near_middle_far(distances: Sequence[float]) -> tuple[float, ...]:
    """The first, the middle and the last of some distances, each once."""
    return tuple(dict.fromkeys((distances[0], distances[len(distances) // 2], distances[-1])))


def rate_at(record: Record | Params, delta: float) -> Rate | None:
    """λ at a distance in ticks from A and k of a record or of parameters; None if it has none."""
    if record.A is None or record.k is None or not record.A > 0:
        return None
    log_value = math.log(record.A) - record.k * delta
    if not -600.0 < log_value < 600.0:
        return None
    value = math.exp(log_value)
    there = quoted(record)
    inside = bool(there) and there[0] - 0.5 <= delta <= there[-1] + 0.5
    if record.cov_logA_k is None or record.ci95 is None:
        return Rate(value, None, None, inside)
    (v_a, cov), (_, v_k) = record.cov_logA_k
    se = math.sqrt(max(v_a - 2.0 * delta * cov + delta**2 * v_k, 0.0))
    # The interval's own quantile, t or normal, is the one k was given with.
    width = 0.5 * (record.ci95.k[1] - record.ci95.k[0])
    quantile = width / math.sqrt(v_k) if v_k > 0 else NORMAL_95
    reach = min(quantile * se, 600.0)
    ends = (value * math.exp(-reach), value * math.exp(reach)) if log_value + reach < 600 else None
    return Rate(value, se, ends, inside)


def change_of(record: Record, before: Record) -> Change | None:
    """What became of λ since the run before; None unless both have an estimate.

    Distances are compared in price: a symbol whose tick size was set anew has not changed by it.
    """
    if record.A is None or record.k is None or before.A is None or before.k is None:
        return None
    star = record.lambda_at.delta_star if record.lambda_at else 1.0
    scale = (record.tick_size or 1.0) / (before.tick_size or record.tick_size or 1.0)
    now, then = rate(record, star), rate(before, star * scale)
    if now is None or then is None:
        return None
    difference = math.log(now.value) - math.log(then.value)
    if abs(difference) > 600.0:
        return None
    same = bool(record.inputs_sha256) and record.inputs_sha256 == before.inputs_sha256
    z = None
    if now.se_log is not None and then.se_log is not None:
        both = math.hypot(now.se_log, then.se_log)
        z = difference / both if both > 0 else None
    return Change(math.exp(difference), z, same, record.usual_move)
