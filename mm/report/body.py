"""The mail's two bodies: plain text, and HTML that Outlook's Word engine lays out too; formulas
are Unicode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mm.core import formatting
from mm.core.formatting import figures
from mm.report import compare, words
from mm.report.arrange import Image
from mm.report.causes import shortened
from mm.report.compare import Distance, Line
from mm.report.news import MOST_LINES, News, change_in_words
from mm.report.render import render

_COLOUR = {
    "failed": "#a8201a", "refused": "#a8201a", "missing": "#56606b", "stale": "#56606b",
    "warn": "#8a4b00", "ok": "#14683f",
}  # fmt: skip
_MODEL = "λ(δ) = A·exp(−k·δ), δ in ticks from mid"
_FIGURE_WIDTH = 440
_EMPTY = ("–", "new")


@dataclass(frozen=True)
class Content:
    """All that the bodies say. ``title``: the first line; ``figures``: by symbol, the CID
    and the image; ``attached``: what is attached and what did not fit; ``at``: the distance λ is
    given at."""

    title: str
    verdicts: str
    news: News
    found: Sequence[Line]
    at: Distance | None
    figures: Mapping[str, tuple[str, Image]]
    attached: str


def plain(content: Content) -> str:
    """The text body."""
    news = content.news
    if news.none:
        return f"{content.title}\n{_calm(content)} {content.attached}\n"
    parts = [content.title, content.verdicts, ""]
    for title, items in (("What needs a person", news.needed), ("What changed", news.changed)):
        if items:
            parts += [title, *(f"- {line}" for line in _bounded(items)), ""]
    if news.shown:
        parts.append(f"{_heading(content)}; {_MODEL}, λ in fills per hour{_at(content)}")
        for line in news.shown:
            numbers = ", ".join(
                f"{n} {v}" for n, v in _numbers(line, content.at) if v not in _EMPTY
            )
            parts.append(f"- {shortened(line.symbol, 80)} {line.status}. {numbers}".rstrip(". "))
            if _other_reason(line):
                parts.append(f"  {_other_reason(line)}")
        parts.append("")
    return "\n".join([*parts, content.attached, ""])


def rich(content: Content) -> str:
    """The HTML body."""
    news, at = content.news, _at(content)
    return render(
        "mail",
        title=content.title,
        verdicts=content.verdicts,
        calm=_calm(content) if news.none else "",
        attached=content.attached,
        needed=_bounded(news.needed),
        changed=_bounded(news.changed),
        model=f"{_MODEL}; λ in fills per hour{at}",
        head=("symbol", f"λ{at}", "A, 1/s", "k, 1/tick", "fills", "change"),
        about_shown=_heading(content),
        shown=[_shown(line, content) for line in news.shown],
    )


def _calm(content: Content) -> str:
    once = any(line.for_one_night for line in content.found)
    same = "" if once else ", each as in the run before"
    return f"No news: {compare.headline(content.found)}{same}. {content.news.quiet}"


def _heading(content: Content) -> str:
    """The worst are shown, on a first run as many others as fit."""
    shown = content.news.shown
    if len(shown) == len(content.found):
        return "All lines"
    return "The worst first" if any(line.status == "ok" for line in shown) else "Worst lines"


def _at(content: Content) -> str:
    return "" if content.at is None else f" at {content.at}"


def _bounded(items: Sequence[str]) -> list[str]:
    more = len(items) - MOST_LINES
    rest = [f"and {more} more: see the attached table"] if more > 0 else []
    return [*items[:MOST_LINES], *rest]


def _numbers(line: Line, at: Distance | None) -> list[tuple[str, str]]:
    record = line.record
    rate = compare.rate(record, at)
    fills = "–" if record.n_fills is None else f"{record.n_fills:,}"
    return [
        ("λ", _rate(rate)),
        ("A", words.level(record)),
        ("k", words.decay(record)),
        ("fills", fills),
        ("change", change_in_words(line)),
    ]


def _other_reason(line: Line) -> str:
    """A reason that does not stand among what needs a person already."""
    return shortened(line.reason) if line.status in ("missing", "warn", "ok") else ""


def _rate(rate: compare.Rate | None) -> str:
    if rate is None:
        return "–"
    if rate.ends is None:
        return figures(3600.0 * rate.value)
    low, high = (3600.0 * end for end in rate.ends)
    return f"{formatting.rounded(3600.0 * rate.value, low, high)} ({formatting.span(low, high)})"


def _shown(line: Line, content: Content) -> dict[str, Any]:
    """A line with its numbers, a value and its interval or error each, and its figure under
    name, verdict and reason; without a figure, a reason that stands nowhere else."""
    name, reason = shortened(line.symbol, 80), shortened(line.reason)
    row = {
        "name": shortened(line.symbol, 40),
        "status": line.status,
        "colour": _COLOUR[line.status],
        "numbers": [words.in_two(value) for _, value in _numbers(line, content.at)],
        "text": f"{name}: {_other_reason(line)}" if _other_reason(line) else "",
        "cid": "",
    }
    found = content.figures.get(line.symbol)
    if found is None:
        return row
    cid, image = found
    text = f"{name}, {line.status}" + (f": {reason}" if reason else "")
    height = round(image.height * _FIGURE_WIDTH / max(image.width, 1))
    return row | {"text": text, "cid": cid, "height": height, "alt": image.alt}
