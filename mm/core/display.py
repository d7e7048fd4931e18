"""Results as HTML: who has them hands over words and numbers, the tags are in one template."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

#: A cell's text, or a number and what stands small behind it in brackets.
Cell = str | tuple[str, str]
#: A table of few columns fits a phone if its cells wrap.
_FEW = 4
_WORDS = re.compile(r"[^\W\d]{3,}\W+[^\W\d]{2,}")


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows; a column without a word in it is left out.

    ``name``: what a screen reader calls it; ``note``: small print beneath.
    """

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    name: str = ""
    note: str = ""

    @property
    def label(self) -> str:
        """The name, or what the heads say."""
        return self.name or ", ".join(filter(None, self.head)) or "table"

    @functools.cached_property
    def columns(self) -> list[int]:
        """The columns that hold something."""
        return [i for i in range(max(map(len, self.rows))) if any(row[i] for row in self.rows)]

    @functools.cached_property
    def left(self) -> set[int]:
        """The columns that stand to the left: the first, and those of words."""
        votes: Counter[int] = Counter()
        for row in self.rows:
            for column, cell in enumerate(row):
                if cell:
                    text = cell if isinstance(cell, str) else " ".join(cell)
                    votes[column] += 1 if _WORDS.search(text) else -1
        return {0, *(column for column, count in votes.items() if count > 0)}

    @property
    def stacked(self) -> bool:
        """Whether a phone shows its columns below each other, each with its head."""
        return bool(self.head) and len(self.left) > 2

    @property
    def classes(self) -> str:
        """For the style sheet of a report."""
        return "stack" if self.stacked else "few" if len(self.columns) <= _FEW else "many"


@dataclass(frozen=True)
class Notes:
    """A list of remarks."""

    kind: ClassVar[str] = "notes"
    notes: Sequence[str]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph with a strong beginning; with a colour it stands in a box."""

    kind: ClassVar[str] = "paragraph"
    lead: str
    text: str
    colour: str = ""


class Parts:
    """Parts to show one after the other, and a plain text for where HTML can't be shown."""

    def __init__(self, *parts: Any, text: str = "") -> None:
        self.parts, self._text = parts, text

    def __repr__(self) -> str:
        return self._text or "tables"

    def _repr_html_(self) -> str:
        return html(*self.parts)


def html(*parts: Any) -> str:
    """Strings as paragraphs, :class:`Table`, :class:`Notes`, :class:`Paragraph`, and whatever
    shows itself in a notebook, as HTML. What holds nothing is left out."""
    shown = [p for p in parts if not _is_empty(p)]
    return str(_template().render(parts=shown)) if shown else ""


def _is_empty(part: Any) -> bool:
    if isinstance(part, Table):
        return not part.rows
    return part is None or part == "" or (isinstance(part, Notes) and not part.notes)


@functools.cache
def _template() -> Any:
    # Only here: most of who imports results shows none.
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=loader, autoescape=True)
    return made.get_template("display.html.j2")
