"""LaTeX to MathML, in Python: a report needs no script and no network to show a formula."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert


def to_mathml(latex: str, *, block: bool = False) -> str:
    """A formula as MathML; what can't be converted comes as its source, never as a broken page.

    latex2mathml leaves commands that it does not know, and the ``&`` of ``aligned``, as they are:
    the result is therefore parsed as XML and searched for a backslash.
    """
    try:
        mathml = convert(latex, display="block" if block else "inline")
        text = "".join(ElementTree.fromstring(mathml).itertext())  # noqa: S314  our own output
    except Exception:
        return _as_source(latex)
    return _as_source(latex) if re.search(r"\\|&", text) else str(mathml)


def _as_source(latex: str) -> str:
    return f"<code>{html.escape(latex.strip())}</code>"
