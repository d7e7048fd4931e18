"""LaTeX to MathML, in Python: a report needs no script and no network to show a formula."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert

#: How many children an element must have; browsers draw a broken one as an error.
_CHILDREN = {
    "mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2,
    "msubsup": 3, "munderover": 3,
}  # fmt: skip
#: Everything else that may stand in a formula. What is not here is not MathML Core, or a link.
TAGS = frozenset(_CHILDREN) | {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msqrt", "mstyle", "mtable", "mtr", "mtd",
    "mpadded", "mphantom",
}  # fmt: skip
ATTRIBUTES = frozenset(
    {
        "display", "displaystyle", "scriptlevel", "mathvariant", "stretchy", "fence", "form",
        "accent", "width", "height", "depth", "lspace", "rspace", "minsize", "maxsize",
        "linethickness", "columnalign", "rowspacing", "columnspacing", "voffset", "separator",
        "movablelimits", "symmetric", "largeop",
    }
)  # fmt: skip
# Environments that only align within a formula: the converter knows their numbered kin.
_KIN = {"aligned": "align*", "split": "align*", "gathered": "matrix"}


class _Unfit(ValueError):
    """The converter's result is not the formula that was written."""


def to_mathml(latex: str, *, block: bool = False) -> str:
    """A formula as MathML; what can't be converted comes as its source, never as a broken page.

    latex2mathml leaves commands that it does not know as they are, lets HTML through inside
    ``\\text`` and gives a fraction without its denominator: the result is parsed as XML, its
    elements are checked one by one, and it is written anew.
    """
    try:
        if re.search(r"\\(def|let|(re)?newcommand|DeclareMathOperator)\b", latex):
            raise _Unfit("defines commands")  # a recursive one would never end
        source = re.sub(r"\\(begin|end)\{(\w+)\}", _known_kin, latex.strip())
        tree = ElementTree.fromstring(  # noqa: S314  our own output, and no entities pass
            convert(source, display="block" if block else "inline")
        )
        _check(tree, source)
        return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)
    # The converter raises whatever its parser meets: IndexError, KeyError, its own errors.
    except Exception:
        return _as_source(latex)


def _known_kin(match: re.Match[str]) -> str:
    return rf"\{match[1]}{{{_KIN.get(match[2], match[2])}}}"


def _check(tree: ElementTree.Element, source: str) -> None:
    """Raises _Unfit where the result differs from what was written; drops the namespace, which
    HTML does not need, and attributes that mean nothing in it."""
    for element in tree.iter():
        name = element.tag.rpartition("}")[2]
        if name not in TAGS:
            raise _Unfit(name)
        if element.get("linebreak"):
            raise _Unfit("browsers don't break lines inside a formula")
        if len(element) != _CHILDREN.get(name, len(element)):
            raise _Unfit(f"{name} with {len(element)} children")
        element.tag = name
        element.attrib = {n: v for n, v in element.attrib.items() if n in ATTRIBUTES}
    text = "".join(tree.itertext())
    if not text.strip() or "\\" in text:
        raise _Unfit(text)
    for mark in "&{}":
        if text.count(mark) > source.count(f"\\{mark}") + (mark == "{") * source.count("cases"):
            raise _Unfit(mark)


def _as_source(latex: str) -> str:
    readable = "".join(c for c in latex.strip() if c.isprintable() or c in "\n\t")
    return f'<code class="formula-source">{html.escape(readable)}</code>'
