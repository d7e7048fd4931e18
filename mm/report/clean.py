"""HTML that a notebook holds, as it may stand in a report: known elements, nothing that loads.

Outputs come from whatever a cell displays; nh3 lets pass what is on the lists below and no more.
"""

from __future__ import annotations

import re

import nh3
from markupsafe import Markup, escape

from mm.report import formula

_TEXT = frozenset(
    {
        "p", "div", "span", "br", "hr", "strong", "em", "b", "i", "small", "sub", "sup", "code",
        "pre", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "caption", "table", "thead",
        "tbody", "tfoot", "tr", "th", "td", "a", "img", "details", "summary", "del", "kbd",
    }
)  # fmt: skip
_HEADINGS = frozenset({"h2", "h3"})
_DROPPED = {"script", "style", "iframe", "object", "template", "noscript", "head", "title"}
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,")
_CELL = {"colspan", "rowspan", "data-label", "scope"}
_ATTRIBUTES = {
    "*": {"class"}, "div": {"role", "tabindex", "aria-label"}, "td": _CELL, "th": _CELL,
    "a": {"href"}, "img": {"src", "alt"}, "h2": {"id"},
    **{tag: set(formula.ATTRIBUTES) for tag in formula.TAGS},
}  # fmt: skip


def clean(source: str, label: str, *, headings: bool = False) -> Markup:
    """HTML with only known elements and attributes; without headings unless they are wanted.

    Tables stand in frames that scroll and that a keyboard reaches: those of
    :mod:`mm.core.display` have theirs, around others comes one that is named ``label``.
    """
    kept = nh3.clean(
        source,
        tags=set(_TEXT | formula.TAGS | (_HEADINGS if headings else frozenset())),
        clean_content_tags=_DROPPED,
        attributes=_ATTRIBUTES,
        attribute_filter=_inside,
        url_schemes={"data"},
        link_rel=None,
    )
    if "<table" in kept and 'class="scroll"' not in kept:
        frame = '<div class="scroll" role="region" tabindex="0" aria-label="{}">{}</div>'
        return Markup(frame).format(escape(label), Markup(kept))  # noqa: S704  nh3 cleaned it
    return Markup(kept)  # noqa: S704  nh3 cleaned it


def _inside(tag: str, name: str, value: str) -> str | None:
    """Links lead within the page, pictures are in it."""
    if name == "href":
        return value if value.startswith("#") else None
    if name == "src":
        return value if _PICTURE.match(value) else None
    return value
