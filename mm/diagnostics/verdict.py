"""The verdict: whether the numbers may be used, apart from the numbers themselves.

``refused`` means no parameters are written; ``warn`` means they do, with a reason whose
size matters; a ``note`` is worth knowing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mm.core.display import Paragraph, Table, html

Status = Literal["ok", "warn", "refused"]
Level = Literal["refused", "warn", "note"]
_RANK: dict[Level, int] = {"refused": 0, "warn": 1, "note": 2}
_COLOUR: dict[Status, str] = {"ok": "#1b7a4b", "warn": "#a15c00", "refused": "#b3261e"}


@dataclass(frozen=True)
class Finding:
    """One thing found: ``what`` carries the number, then its likely cause and its remedy.

    ``code``: stable, listed in docs/verdict.md. ``number``: what was compared, ``threshold``: with
    what, in words; where one number decides.
    """

    level: Level
    code: str
    what: str
    cause: str = ""
    remedy: str = ""
    number: float | None = None
    threshold: str = ""

    def __str__(self) -> str:
        return ". ".join(part for part in (self.what, self.cause, self.remedy) if part)


@dataclass(frozen=True, repr=False)
class Verdict:
    """``status`` with every finding, the gravest first."""

    status: Status
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Verdict:
        """The verdict that follows from the findings: the gravest level decides."""
        ordered = tuple(sorted(findings, key=lambda f: _RANK[f.level]))
        status: Status = "ok"
        if ordered and ordered[0].level != "note":
            status = "refused" if ordered[0].level == "refused" else "warn"
        return cls(status, ordered)

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """What made it a refusal or a warning."""
        return tuple(f for f in self.findings if f.level != "note")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is worth knowing beside."""
        return tuple(f for f in self.findings if f.level == "note")

    @property
    def line(self) -> str:
        """The status with its first reason, one line."""
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return f"{self.status}: {self.reasons[0].what}{more}" if self.reasons else self.status

    def __repr__(self) -> str:
        return f"<Verdict {self.line}>"

    def _repr_html_(self) -> str:
        rest = self.line[len(self.status) :]
        rows = [(f.level, f.what, f.cause, f.remedy) for f in self.findings]
        return html(
            Paragraph(self.status, rest, _COLOUR[self.status]),
            Table(("", "what", "cause", "what to do"), rows, "Findings"),
        )
