"""Numbers and times as people read them, as escaped HTML or plain text."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from mm.headline import figures
from mm.record import Record
from mm.show import duration, pm, utc

SOURCES = {
    "trade_driven": "recorded trades; they know no queue: any print at or through the price fills",
    "poisson": "a Poisson fill model, one draw a state row",
    "mixed": "recorded trades and a Poisson fill model, joined",
    "unknown": "not told by the log",
}


def text(value: object) -> str:
    """Anything as HTML text. Direction is isolated where a name may hold right-to-left letters."""
    return html.escape(str(value))


def name(value: str) -> str:
    """A symbol as HTML: its letters can't turn the line around them."""
    return f"<bdi>{html.escape(value)}</bdi>"


def estimate(value: float | None, ends: Sequence[float] | None) -> str:
    """An estimate with its half width, digits as the interval allows; – where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return pm(value, ends[0], ends[1]) if ends else figures(value)


def span(low: float, high: float) -> str:
    """An interval from low to high, both with the digits that its width allows."""
    width = high - low
    if not (math.isfinite(width) and width > 0):
        return f"{figures(low)} to {figures(high)}"
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"{low:,.{digits}f} to {high:,.{digits}f}" if digits <= 8 else f"{low:.3g} to {high:.3g}"


def rounded(value: float, low: float, high: float) -> str:
    """A value with the digits that the width of its interval allows."""
    width = high - low
    if not (math.isfinite(width) and width > 0):
        return figures(value)
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"{value:,.{digits}f}" if digits <= 8 else f"{value:.3g}"


def instant(iso: str | None) -> str:
    """An ISO time as ``2026-11-22 09:30 UTC``; as it is if it is no time."""
    when = moment(iso)
    return when.strftime("%Y-%m-%d %H:%M UTC") if when else text(iso or "–")


def moment(iso: str | None) -> datetime | None:
    """An ISO time, None if it is none; without a zone it is taken as UTC."""
    try:
        found = datetime.fromisoformat(iso) if iso else None
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC) if found else None


def window(record: Record) -> str:
    """The data's first and last instant and how long they cover; empty if unknown."""
    if record.window_ms is None:
        return ""
    start, end = record.window_ms
    line = f"{utc(start)} to {utc(end)} UTC"
    if record.window_s is not None:
        line += f", {duration(record.window_s)}"
    return line + (f" in {record.runs} runs" if record.runs > 1 else "")


def age(record: Record) -> str:
    """How old the data were when the calibration ended; empty if unknown."""
    made = moment(record.finished_utc)
    if made is None or record.window_ms is None:
        return ""
    seconds = made.timestamp() - record.window_ms[1] / 1000.0
    return f"{duration(seconds)} old when calibrated" if seconds >= 0 else "ends after this run"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    """A table in a frame that scrolls; cells are HTML already, the first of a row heads it."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{c}</td>" for c in rest) + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
