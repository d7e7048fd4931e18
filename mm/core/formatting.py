"""Numbers as people read them: digits as the uncertainty allows, units that people say."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def figures(value: float) -> str:
    """Three significant figures, without an exponent for numbers that people say."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if 1e-4 <= abs(value) < 1e7 else f"{value:.2e}"


def percent(p: float) -> str:
    """A probability as percent."""
    return f"{100 * p:.1f} %" if p < 0.1 else f"{100 * p:.0f} %"


def ranged(value: float, low: float, high: float) -> str:
    """An estimate with low and high, two figures of each or what the width allows: 0.75
    (0.36–1.6). For what is positive, with an interval that multiplies and divides."""
    width = high - low
    if math.isnan(width) or math.isnan(value):
        return figures(value)
    if not math.isfinite(width):
        return f"{figures(value)} ({span(low, high)})"
    digits = [max(_digits(width), _digits(abs(x))) for x in (value, low, high)]
    shown = [_at(x, d) for x, d in zip((value, low, high), digits, strict=True)]
    between = " to " if low < 0 else "–"
    return f"{shown[0]} ({shown[1]}{between}{shown[2]})"


def rounded(value: float, low: float, high: float) -> str:
    """A value with the digits that the width of its interval allows: 3,616 is 3,600 where it may
    be 2,000 to 6,500."""
    width = high - low
    return _at(value, _digits(width)) if math.isfinite(width) and width > 0 else figures(value)


def span(low: float, high: float) -> str:
    """An interval from low to high, both with the digits that its width allows."""
    width = high - low
    if math.isnan(width):
        return "–"
    if not math.isfinite(width):
        return f"at least {figures(low)}"
    if not width > 0:
        return f"{figures(low)}–{figures(high)}"
    digits = _digits(width)
    # An end far below the width keeps a digit of its own: 3–50, and never 0 where it is not 0.
    near = _digits(low, 1) if 0 < low < 0.1 * width else digits
    between = " to " if low < 0 else "–"
    return f"{_at(low, max(digits, near))}{between}{_at(high, digits)}"


def duration(seconds: float) -> str:
    """A time span in the unit people would use."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit == 1 else f"{seconds / unit:.1f} {name}"
    days = seconds / 86_400
    return f"{days:,.0f} days" if days >= 10 else f"{days:.1f} days"


def age(seconds: float) -> str:
    """How old data are: ``26 h``; hours up to a hundred, in which people set limits."""
    if seconds < 0:
        return "later than now"
    for limit, unit, name in ((7200, 60, "min"), (360_000, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return duration(seconds)


def utc(ms: int) -> str:
    """Milliseconds since the epoch as UTC."""
    return datetime.fromtimestamp(ms / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S")


def instants(start_ms: int, end_ms: int) -> str:
    """Two times as ``2024-08-08 23:54:03 to 00:04:50 UTC``: the day once where both are in it."""
    begin, last = utc(start_ms), utc(end_ms)
    return f"{begin} to {last[11:] if begin[:10] == last[:10] else last} UTC"


def _digits(size: float, count: int = 2) -> int:
    """Decimals that show ``count`` figures of a number of this size; negative from 100 on."""
    return count - 1 - math.floor(math.log10(size)) if size > 0 else 3


def _at(value: float, digits: int) -> str:
    if digits > 8:
        return f"{value:.3g}"
    shown = f"{round(value, digits):,.{max(0, digits)}f}"
    return shown.replace("-", "−") if shown.strip("-0.,") else shown.lstrip("-")


def p_value(p: float, equals: str = "") -> str:
    """A p-value as people read it; ``equals`` stands before one that is not below the least."""
    return "–" if math.isnan(p) else "< 0.003" if p < 0.003 else f"{equals}{p:.2g}"


def ticks_between(low: int, high: int) -> str:
    """Whole ticks low <= x < high as people say them: 3, or 3–5."""
    return f"{low}" if high == low + 1 else f"{low}–{high - 1}"


def safe_cell(value: object) -> object:
    """A cell of a CSV file that no spreadsheet runs as a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
