"""Numbers and times as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from mm.core.formatting import duration, figures, instants, ranged
from mm.results.record import Record

_PLAIN_WORD = re.compile(r"[a-z]{2,}(?=[ ,;:]|$)")


def sentence(value: str) -> str:
    """A finding's text as a sentence. A symbol (k, λ) or a file's name at its start stays as it is
    written."""
    end = "" if value[-1:] in ".!?…" else "."
    if _PLAIN_WORD.match(value):
        value = f"{value[:1].upper()}{value[1:]}"
    return f"{value}{end}"


def level(record: Record) -> str:
    """A as ``0.75 (0.36–1.6)``, its interval being that of a logarithm; – where there is none."""
    if record.A is None or not math.isfinite(record.A):
        return "–"
    return ranged(record.A, *record.ci95.A) if record.ci95 else figures(record.A)


def decay(record: Record) -> str:
    """k as ``0.450 (0.371–0.529)``; – where there is none."""
    if record.k is None or not math.isfinite(record.k):
        return "–"
    return ranged(record.k, *record.ci95.k) if record.ci95 else figures(record.k)


def in_two(estimate: str) -> tuple[str, str]:
    """A number, and its interval to stand beneath."""
    number, _, interval = estimate.partition(" (")
    return number, interval.rstrip(")")


def bps(record: Record, ticks: float) -> str:
    """A distance in ticks as basis points of mid; – where mid or tick are unknown."""
    per_tick = record.bps_per_tick
    return "–" if per_tick is None else figures(ticks * per_tick)


def times(ratio: float) -> str:
    """A ratio as a change: ``+12 %`` up to double and down to half, ``× 3.1`` beyond."""
    if 0.5 <= ratio <= 2.0:
        percent = round(100.0 * (ratio - 1.0))
        return f"{percent:+} %".replace("-", "−") if percent else "0 %"
    return f"× {ratio:.2g}" if ratio < 10 else f"× {figures(ratio)}"


def signed(z: float) -> str:
    """A number of standard errors."""
    return f"{z:+.1f}".replace("-", "−")


def chance(p: float) -> str:
    """A probability as percent; never 100 %."""
    if p > 0.995:
        return "> 99 %"
    return f"{100 * p:.1f} %" if p < 0.0995 else f"{100 * p:.0f} %"


def instant(iso: str | None) -> str:
    """An ISO time as ``2026-11-22 09:30 UTC``; as it is if it is no time."""
    when = moment(iso)
    return when.strftime("%Y-%m-%d %H:%M UTC") if when else iso or "–"


def moment(iso: str | None) -> datetime | None:
    """An ISO time, None if it is none; without a zone it is taken as UTC."""
    try:
        found = datetime.fromisoformat(iso) if iso else None
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC) if found else None


def window(record: Record) -> str:
    """The data's first and last instant, and how much of the market that is; – if unknown."""
    if record.window_ms is None or record.covered_s is None:
        return "–"
    runs = f" in {record.runs} runs" if record.runs > 1 else ""
    return f"{instants(*record.window_ms)}, {duration(record.covered_s)} of the market{runs}"


def calibrated(record: Record) -> str:
    """When, and how old the data were then; – if unknown."""
    made = moment(record.finished_utc)
    if made is None:
        return "–"
    when = instant(record.finished_utc)
    if record.window_ms is None:
        return when
    seconds = made.timestamp() - record.window_ms[1] / 1000.0
    if seconds < 0:
        return f"{when}; the data have later rows"
    return f"{when}, data {duration(seconds)} old"
