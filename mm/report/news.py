"""What a run's mail has to say: what changed, what needs a person, or that there is nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mm.core.formatting import figures
from mm.report import compare, words
from mm.report.compare import Line
from mm.results.record import Record

#: No list in a mail's body is longer, whatever the number of symbols.
MOST_LINES, WORST = 12, 5
_LONGEST = 240


@dataclass(frozen=True)
class News:
    """``changed`` and ``needed``: one sentence each; ``worst``: lines to be shown with numbers
    and a figure, none without any exposure; ``quiet``: the second of the two lines of a mail
    without news."""

    changed: tuple[str, ...]
    needed: tuple[str, ...]
    worst: tuple[Line, ...]
    quiet: str

    @property
    def none(self) -> bool:
        """Whether there is nothing that anybody must know."""
        return not (self.changed or self.needed)


def news_of(found: Sequence[Line], *, first_run: bool) -> News:
    """The news of all lines, gravest first."""
    current = [line for line in found if not line.older or line.status == "missing"]
    changed = [text for line in current if (text := _change(line, first_run=first_run))]
    needed = [_need(line) for line in _each_kind_first(current)]
    if first_run:
        changed.insert(0, f"First run: {compare.headline(current)}. There is nothing before it.")
    # One that has nothing to show stands among what needs a person, with its reason.
    measured = [line for line in current if line.record.exposure_s]
    worst = [line for line in measured if line.status != "ok" or _is_news(line)]
    return News(tuple(changed), tuple(needed), tuple(worst[:WORST]), _quiet(current))


def _each_kind_first(current: Sequence[Line]) -> list[Line]:
    """Failed, refused and missing lines, the gravest first. Where a bounded list can't hold all,
    a fair share of each kind comes before the rest."""
    kinds = [[x for x in current if x.status == s] for s in ("failed", "refused", "missing")]
    share = MOST_LINES // len(kinds) if sum(map(len, kinds)) > MOST_LINES else MOST_LINES
    first = [line for kind in kinds for line in kind[:share]]
    return first + [line for kind in kinds for line in kind[share:]]


def shortened(text: str, longest: int = _LONGEST) -> str:
    """One line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest].rstrip()} …"


def change_in_words(line: Line) -> str:
    """``+12 % (+2.1 SE)``; – where there is nothing to compare with."""
    change = line.change
    if change is None:
        return "new" if line.before is None and line.status != "missing" else "–"
    if change.same and abs(math.log(change.ratio)) < 1e-9:
        return "same data"
    z = "" if change.z is None else f" ({words.signed(change.z)} SE)"
    return words.times(change.ratio) + z


def _is_news(line: Line) -> bool:
    return line.change is not None and line.change.news


def _change(line: Line, *, first_run: bool) -> str:
    name = shortened(line.symbol, 80)
    if line.before is None:
        if first_run or line.status == "missing":
            return ""
        return f"{name}: new, {line.status}"
    parts = []
    if line.turned and line.status != "missing":
        parts.append(f"{line.status}, was {line.before.status}")
    if _is_news(line):
        parts.append(f"λ {change_in_words(line)}")
    if line.set_anew:
        parts.append(_set_anew(line, line.before))
    return f"{name}: {'; '.join(parts)}" if parts else ""


def _set_anew(line: Line, before: Record) -> str:
    """``MAX_DELTA_TICKS 50 → 20: A 1.00 → 1.20, k 0.300 → 0.310``."""
    changes = ", ".join(f"{n} {_value(a)} → {_value(b)}" for n, (a, b) in line.set_anew.items())
    numbers = [
        f"{name} {_number(then)} → {_number(now)}"
        for name, then, now in (("A", before.A, line.record.A), ("k", before.k, line.record.k))
        if then != now
    ]
    return f"{changes}: {', '.join(numbers) or 'A and k as before'}"


def _value(setting: object) -> str:
    if setting is None or setting == "":
        return "not set"
    return f"{setting:g}" if isinstance(setting, float) else shortened(str(setting), 40)


def _number(value: float | None) -> str:
    return "none" if value is None else figures(value)


def _need(line: Line) -> str:
    reason = shortened(line.reason)
    return f"{shortened(line.symbol, 80)} {line.status}" + (f": {reason}" if reason else "")


def _quiet(current: Sequence[Line]) -> str:
    changes = [line for line in current if line.change is not None and line.change.z]
    if not current:
        return "No symbol was run."
    if not changes:
        return "λ has not changed."
    largest = max(changes, key=lambda x: abs((x.change and x.change.z) or 0.0))
    return f"Largest change of λ: {shortened(largest.symbol, 80)} {change_in_words(largest)}."
