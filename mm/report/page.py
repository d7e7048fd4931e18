"""One symbol's report: its executed notebook as one file that opens anywhere.

nbconvert renders the notebook through a template of ours: code hidden, no script, nothing loaded
from outside, formulas as MathML, pictures with the words that describe them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from nbconvert.exporters import TemplateExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from mm.report.formula import to_mathml

_TEMPLATES = Path(__file__).parent / "templates"


class _Renderer(IPythonRenderer):
    """Markdown to HTML with formulas as MathML."""

    def block_math(self, body: str) -> str:
        return f'<p class="formula">{to_mathml(body, block=True)}</p>\n'

    def inline_math(self, body: str) -> str:
        return to_mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


class ReportExporter(TemplateExporter):
    """Exports an executed calibration notebook with the template ``mm``."""

    file_extension = ".html"
    output_mimetype = "text/html"

    def __init__(self, **kwargs: Any) -> None:
        config = Config(
            TemplateExporter={
                "template_name": "mm",
                "extra_template_basedirs": [str(_TEMPLATES)],
                "exclude_input": True,
            }
        )
        super().__init__(config=config, **kwargs)

    def default_filters(self) -> Any:
        """nbconvert's filters and ours."""
        yield from super().default_filters()
        yield "markdown_to_report", _markdown


@pass_context
def _markdown(_context: Any, source: str) -> str:
    renderer = _Renderer(escape=True, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(source))


def render_report(notebook: Path, facts: Mapping[str, str]) -> str:
    """The report of an executed notebook as HTML text.

    ``facts``: ``title`` and ``made`` (UTC time), shown as they are.
    """
    document = nbformat.read(notebook, as_version=4)
    body, _ = ReportExporter().from_notebook_node(document, resources={"report": dict(facts)})
    return str(body)
