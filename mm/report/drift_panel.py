"""One symbol's λ over the nights as a small drawing: paths of an SVG, of some 2 kB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, pairwise

from mm.core.formatting import figures

_WIDTH, _HEIGHT = 600, 268
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 572, 8, 200
_EDGE = 594  # where lines of what is live end, so that one of last night is seen
_FORECASTS = 226  # the middle of their row
_CIRCLE = "a8 8 0 1 0 16 0a8 8 0 1 0-16 0"
_NORMAL_95 = 1.959964
#: Decades: of less a panel makes a mountain; a band reaches out by no more.
_LEAST_SPAN, _MOST_BAND = 0.6, 0.5


#: Low end, estimate, high end.
Band = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Model:
    """λ = A e^(-k δ): A in 1/s, k in 1/tick. ``cov``: var log A, cov(log A, k), var k; ``half_k``:
    half of the 95 % interval of k, whose quantile, t or normal, is that of λ too. Distances are
    asked for in price: a new tick size is no move."""

    A: float
    k: float
    tick_size: float
    cov: tuple[float, float, float] | None = None
    half_k: float | None = None

    def log_rate(self, price: float) -> float:
        """log of λ per hour at a distance in price."""
        return math.log(3600.0 * self.A) - self.k * price / self.tick_size

    def se(self, price: float) -> float | None:
        """Standard error of log λ: sqrt(v_A - 2 δ cov + δ² v_k)."""
        if self.cov is None:
            return None
        (v_a, cov, v_k), delta = self.cov, price / self.tick_size
        return math.sqrt(max(v_a - 2.0 * delta * cov + delta**2 * v_k, 0.0))

    def band(self, price: float) -> Band:
        """log λ per hour within its 95 % interval, which is nothing wide without ``cov``."""
        quantile = _NORMAL_95
        if self.half_k is not None and self.cov is not None and self.cov[2] > 0:
            quantile = self.half_k / math.sqrt(self.cov[2])
        reach, middle = quantile * (self.se(price) or 0.0), self.log_rate(price)
        return middle - reach, middle, middle + reach


@dataclass(frozen=True, slots=True)
class Night:
    """What the last batch of a day found; ``model``: None where there are no parameters."""

    day: date
    model: Model | None


@dataclass(frozen=True)
class Course:
    """A symbol over the nights, and what is live of it.

    ``status``, ``reason``, ``codes``: of the last night. ``distances``: at which λ is shown, the
    nearest first, in ticks of ``tick_size``. ``forecasts``: nights whose fills were held against
    what was live, and whether it missed; ``finding``: whether it misses again and again.
    ``live_error``: why what is live can't be read.
    """

    symbol: str
    status: str
    reason: str
    codes: tuple[str, ...]
    nights: tuple[Night, ...]
    distances: tuple[float, ...]
    tick_size: float
    live: Model | None = None
    live_since: datetime | None = None
    live_error: str = ""
    candidate: Model | None = None
    valid_until: datetime | None = None
    forecasts: tuple[tuple[date, bool], ...] = ()
    forecasts_line: str = ""
    finding: bool = False
    has_report: bool = False

    @property
    def last(self) -> Model | None:
        """The newest estimate."""
        return next((night.model for night in reversed(self.nights) if night.model), None)


@dataclass(frozen=True)
class Panel:
    """Paths; ``curves``: (band, line) by distance; ``ticks``: (y, text) of λ."""

    description: str
    gaps: str
    gap_width: int
    grid: str
    ticks: tuple[tuple[int, str], ...]
    curves: tuple[tuple[str, str], ...]
    live: str
    candidate: str
    hits: str
    misses: str
    dates: tuple[str, str]
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class _Frame:
    """From a day and log λ to a place."""

    first: int
    last: int
    low: float
    high: float

    def x(self, day: date) -> int:
        share = (day.toordinal() - self.first) / (self.last - self.first)
        return round(_LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0))

    def y(self, value: float) -> int:
        share = (self.high - value) / (self.high - self.low)
        return round(_TOP + (_BOTTOM - _TOP) * min(max(share, 0.0), 1.0))


def drawing(course: Course, days: Sequence[date]) -> Panel | None:
    """The panel; None if no night, and nothing live, has parameters."""
    prices = [delta * course.tick_size for delta in course.distances]
    by_day = {night.day: night.model for night in course.nights}
    models = [by_day.get(day) for day in days]
    marks = [m.band(price) for m in (course.live, course.candidate) if m for price in prices]
    bands = [[model.band(price) if model else None for model in models] for price in prices]
    found = [*marks, *(band for row in bands for band in row if band)]
    if not found:
        return None
    frame = _frame(found, days)
    xs = [frame.x(day) for day in days]
    begun = min(by_day, default=days[-1])
    without = [x for x, day, m in zip(xs, days, models, strict=True) if m is None and day >= begun]
    ticks = tuple((frame.y(math.log(value)), _short(value)) for value in _ticks(frame))
    since = course.live_since.date() if course.live_since else days[0]
    fared = {frame.x(d): missed for d, missed in course.forecasts if days[0] <= d <= days[-1]}
    misses = [x for x, missed in fared.items() if missed]
    return Panel(
        description=_description(course, days, len(without)),
        gaps="".join(f"M{x} {_TOP}V{_BOTTOM}" for x in without),
        gap_width=max(4, (_RIGHT - _LEFT) // (frame.last - frame.first)),
        grid="".join(f"M{_LEFT - 8} {y}H{_EDGE}" for y, _ in ticks),
        ticks=ticks,
        curves=tuple(_curve(xs, row, frame) for row in bands),
        live="".join(
            f"M{frame.x(since)} {frame.y(course.live.log_rate(price))}H{_EDGE}" for price in prices
        )
        if course.live
        else "",
        candidate="".join(
            f"M{_RIGHT - 8} {frame.y(course.candidate.log_rate(price))}{_CIRCLE}"
            for price in prices
        )
        if course.candidate
        else "",
        hits=_dots(sorted(fared.keys() - misses)),
        misses="".join(f"M{x - 7} {_FORECASTS - 7}l14 14m0-14l-14 14" for x in misses),
        dates=(f"{days[0]:%m-%d}", f"{days[-1]:%m-%d}"),
    )


def _frame(bands: Sequence[Band], days: Sequence[date]) -> _Frame:
    """All estimates, and of their intervals what is not far out."""
    lows, values, highs = zip(*bands, strict=True)
    low = max(min(lows), min(values) - _MOST_BAND * math.log(10))
    high = min(max(highs), max(values) + _MOST_BAND * math.log(10))
    more = max(0.0, _LEAST_SPAN * math.log(10) - (high - low)) / 2.0
    return _Frame(days[0].toordinal(), days[-1].toordinal(), low - more, high + more)


def _curve(xs: Sequence[int], row: Sequence[Band | None], frame: _Frame) -> tuple[str, str]:
    """Band and line at a distance, broken where there are no parameters."""
    bands, lines = [], []
    for known, run in groupby(zip(xs, row, strict=True), key=lambda at: at[1] is not None):
        if not known:
            continue
        points = [(x, *map(frame.y, band)) for x, band in run if band]
        lines.append(_path([(x, y) for x, _, y, _ in points]))
        if len(points) == 1:  # as wide as can be seen
            points = [(points[0][0] + wide, *points[0][1:]) for wide in (-4, 4)]
        upper = [(x, y) for x, _, _, y in points]
        lower = [(x, y) for x, y, _, _ in points]
        if upper != lower:
            bands.append(_path([*upper, *reversed(lower)]) + "z")
    return "".join(bands), "".join(lines)


def _path(points: Sequence[tuple[int, int]]) -> str:
    """A polyline by relative steps, in as few letters as SVG takes; one point is a dot."""
    (x, y), steps = points[0], []
    for (x0, y0), (x1, y1) in pairwise(points):
        steps += [x1 - x0, y1 - y0]
    if not steps:
        return f"M{x} {y}h0"
    return f"M{x} {y}l" + " ".join(str(step) for step in steps).replace(" -", "-")


def _dots(xs: Sequence[int]) -> str:
    """Dots of a row, as nothing long with round ends."""
    steps = "".join(f"m{after - x} 0h0" for x, after in pairwise(xs))
    return f"M{xs[0]} {_FORECASTS}h0{steps}" if xs else ""


def _ticks(frame: _Frame) -> Iterator[float]:
    """1, 2 and 5 times powers of ten between both ends; of many only some powers."""
    low, high = frame.low / math.log(10), frame.high / math.log(10)
    step = max(1, math.ceil((high - low) / 4.0))
    digits = (1, 2, 5) if high - low < 1.3 else (1,)
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in digits:
            at = power + math.log10(digit)
            if low <= at <= high and power % step == 0 and abs(power) < 250:
                yield digit * 10.0**power


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e5 else f"{value:.0e}" if value >= 1e5 else f"{value:g}"


def _description(course: Course, days: Sequence[date], without: int) -> str:
    """The drawing in words."""
    said = f"λ per hour of {course.symbol}, {days[0]} to {days[-1]}"
    last = course.last
    if last:
        rates = [last.log_rate(delta * course.tick_size) for delta in course.distances]
        shown = ", ".join(figures(math.exp(r)) if abs(r) < 600 else "–" for r in rates)
        said += f", at the last {shown} at {', '.join(f'{d:g}' for d in course.distances)} ticks"
    if without:
        said += f"; {without} of {len(days)} nights without a result"
    return said
