"""What every page of ours has around it: one look, a policy that lets nothing load."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mm.report import words

TEMPLATES = Path(__file__).parent / "templates"
#: Nothing but images that are in the file, and its own style.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@cache
def stylesheet() -> str:
    """The CSS that every page carries."""
    return (TEMPLATES / "mm" / "style.css").read_text(encoding="utf-8")


def page(title: str, status: str, body: str, *, style: str = "", policy: str = POLICY) -> str:
    """A page in the reports' look. ``title`` and ``status`` are text, ``body`` is HTML that comes
    after the heading; ``style`` is CSS beyond the common one."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{words.text(title)}: {words.text(status)}</title>\n"
        f"<style>\n{stylesheet()}{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{words.name(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
