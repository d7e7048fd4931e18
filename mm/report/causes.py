"""Lines with one cause told once: ``12 symbols refused: ...``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mm.report.compare import Line

NAMED, _LONGEST = 6, 240
_NUMBER = re.compile(r"[-+−]?\d[\d.,]*")


@dataclass(frozen=True)
class Cause:
    """Symbols of which one and the same thing is to be said; ``status``: empty where it is of the
    log alone; ``text``: as it is of the first."""

    status: str
    text: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        count = len(self.lines)
        who = shortened(self.lines[0].symbol, 80) if count == 1 else f"{count} symbols"
        names = [shortened(line.symbol, 40) for line in self.lines[:NAMED]]
        more = f" and {count - len(names)} more" if count > len(names) else ""
        listed = f" ({', '.join(names)}{more})" if count > 1 else ""
        said = ": ".join(filter(None, [f"{who} {self.status}".rstrip(), shortened(self.text)]))
        return f"{said}{listed}"


def causes(found: Iterable[Line]) -> list[Cause]:
    """What needs a person, the gravest first and of one gravity the commonest."""
    groups: dict[tuple[int, str], Cause] = {}
    for line in found:
        for gravity, key, status, text in _remarks(line):
            before = groups.get((gravity, key), Cause(status, text, ()))
            groups[gravity, key] = replace(before, lines=(*before.lines, line))
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1].lines)))
    return [cause for _, cause in ordered]


def _remarks(line: Line) -> Iterable[tuple[int, str, str, str]]:
    """Gravity, what makes two causes the same, status and words."""
    if line.status in _GRAVE:
        codes = [f.code for f in line.record.findings if f.level == "refused"]
        key = codes[0] if codes else without_its_own(line.reason, line.symbol)
        yield _GRAVE.index(line.status), key, line.status, line.reason
    if line.record.forecast:
        found = line.record.forecast
        yield len(_GRAVE), without_its_own(found, line.symbol), "", f"live parameters: {found}"
    if line.of_log:
        log = str(line.record.log)
        yield len(_GRAVE) + 1 + (_OF_LOG.index(log) if log in _OF_LOG else 2), "", "", line.of_log


_GRAVE: Sequence[str] = ("failed", "refused", "missing", "stale")
_OF_LOG: Sequence[str] = ("smaller", "unchanged")


def without_its_own(reason: str, symbol: str) -> str:
    """A reason without what is a symbol's own: its name and its numbers."""
    return _NUMBER.sub("#", reason.replace(symbol, "#"))


def shortened(text: str, longest: int = _LONGEST) -> str:
    """One line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest].rstrip()} …"
