"""One symbol's report: its executed notebook as one file that opens anywhere.

nbconvert renders the notebook through a template of ours: code hidden, no script, nothing loaded
from outside, formulas as MathML, pictures with the words that describe them.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import TemplateExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from mm.core import display
from mm.report import failure, top, words
from mm.report.arrange import FIT_FIGURE, image_of, outcome_in, sections, slug
from mm.report.clean import clean
from mm.report.formula import to_mathml
from mm.report.frame import POLICY, TEMPLATES, stylesheet
from mm.report.provenance import provenance
from mm.results.record import Record


class _Renderer(IPythonRenderer):
    """Markdown to HTML with formulas as MathML. The page has its own first heading, so the
    notebook's start at the second level and skip none."""

    def block_math(self, body: str) -> str:
        return f'<div class="formula">{to_mathml(body, block=True)}</div>\n'

    def inline_math(self, body: str) -> str:
        return to_mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text: str, level: int, **_: Any) -> str:
        if level > 2:
            return f"<h3>{text}</h3>\n"
        return f'<h2 id="{slug(text)}">{text}</h2>\n'


class ReportExporter(TemplateExporter):
    """Exports an executed calibration notebook with the template ``mm``."""

    file_extension = ".html"
    output_mimetype = "text/html"

    def __init__(self, **kwargs: Any) -> None:
        config = Config(
            TemplateExporter={
                "template_name": "mm",
                "extra_template_basedirs": [str(TEMPLATES)],
                "exclude_input": True,
                "optimistic_validation": True,  # once, not after every preprocessor
                # Of those that are on by default, what an executed notebook can need.
                "default_preprocessors": ["nbconvert.preprocessors.CoalesceStreamsPreprocessor"],
            }
        )
        super().__init__(config=config, **kwargs)

    def default_filters(self) -> Any:
        """nbconvert's filters and ours."""
        yield from super().default_filters()
        yield "markdown_to_report", markdown
        yield "clean_output", _output
        yield "shown", display.html


@functools.lru_cache(maxsize=256)  # the notebook's own words are those of every symbol
def markdown(source: str) -> str:
    """Markdown as HTML that may stand in a report."""
    renderer = _Renderer(escape=True, exclude_anchor_links=True)
    return clean(str(MarkdownWithMath(renderer=renderer).render(source)), label="table")


def _output(source: str, label: str) -> str:
    return clean(source, label=label, heading=3)


_of_thread = threading.local()


def _exporter() -> ReportExporter:
    """This thread's exporter: compiling its templates takes longer than filling them in."""
    if not hasattr(_of_thread, "exporter"):
        _of_thread.exporter = ReportExporter()
    exporter: ReportExporter = _of_thread.exporter
    return exporter


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
    figure = image_of(document, FIT_FIGURE)
    parts = sections(document)
    document.cells = [cell for part in parts for cell in part.cells]
    contents = [(part.anchor, part.title) for part in parts if part.title]
    report = {
        "title": f"{symbol} fill calibration",
        "policy": POLICY,
        "style": stylesheet(),
        "status": known.status,
        "verdict": top.verdict(known, "#verdict"),
        "facts": top.facts(known, outcome.params.fit_method if outcome.params else ""),
        "per_hour": top.fills_per_hour(known),
        "replay": top.replay(known),
        "figure": figure if known.exposure_s else None,
        "caption": top.figure_caption(known),
        "contents": [*contents, ("provenance", "Provenance")],
        "provenance": provenance(known, outcome.params.versions if outcome.params else None),
        "made": f"Made {words.instant(known.finished_utc)}" if known.finished_utc else "",
    }
    body, _ = _exporter().from_notebook_node(document, resources={"report": report})
    return str(body)
