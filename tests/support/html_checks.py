"""What every page of ours must be, read from its text and from a real browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.browser import Page

_LOADS = ("src", "srcset", "href", "data", "action", "poster", "background", "formaction")


class Parsed(HTMLParser):
    """Every tag with its attributes, and the text of style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles = ""
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]


def assert_self_contained(text: str, *, relative_links: bool = False) -> Parsed:
    """Nothing in it loads anything; no handler; scripts only where a hash allows them."""
    page = Parsed(text)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert "url(" not in (value or "") or name == "content", (tag, name, value)
            if name in _LOADS and tag != "meta":
                inside = (value or "").startswith(("data:image/png;base64,", "#"))
                beside = relative_links and tag == "a" and not re.match(r"\w+:|/|\.", value or "/")
                assert inside or beside, (tag, name, value)
    assert not re.search(r"url\(|@import|expression\(", page.styles)
    policies = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv")]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert ("script" in policies[0]) == bool(page.all("script"))
    assert "http://" not in text
    assert "https://" not in text
    assert len(page.all("title")) == 1
    return page


def assert_headings_in_order(page: Parsed) -> None:
    """One h1, first, and no level left out."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels)), levels


#: Lowest contrast of any text on the page with what is behind it, and where (WCAG 2.2, 1.4.3).
_CONTRAST = """
(() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (let at = e; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  let worst = [99, ''];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || ['SCRIPT', 'STYLE'].includes(e.tagName) || !e.getClientRects().length) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, text.slice(0, 60)];
  }
  return worst;
})()
"""


#: Elements that scroll and that no key can reach.
_UNREACHED = """
[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1
  && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)
  && e.tabIndex < 0 && !e.querySelector('a, button, input, [tabindex="0"]')).map(e => e.outerHTML)
"""


def axe_script() -> str:
    """axe-core, as its Python package carries it; the package's own code needs a driver we have
    no use for."""
    found = find_spec("axe_core_python")
    assert found is not None, "axe-core-python is missing: see requirements-dev.txt"
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def assert_accessible(page: Page, path: Path) -> None:
    """axe-core finds nothing serious: by day on a laptop, by night on a phone."""
    for width, dark in ((1280, False), (390, True)):
        page.screen(width, 800, dark=dark).open(path)
        page.js(f"{axe_script()};true")
        passed, violations = page.js(
            "axe.run(document).then(r => [r.passes.length, r.violations"
            ".filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => [v.id, v.help, ...v.nodes.map(n => n.html.slice(0, 200))])])"
        )
        assert passed > 5, "axe-core looked at nothing"
        assert violations == [], (width, dark, violations)
        unreached = page.js(_UNREACHED)
        assert unreached == [], (width, dark, unreached)


def assert_good_in_browser(page: Page, path: Path) -> None:
    """Quiet, complete, readable on a phone, on paper, by day and by night."""
    page.screen(1366).open(path)
    assert page.outside == []
    assert page.complaints == []
    images: list[Any] = page.js(
        "[...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight, i.alt])"
    )
    for complete, width, height, alt in images:
        assert complete
        assert width > 10
        assert height > 10
        assert len(alt) > 20, alt
    for dark in (False, True):
        page.screen(390, 844, dark=dark).open(path)
        assert page.js("document.documentElement.scrollWidth") <= 390
        contrast, where = page.js(_CONTRAST)
        assert contrast >= 4.5, (dark, where)
        back = page.js("getComputedStyle(document.body).backgroundColor")
        red, green, blue = (int(v) for v in re.findall(r"\d+", back)[:3])
        assert (max(red, green, blue) < 60) == dark
        assert page.outside == []
        assert page.complaints == []
    # Tables wider than a phone scroll in their own frame, which can be reached by keyboard.
    assert page.js(
        "[...document.querySelectorAll('table')].every(t => t.closest('[tabindex=\"0\"]') ||"
        " t.scrollWidth <= t.parentElement.clientWidth)"
    )
    page.screen(1366)
    printed = page.pdf()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 1
