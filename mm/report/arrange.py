"""The order of a report: what a reader needs first comes out of the notebook's order.

The notebook goes from data to verdict; a report starts with the verdict, then gives the proof, then
the way there. The notebook's headline gives way to the report's own first screen, and the fit's
figure moves up there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mm.results.record import MIME, Outcome

#: Cells by their id in the template.
HEADLINE, FIT_FIGURE = "bootstrap", "fit-figure"
#: A sample of rows is for who works in the notebook.
_NOTEBOOK_ONLY = (HEADLINE, "records")
#: Sections that a reader wants before the way from data to fit, by the cell they begin in.
_FIRST = ("about-verdict", "about-value", "about-checks", "about-params", "about-waterfall")
_FIGURE_ABOVE = "[The figure is at the top of this page.](#figure)"
#: Less high than this, a picture only says why there is none.
_LEAST_HEIGHT = 100
_HEADING = re.compile(r"^#{1,2} ", re.MULTILINE)
_MARKS = re.compile(r"[`*$\\]|^#+\s*")


@dataclass(frozen=True)
class Image:
    """A figure of an executed notebook. ``png``: base64 without line breaks; sizes in CSS px."""

    png: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Section:
    """A heading with all cells up to the next one of its level. ``origin``: the cell it is in."""

    title: str
    cells: list[Any]
    origin: str = ""

    @property
    def anchor(self) -> str:
        """The heading's id."""
        return slug(self.title)


def slug(title: str) -> str:
    """An id from a heading's text."""
    return "-".join(re.findall(r"\w+", title.lower())) or "section"


def outcome_in(document: Any) -> Outcome | None:
    """The outcome in an executed notebook; None if it has none, or one of another make."""
    for cell in reversed(document.cells):
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                try:
                    return Outcome.model_validate(output["data"][MIME])
                except ValidationError:
                    return None
    return None


def image_of(document: Any, cell_id: str) -> Image | None:
    """The figure that a cell shows, None if there is none."""
    for cell in document["cells"]:
        if cell.get("id") != cell_id:
            continue
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return image_in(output)
    return None


def image_in(output: Any) -> Image:
    """The picture of an output that has one."""
    data, size = output["data"], output.get("metadata", {}).get("image/png", {})
    png = "".join("".join(data["image/png"]).split())
    # In a notebook's file a text is a list of its lines.
    alt = "".join(data.get("text/plain", "")) or "figure"
    return Image(png, alt, int(size.get("width", 720)), int(size.get("height", 460)))


def read_image(notebook: Path, cell_id: str) -> Image | None:
    """The figure that a cell of a notebook file shows, None if there is none or no notebook."""
    try:
        return image_of(json.loads(notebook.read_text(encoding="utf-8")), cell_id)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def sections(document: Any) -> list[Section]:
    """The notebook's sections in a report's order: the verdict first, then the proof."""
    found = [Section("", [])]
    for cell in _worth_showing(document.cells):
        for piece in _split(cell):
            if piece.cell_type == "markdown" and _HEADING.match(piece.source):
                found.append(Section(_title(piece.source), [], str(cell.get("id", ""))))
            found[-1].cells.append(piece)
    kept = [s for s in found if s.cells and (s.title or _shows(s.cells))]
    # Stable: all others keep their order.
    return sorted(kept, key=lambda s: _FIRST.index(s.origin) if s.origin in _FIRST else len(_FIRST))


def _worth_showing(cells: Iterable[Any]) -> Iterable[Any]:
    """The cells that a report shows: no sample rows, nothing for machines, no picture of nothing,
    and no word on how to read that picture."""
    from nbformat.v4 import new_markdown_cell  # takes a second, and no mail needs it

    empty = ""
    for cell in cells:
        name = str(cell.get("id", ""))
        if name == FIT_FIGURE and cell.get("outputs"):
            yield new_markdown_cell(_FIGURE_ABOVE, id=name)
        elif name.endswith("-figure") and _is_empty(cell):
            empty = name.removesuffix("-figure")
        elif name not in _NOTEBOOK_ONLY and name != f"read-{empty}":
            if "outputs" in cell:
                cell.outputs = [o for o in cell.outputs if MIME not in o.get("data", {})]
            yield cell


def _is_empty(cell: Any) -> bool:
    sizes = [
        output.get("metadata", {}).get("image/png", {}).get("height", _LEAST_HEIGHT)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return bool(sizes) and max(sizes) < _LEAST_HEIGHT


def _split(cell: Any) -> Iterable[Any]:
    """A markdown cell at its headings: its first lines may still belong to the section before."""
    if cell.cell_type != "markdown":
        return [cell]
    starts = [m.start() for m in _HEADING.finditer(cell.source)]
    cuts = sorted({0, *starts, len(cell.source)})
    pieces = [cell.source[a:b].strip() for a, b in pairwise(cuts)]
    return [
        type(cell)({**cell, "source": text, "id": f"{cell.get('id', 'cell')}-{n}"})
        for n, text in enumerate(pieces)
        if text
    ]


def _title(source: str) -> str:
    return _MARKS.sub("", source.splitlines()[0]).strip()


def _shows(cells: Iterable[Any]) -> bool:
    return any(cell.cell_type == "markdown" or cell.get("outputs") for cell in cells)
