"""``out/drift.html``: how λ of every symbol moved from night to night, and how what is live fared.

One small picture a symbol, those that need a person first. Plain HTML and SVG without a script.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from mm.core.formatting import age, rounded, span
from mm.report.compare import ORDER
from mm.report.render import render
from mm.results.record import Status

DRIFT_NAME = "drift.html"
#: So many nights are shown.
MOST_NIGHTS = 60
#: In the units of the pictures, half a pixel or so: whole ones make small files.
_WIDTH, _HEIGHT, _EDGE, _ROW = 520, 240, 8, 16
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Night:
    """One night's A (1/s) and k (per tick of ``tick_size``), None where it has none; ``cov``: of
    (ln A, k)."""

    at: datetime
    status: Status
    A: float | None = None
    k: float | None = None
    tick_size: float | None = None
    cov: tuple[float, float, float] | None = None

    def rate(self, distance: float) -> tuple[float, float, float] | None:
        """λ = A e^(-kδ) per hour at a distance in price, with its 95 % interval: ln λ has the
        variance v_A - 2 δ c + δ² v_k."""
        if self.A is None or self.k is None or not self.tick_size or not self.A > 0:
            return None
        delta = distance / self.tick_size
        log = math.log(3600.0 * self.A) - self.k * delta
        a, c, k = self.cov or (0.0, 0.0, 0.0)
        half = _NORMAL_95 * math.sqrt(max(a - 2.0 * delta * c + delta**2 * k, 0.0))
        if not abs(log) + half < 600.0:
            return None
        return math.exp(log), math.exp(log - half), math.exp(log + half)


@dataclass(frozen=True)
class Forecast:
    """The night in which a forecast's data ended, and whether their fills were in its interval."""

    at: datetime
    hit: bool


@dataclass(frozen=True)
class Drift:
    """A symbol over the nights, the oldest first. ``distances``: in price, and as they are called.
    ``link``: to its report. ``live``: what is live, from when on; ``live_until``: when that
    expires. ``waiting``: whether the newest parameters are others than those. ``trouble``: what
    else needs a person."""

    symbol: str
    nights: Sequence[Night]
    distances: Sequence[tuple[float, str]]
    link: str = ""
    live: Night | None = None
    live_until: datetime | None = None
    waiting: bool = False
    forecasts: Sequence[Forecast] = ()
    trouble: str = ""

    def cause(self, now: datetime) -> tuple[int, str]:
        """Under which heading it stands, and the heading's place: the gravest first."""
        status = self.nights[-1].status
        if status in ("failed", "refused", "missing", "stale"):
            return ORDER.index(status), status
        if self.live_until is not None and self.live_until < now:
            return 10, "expired: what is live holds no longer"
        if self.trouble:
            return 11, "forecasts that fail"
        return 12 + ORDER.index(status), status


def render_drift(symbols: Iterable[Drift], now: datetime) -> str:
    """The page as HTML text."""
    found = sorted(symbols, key=lambda one: (one.cause(now), one.symbol))
    groups = [
        (title, [_panel(one, now) for one in members])
        for (_, title), members in groupby(found, key=lambda one: one.cause(now))
    ]
    nights = {night.at for one in found for night in one.nights}
    nights_of = f"{min(nights):%Y-%m-%d} to {max(nights):%Y-%m-%d}" if nights else "no night yet"
    return render(
        "drift",
        title="Drift",
        status=nights_of,
        symbols=len(found),
        groups=[(title, len(panels), panels) for title, panels in groups],
        width=_WIDTH,
        height=_HEIGHT,
        row=_ROW,
    )


def _panel(one: Drift, now: datetime) -> dict[str, Any]:
    rates = [[night.rate(distance) for night in one.nights] for distance, _ in one.distances]
    live = [one.live.rate(distance) if one.live else None for distance, _ in one.distances]
    known = [rate for line in (*rates, live) for rate in line if rate is not None]
    first, last = one.nights[0].at, max(now, one.nights[-1].at)
    low = math.log(min((rate[0] for rate in known), default=1.0)) - 0.3
    high = math.log(max((rate[0] for rate in known), default=1.0)) + 0.3

    def x(at: datetime) -> float:
        share = (at - first) / (last - first) if last > first else 0.5
        return _EDGE + (_WIDTH - 2 * _EDGE) * min(max(share, 0.0), 1.0)

    def y(rate: float) -> float:
        share = (math.log(rate) - low) / (high - low)
        return _EDGE + (_HEIGHT - 2 * _EDGE) * (1.0 - min(max(share, 0.0), 1.0))

    def point(at: datetime, rate: float) -> str:
        return f"{x(at):.0f} {y(rate):.0f}"

    lines, bands, dots = [], [], []
    for of_night in rates:
        for there, stretch in groupby(
            zip(one.nights, of_night, strict=True), key=lambda pair: pair[1] is not None
        ):
            pairs = [(night.at, rate) for night, rate in stretch if rate is not None]
            if not there:
                continue
            lines.append("M" + "L".join(point(at, rate[0]) for at, rate in pairs))
            upper = [point(at, rate[2]) for at, rate in pairs]
            lower = [point(at, rate[1]) for at, rate in reversed(pairs)]
            bands.append("M" + "L".join([*upper, *lower]) + "Z")
            alone = len(pairs) == 1  # no line shows it
            dots += [point(at, rate[0]) for at, rate in pairs if alone]
    held = []
    if one.live is not None:
        begin, end = x(one.live.at), x(last)
        held = [f"M{begin:.0f} {y(r[0]):.0f}H{end:.0f}" for r in live if r is not None]
    newest = one.nights[-1]
    now_at = [
        f"{rounded(*rate)} ({span(*rate[1:])}) at {name}"
        for (*_, rate), (_, name) in zip(rates, one.distances, strict=True)
        if rate is not None
    ]
    missed = sum(not forecast.hit for forecast in one.forecasts)
    facts: list[str] = [newest.status]
    if one.live_until is not None:
        left = (one.live_until - now).total_seconds()
        facts.append(f"live for {age(left)} more" if left > 0 else f"expired {age(-left)} ago")
    elif one.live is None:
        facts.append("nothing is live")
    if one.waiting:
        facts.append("the newest is not live")
    if one.forecasts:
        facts.append(f"{missed} of {len(one.forecasts)} forecasts missed")
    return {
        "symbol": one.symbol,
        "status": newest.status,
        "link": one.link,
        "facts": ", ".join(facts),
        "trouble": one.trouble,
        "rates": now_at,
        "lines": "".join(lines),
        "bands": "".join(bands),
        "dots": "".join(f"M{at}h0" for at in dots),
        "held": "".join(held),
        "forecasts": [(f"{x(forecast.at):.0f}", forecast.hit) for forecast in one.forecasts],
        "ends": (f"{first:%m-%d}", f"{last:%m-%d}"),
        "description": f"λ of {one.symbol} over {len(one.nights)} nights: "
        + ("; ".join(now_at) or "none in the last"),
    }
