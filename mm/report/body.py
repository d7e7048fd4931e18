"""The mail's two bodies: plain text, and HTML that Outlook's Word engine lays out too.

That engine knows tables, attributes and inline styles; no classes, no flex, no SVG, no margins on
images. Formulas are Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mm.core import formatting
from mm.core.formatting import figures
from mm.report import compare, words
from mm.report.arrange import Image
from mm.report.compare import Line
from mm.report.news import MOST_LINES, News, change_in_words, shortened

_FONT = "font-family:Segoe UI,Helvetica,Arial,sans-serif"
_COLOUR = {
    "failed": "#a8201a", "refused": "#a8201a", "missing": "#56606b", "warn": "#8a4b00",
    "ok": "#14683f",
}  # fmt: skip
_MODEL = "λ(δ) = A·exp(−k·δ), δ in ticks from mid"
_FIGURE_WIDTH = 440
_EMPTY = ("–", "new")


@dataclass(frozen=True)
class Content:
    """All that the bodies say. ``figures``: by symbol, the CID and the image; ``attached``: what
    is attached and what did not fit; ``delta``: the distance λ is given at."""

    title: str
    news: News
    found: Sequence[Line]
    delta: float | None
    figures: Mapping[str, tuple[str, Image]]
    attached: str


def plain(content: Content) -> str:
    """The text body."""
    news = content.news
    if news.none:
        return f"{_calm(content)}\n{news.quiet} {content.attached}\n"
    parts = [content.title, ""]
    for title, told in (("What needs a person", news.needed), ("What changed", news.changed)):
        if told:
            parts += [title, *(f"- {line}" for line in _bounded(told)), ""]
    if news.worst:
        parts.append(f"Worst lines; {_MODEL}, λ in fills per hour{_at(content)}")
        for line in news.worst:
            numbers = ", ".join(
                f"{n} {v}" for n, v in _numbers(line, content.delta) if v not in _EMPTY
            )
            parts.append(f"- {shortened(line.symbol, 80)} {line.status}. {numbers}".rstrip(". "))
            if _untold(line):
                parts.append(f"  {_untold(line)}")
        parts.append("")
    return "\n".join([*parts, content.attached, ""])


def rich(content: Content) -> str:
    """The HTML body."""
    news = content.news
    if news.none:
        inner = f"{_p(_calm(content))}{_p(f'{news.quiet} {content.attached}')}"
    else:
        style = f"{_FONT};font-size:20px;color:#1c2024;margin:0 0 12px 0"
        inner = f'<h1 style="{style}">{words.text(content.title)}</h1>'
        inner += _list("What needs a person", news.needed)
        inner += _list("What changed", news.changed)
        if news.worst:
            inner += _heading("Worst lines")
            inner += _p(f"{_MODEL}; λ in fills per hour{_at(content)}", soft=True)
            inner += _table(content)
            inner += "".join(_figure(line, content) for line in news.worst)
        inner += _p(content.attached, soft=True)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{words.text(content.title)}</title></head>"
        '<body bgcolor="#ffffff" style="margin:0;padding:0;background-color:#ffffff">'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">'
        '<tr><td align="left" style="padding:16px">'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" '
        'style="max-width:680px"><tr><td>'
        f"{inner}</td></tr></table></td></tr></table></body></html>\n"
    )


def _calm(content: Content) -> str:
    return f"No news: {compare.headline(content.found)}, each as in the run before."


def _at(content: Content) -> str:
    return "" if content.delta is None else f" at {content.delta:g} ticks"


def _bounded(told: Sequence[str]) -> list[str]:
    more = len(told) - MOST_LINES
    rest = [f"and {more} more: see the attached table"] if more > 0 else []
    return [*told[:MOST_LINES], *rest]


def _numbers(line: Line, delta: float | None) -> list[tuple[str, str]]:
    record = line.record
    rate = None if delta is None else compare.rate(record, delta)
    fills = "–" if record.n_fills is None else f"{record.n_fills:,}"
    return [
        ("λ", _rate(rate)),
        ("A", words.level(record)),
        ("k", words.decay(record)),
        ("fills", fills),
        ("change", change_in_words(line)),
    ]


def _untold(line: Line) -> str:
    """A reason that does not stand among what needs a person already."""
    return shortened(line.reason) if line.status in ("warn", "ok") else ""


def _rate(rate: compare.Rate | None) -> str:
    if rate is None:
        return "–"
    if rate.ends is None:
        return figures(3600.0 * rate.value)
    low, high = (3600.0 * end for end in rate.ends)
    return f"{formatting.rounded(3600.0 * rate.value, low, high)} ({formatting.span(low, high)})"


def _p(text: str, *, soft: bool = False) -> str:
    colour, size = ("#56606b", 13) if soft else ("#1c2024", 15)
    style = f"{_FONT};font-size:{size}px;line-height:1.4;color:{colour};margin:10px 0 10px 0"
    return f'<p style="{style}">{words.text(text)}</p>'


def _heading(text: str) -> str:
    style = f"{_FONT};font-size:16px;color:#1c2024;margin:18px 0 6px 0"
    return f'<h2 style="{style}">{words.text(text)}</h2>'


def _list(title: str, told: Sequence[str]) -> str:
    if not told:
        return ""
    style = f"{_FONT};font-size:14px;line-height:1.4;color:#1c2024;padding:2px 0"
    rows = "".join(
        f'<tr><td valign="top" width="16" style="{style}">•</td>'
        f'<td style="{style}"><bdi>{words.text(line)}</bdi></td></tr>'
        for line in _bounded(told)
    )
    return (
        f'{_heading(title)}<table role="presentation" cellpadding="0" cellspacing="0" '
        f'border="0">{rows}</table>'
    )


def _table(content: Content) -> str:
    cell = f"{_FONT};font-size:13px;color:#1c2024;padding:5px 3px;border-bottom:1px solid #d8dde3"
    names = ("symbol", f"λ{_at(content)}", "A, 1/s", "k, 1/tick", "fills", "change")
    head = "".join(
        f'<th align="{"left" if i < 1 else "right"}" valign="bottom" '
        f'style="{cell};color:#56606b">{name}</th>'
        for i, name in enumerate(names)
    )
    rows = ""
    for line in content.news.worst:
        told = f'<strong style="color:{_COLOUR[line.status]}">{line.status}</strong>'
        name = words.name(shortened(line.symbol, 40))
        first = f'<td align="left" valign="top" style="{cell}">{name}<br>{told}</td>'
        rest = "".join(
            f'<td align="right" valign="top" style="{cell}">{_two_lines(value)}</td>'
            for _, value in _numbers(line, content.delta)
        )
        rows += f"<tr>{first}{rest}</tr>"
    return (
        '<table width="100%" cellpadding="0" cellspacing="0" border="0" '
        f'style="border-collapse:collapse"><tr>{head}</tr>{rows}</table>'
    )


def _two_lines(value: str) -> str:
    """A number, its interval or error beneath: a phone has no room beside it."""
    number, beneath = words.in_two(value)
    told = f'<br><span style="color:#56606b">{words.text(beneath)}</span>' if beneath else ""
    return words.text(number) + told


def _figure(line: Line, content: Content) -> str:
    """A worst line's figure under its name, verdict and reason; without one, a reason that
    stands nowhere else."""
    name = shortened(line.symbol, 80)
    found = content.figures.get(line.symbol)
    if found is None:
        return _p(f"{name}: {_untold(line)}") if _untold(line) else ""
    reason = f": {shortened(line.reason)}" if line.reason else ""
    text = f"{name}, {line.status}{reason}"
    cid, image = found
    height = round(image.height * _FIGURE_WIDTH / max(image.width, 1))
    style = f"display:block;width:100%;max-width:{_FIGURE_WIDTH}px;height:auto"
    picture = (
        f'<img src="cid:{cid}" width="{_FIGURE_WIDTH}" height="{height}" border="0" '
        f'alt="{words.text(image.alt)}" style="{style}">'
    )
    return f"{_p(text)}{picture}"
