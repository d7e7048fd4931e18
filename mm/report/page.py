"""One symbol's report: its executed notebook as one file that opens anywhere.

Code hidden, no script, nothing loaded from outside, formulas as MathML, pictures with words that
describe them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup, escape
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from mm.report import failure, top, words
from mm.report.arrange import FIT_FIGURE, image_in, image_of, outcome_in, sections, slug
from mm.report.clean import clean
from mm.report.formula import to_mathml
from mm.report.provenance import provenance
from mm.report.render import render
from mm.results.record import Record

#: Lets a keyboard reach a formula that a narrow screen scrolls.
_REACHED = 'tabindex="0" role="group" aria-label="Formula"'


class _Renderer(IPythonRenderer):
    """Markdown to HTML with formulas as MathML. The page has its own first heading, so the
    notebook's start at the second level and skip none."""

    def block_math(self, body: str) -> str:
        return f'<div class="formula" {_REACHED}>{to_mathml(body, block=True)}</div>\n'

    def inline_math(self, body: str) -> str:
        return to_mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text: str, level: int, **_: Any) -> str:
        if level > 2:
            return f"<h3>{text}</h3>\n"
        return f'<h2 id="{slug(text)}">{text}</h2>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return str(super().link(text, url, title)) if url[:1] == "#" else f"{text} ({escape(url)})"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return str(escape(text))


@functools.lru_cache(maxsize=256)  # the notebook's own words are those of every symbol
def markdown(source: str) -> Markup:
    """Markdown as HTML that may stand in a report."""
    renderer = _Renderer(escape=True, exclude_anchor_links=True)
    made = str(MarkdownWithMath(renderer=renderer).render(source))
    return clean(made, "table", headings=True)


def render_report(notebook: Path, record: Record | None = None) -> str:
    """The report of an executed notebook as HTML text.

    ``record``: what the driver knows beyond the notebook (time, duration, who set what); None
    takes the notebook's own. A notebook that carries no outcome gives a failure page.
    """
    document: Any = nbformat.read(notebook, as_version=4)
    outcome = outcome_in(document)
    if outcome is None:
        symbol = notebook.stem.removeprefix("calibration_")
        return failure.render_failure(symbol, record or Record(status="failed"), notebook)
    known = record or outcome.record
    symbol = str(known.settings.get("SYMBOL") or notebook.stem)
    return render(
        "report",
        title=f"{symbol} fill calibration",
        status=known.status,
        verdict=top.verdict(known, "#verdict"),
        facts=top.facts(known, outcome.params.fit_method if outcome.params else ""),
        per_hour=top.fills_per_hour(known),
        replay=top.replay(known),
        figure=image_of(document, FIT_FIGURE) if known.exposure_s else None,
        caption=top.figure_caption(known),
        sections=sections(document),
        markdown=markdown,
        clean=clean,
        image_in=image_in,
        readable=failure.readable,
        provenance=provenance(known, outcome.params.versions if outcome.params else None),
        made=f"Made {words.instant(known.finished_utc)}" if known.finished_utc else "",
    )
