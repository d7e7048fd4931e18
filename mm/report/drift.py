"""``out/drift.html``: λ of every symbol over the nights, those that need a person first.

Plain HTML without a script: a small panel a symbol, with its numbers beneath. What it shows is
gathered by ``mm.pipeline.drift``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

from mm.core import formatting
from mm.core.formatting import figures
from mm.report import words
from mm.report.causes import shortened, without_its_own
from mm.report.drift_panel import Course, Model, drawing
from mm.report.render import render
from mm.results.record import report_name

DRIFT_NAME = "drift.html"
_NOT_FIT = ("failed", "refused", "missing", "stale")
#: What needs a person comes first. ``altered``: what is live is not as it was registered.
KINDS = ("altered", "expired", *_NOT_FIT, "forecast", "warn", "ok")
_LONGEST_REASON = 160
_LARGEST = 600.0  # of a logarithm whose number can be said


@dataclass(frozen=True)
class _Trouble:
    """What needs a person: its kind, what makes two of a kind the same, and in words."""

    kind: str
    key: str = ""
    text: str = ""


def render_drift(courses: Sequence[Course], days: Sequence[date], now: datetime) -> str:
    """The page as HTML text. ``days``: the nights that are shown, at least two."""
    groups: dict[tuple[str, str], list[tuple[_Trouble, Course]]] = {}
    for course in courses:
        trouble = _trouble(course, now)
        groups.setdefault((trouble.kind, trouble.key), []).append((trouble, course))
    ordered = sorted(
        groups.values(), key=lambda g: (KINDS.index(g[0][0].kind), -len(g), g[0][0].key)
    )
    counts: dict[str, int] = {}
    for group in ordered:
        counts[group[0][0].kind] = counts.get(group[0][0].kind, 0) + len(group)
    span = f"{len(days)} nights from {days[0]} to {days[-1]}"
    when = f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {_counted(len(courses), 'symbol')}, {span}"
    return render(
        "drift",
        title="λ over the nights",
        status=", ".join(f"{kind} {count}" for kind, count in counts.items()),
        counts=counts,
        when=f"{when}. Scales are logarithmic, each panel has its own.",
        groups=[_group(group, days, now) for group in ordered],
    )


def _trouble(course: Course, now: datetime) -> _Trouble:
    if course.live_error:
        return _Trouble("altered", course.live_error, f"what is live {course.live_error}")
    if course.valid_until and course.valid_until < now:
        return _Trouble("expired", text="past valid_until")
    if course.status in _NOT_FIT:
        key = course.codes[:1] or (without_its_own(course.reason, course.symbol),)
        return _Trouble(course.status, key[0], course.reason)
    if course.finding:
        return _Trouble("forecast", text="what is live does not forecast the fills that came")
    if course.status == "warn":
        return _Trouble("warn", "".join(course.codes[:1]), course.reason)
    return _Trouble("ok")


def _group(
    found: Sequence[tuple[_Trouble, Course]], days: Sequence[date], now: datetime
) -> dict[str, Any]:
    """One cause: those that moved most come first."""
    first = found[0][0]
    text = shortened(first.text, _LONGEST_REASON)
    panels = [(_move(course), course) for _, course in found]
    panels.sort(key=lambda one: (-abs(one[0].z or 0.0) if one[0] else 1.0, one[1].symbol))
    return {
        "kind": first.kind,
        "count": _counted(len(found), "symbol"),
        "text": text,
        "panels": [_panel(course, move, text, days, now) for move, course in panels],
    }


def _panel(
    course: Course, move: _Move | None, told: str, days: Sequence[date], now: datetime
) -> dict[str, Any]:
    drawn = drawing(course, days)
    reason = shortened(course.reason, _LONGEST_REASON)
    name = quote(course.symbol, safe="")
    report = quote(report_name(course.symbol), safe="")
    return {
        "symbol": course.symbol,
        "link": f"{name}/{report}" if course.has_report else "",
        "status": course.status,
        "reason": "" if reason == told else reason,
        "drawn": drawn,
        "at": [_at(course, delta) for delta in course.distances] if drawn else [],
        "facts": list(_facts(course, move, days, now)),
    }


def _at(course: Course, delta: float) -> tuple[str, str, str, str]:
    """A distance, λ there on the last night with an estimate, its interval, and λ live."""
    price, number, interval = delta * course.tick_size, "–", ""
    if course.last:
        band = course.last.band(price)
        number = _rate(band[1])
        if band[0] < band[2] and max(map(abs, band)) < _LARGEST:
            low, value, high = map(math.exp, band)
            number, interval = formatting.rounded(value, low, high), formatting.span(low, high)
    live = _rate(course.live.log_rate(price)) if course.live else ""
    return f"{delta:g} {'tick' if delta == 1 else 'ticks'}", number, interval, live


def _rate(log_rate: float) -> str:
    return figures(math.exp(log_rate)) if abs(log_rate) < _LARGEST else "–"


def _facts(
    course: Course, move: _Move | None, days: Sequence[date], now: datetime
) -> Iterable[str]:
    nights = [night.day for night in course.nights]
    if nights and nights[-1] != days[-1]:
        yield f"last in a batch on {nights[-1]}"
    if course.live:
        yield f"live since {course.live_since:%Y-%m-%d}" if course.live_since else "live"
    if course.valid_until:
        left = (course.valid_until - now).total_seconds() / 86_400.0
        yield f"{left:.1f} days left" if left >= 0 else f"expired {-left:.1f} days ago"
    if move:
        yield f"last move {move}"
    elif course.last:
        yield "first estimate"
    if course.live and course.candidate:
        yield f"candidate {_between(course, course.candidate, course.live)} against live"
    if course.forecasts_line:
        yield f"forecasts: {course.forecasts_line}"


@dataclass(frozen=True)
class _Move:
    """log λ less that before, and in standard errors of the difference; None without them."""

    log_ratio: float
    z: float | None

    def __str__(self) -> str:
        if abs(self.log_ratio) < 1e-9:
            return "none"
        return words.times(math.exp(self.log_ratio)) + (
            "" if self.z is None else f" ({words.signed(self.z)} SE)"
        )


def _move(course: Course) -> _Move | None:
    """The last move of λ at the middle distance; None with fewer than two estimates."""
    models = [night.model for night in course.nights if night.model]
    return _between(course, models[-1], models[-2]) if len(models) > 1 else None


def _between(course: Course, now: Model, then: Model) -> _Move:
    price = course.distances[len(course.distances) // 2] * course.tick_size
    difference = now.log_rate(price) - then.log_rate(price)
    one, other = now.se(price), then.se(price)
    both = math.hypot(one or 0.0, other or 0.0)
    known = one is not None and other is not None and both > 0
    return _Move(min(max(difference, -_LARGEST), _LARGEST), difference / both if known else None)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
