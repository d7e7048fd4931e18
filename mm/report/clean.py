"""HTML that a notebook holds, as it may stand in a report: known elements, nothing that loads.

Outputs come from whatever a cell displays. Only what is on the lists below passes, so no report
can ask the network for anything, and every table scrolls inside its own frame on a phone.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from mm.report import formula

_TEXT = frozenset(
    {
        "p", "div", "span", "br", "hr", "strong", "em", "b", "i", "small", "sub", "sup", "code",
        "pre", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "caption", "table", "thead",
        "tbody", "tfoot", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6", "a", "img",
        "details", "summary", "del", "kbd",
    }
)  # fmt: skip
_EMPTY = frozenset({"br", "hr", "img"})
#: These go with all that is in them.
_DROPPED = frozenset({"script", "style", "iframe", "object", "template", "noscript", "head"})
_HEADING = re.compile(r"h[1-6]")
_ALIGN = re.compile(r"text-align:\s*(left|right|center)")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,")
#: Columns that fit side by side on a phone if their cells wrap.
_FEW = 4
_WORDS = re.compile(r"[^\W\d]{3,}\W+[^\W\d]{2,}")


def clean(source: str, *, label: str, heading: int | None = None) -> str:
    """HTML with only known elements and attributes, tables in frames that scroll.

    ``label`` names the frames for a screen reader; ``heading`` is the level of all headings,
    None leaves them as they are.
    """
    cleaner = _Cleaner(label, heading)
    cleaner.feed(source)
    cleaner.close()
    return "".join(cleaner.parts)


class _Cleaner(HTMLParser):
    def __init__(self, label: str, heading: int | None) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._label, self._heading = label, heading
        self._open: list[str] = []
        self._dropping = self._tables = 0
        self._link_end = "</a>"
        self._inside = [_Table(-1, {})]  # the last is the table we are in, the first none

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self._dropping += 1
        if self._dropping or (tag not in _TEXT and tag not in formula.TAGS):
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._image(given)
            return
        if tag == "a":
            self._link(given.get("href", ""))
        elif tag in ("td", "th"):
            self._start_cell(tag, given)
        else:
            if tag == "table":
                self._tables += 1
                number = f", table {self._tables}" if self._tables > 1 else ""
                name = html.escape(self._label + number)
                frame = f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">'
                self.parts.append(frame)
                self._inside.append(_Table(len(self.parts), given))
                self.parts.append("")  # the table's tag: its kind is known at its end
            elif tag == "tr":
                self._inside[-1].rows.append([])
            if tag != "table":
                self.parts.append(f"<{self._name(tag)}{_attributes(given, tag)}{_reach(given)}>")
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropping = max(0, self._dropping - 1)
        if self._dropping or tag not in self._open:
            return
        while self._open:  # what was left open inside is closed first
            inner = self._open.pop()
            self._close(inner)
            if inner == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._dropping:
            self.parts.append(html.escape(data, quote=False))
            rows = self._inside[-1].rows
            if rows and rows[-1]:
                rows[-1][-1].text += data

    def close(self) -> None:
        """Close what was left open."""
        super().close()
        while self._open:
            self._close(self._open.pop())

    def _close(self, tag: str) -> None:
        if tag == "a":
            self.parts.append(self._link_end)
        elif tag in ("td", "th"):
            self.parts.append("")  # the cell's end: which element it ends is known with the table
            self._inside[-1].open_cell.end = len(self.parts) - 1
        elif tag == "table":
            self._write_table(self._inside.pop())
            self.parts.append("</table></div>")
        else:
            self.parts.append(f"</{self._name(tag)}>")

    def _start_cell(self, tag: str, given: dict[str, str]) -> None:
        rows = self._inside[-1].rows
        if not rows:  # a cell that stands in no row
            rows.append([])
        self.parts.append("")
        cell = _Cell(tag, given, "thead" in self._open, len(self.parts) - 1)
        rows[-1].append(cell)
        self._inside[-1].open_cell = cell

    def _write_table(self, table: _Table) -> None:
        """Columns of words stand to the left with their heads; a head without a word is none.

        A table of few columns is ``few``: a phone wraps its cells. With several columns of words
        it is ``stack``: a phone shows them below each other, each with its column's head.
        """
        wordy: dict[int, int] = {}
        heads: dict[int, str] = {}
        for row in table.rows:
            for column, cell in enumerate(row):
                words = " ".join(cell.text.split())
                if cell.in_head:
                    heads[column] = words
                elif words:
                    wordy[column] = wordy.get(column, 0) + (1 if _WORDS.search(words) else -1)
        stacked = sum(column > 0 and count > 0 for column, count in wordy.items()) > 1
        spanned = any("colspan" in cell.given for row in table.rows for cell in row)
        for row in table.rows:
            for column, cell in enumerate(row):
                if heads.get(column) and column not in wordy and wordy and not spanned:
                    cell.given["hidden"] = "hidden"  # nothing stands under this head
                tag = "td" if cell.tag == "th" and not cell.text.strip() else cell.tag
                if wordy.get(column, 0) > 0:
                    cell.given.setdefault("style", "text-align:left")
                scope = f' scope="{"col" if cell.in_head else "row"}"' if tag == "th" else ""
                named = stacked and tag == "td" and cell.text.strip() and heads.get(column)
                label = f' data-label="{html.escape(str(named))}"' if named else ""
                self.parts[cell.start] = f"<{tag}{scope}{label}{_attributes(cell.given, tag)}>"
                if cell.end is not None:
                    self.parts[cell.end] = f"</{tag}>"
        given = table.given
        widest = max((len(row) for row in table.rows), default=0)
        kind = "stack" if stacked else "few" if widest <= _FEW else ""
        given["class"] = f"{given.get('class', '')} {kind}".strip()
        self.parts[table.at] = f"<table{_attributes(given, 'table')}>"

    def _name(self, tag: str) -> str:
        return f"h{self._heading}" if self._heading and _HEADING.fullmatch(tag) else tag

    def _link(self, target: str) -> None:
        """Links within the page stay; others show where they lead, as text."""
        if target.startswith("#"):
            self.parts.append(f'<a href="{html.escape(target)}">')
            self._link_end = "</a>"
        else:
            self.parts.append("<span>")
            self._link_end = (
                f" ({html.escape(target, quote=False)})</span>" if target else "</span>"
            )

    def _image(self, given: dict[str, str]) -> None:
        if _PICTURE.match(given.get("src", "")):
            alt = html.escape(given.get("alt") or self._label)
            self.parts.append(f'<img src="{html.escape(given["src"])}" alt="{alt}">')


class _Cell:
    """A table cell: what it is called, its attributes, its text, and where its tags stand."""

    def __init__(self, tag: str, given: dict[str, str], in_head: bool, start: int) -> None:
        self.tag, self.given, self.in_head, self.start = tag, given, in_head, start
        self.end: int | None = None
        self.text = ""


class _Table:
    """A table that is being read: where its tag stands, its attributes, its rows."""

    def __init__(self, at: int, given: dict[str, str]) -> None:
        self.at, self.given = at, given
        self.rows: list[list[_Cell]] = []
        self.open_cell = _Cell("td", {}, in_head=False, start=-1)


def _reach(given: dict[str, str]) -> str:
    """What lets a keyboard reach a formula that a narrow screen scrolls."""
    formula_here = given.get("class") == "formula"
    return ' tabindex="0" role="group" aria-label="Formula"' if formula_here else ""


def _attributes(given: dict[str, str], tag: str = "") -> str:
    """The attributes that may stay, as text."""
    kept = {}
    for name, value in given.items():
        if (
            (name == "hidden" and tag in ("td", "th"))
            or (name in ("colspan", "rowspan") and value.isdigit())
            or (tag in formula.TAGS and name in formula.ATTRIBUTES)
            or (name == "id" and re.fullmatch(r"[\w-]+", value))
        ):
            kept[name] = value
    classes = [c for c in given.get("class", "").split() if re.fullmatch(r"[\w-]+", c)]
    aligned = _ALIGN.search(given.get("style", ""))
    if aligned:
        classes.append(f"to-{aligned[1]}")
    if classes:
        kept["class"] = " ".join(classes)
    return "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())
