"""Pages and mails from the templates beside this module: one look, and a policy that lets nothing
load."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mm.core import display

_TEMPLATES = Path(__file__).parent / "templates"
#: Nothing but images that are in the file, and its own style.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(template: str, **content: Any) -> str:
    """A template filled in. Strings are text; only templates and :class:`Markup` hold tags."""
    return str(_environment().get_template(f"{template}.html.j2").render(content)) + "\n"


@cache
def source(name: str) -> Markup:
    """A style sheet or script, as it stands in a page."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704  our own file


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    made.globals |= {"policy": POLICY, "source": source}
    made.filters["shown"] = lambda *parts: Markup(display.html(*parts))  # noqa: S704  escaped there
    return made
