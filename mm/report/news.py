"""What a run's mail has to say: what changed, what needs a person, or that there is nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mm.core.formatting import figures
from mm.report import words
from mm.report.causes import NAMED, Cause, causes, shortened
from mm.report.compare import Line
from mm.results.record import Record

#: No list in a mail's body is longer, whatever the number of symbols.
MOST_LINES, WORST = 12, 5
#: Their reports say more than a line can; of a log that is missing there is nothing new to read.
_TO_READ = ("failed", "refused", "stale")


@dataclass(frozen=True)
class News:
    """``changed`` and ``needed``: one sentence each; ``concerned``: symbols whose report is
    to be read; ``shown``: lines with numbers, none without any exposure, of which the first WORST
    have a figure; ``quiet``: what is said beside the counts without news."""

    changed: tuple[str, ...]
    needed: tuple[str, ...]
    concerned: tuple[str, ...]
    shown: tuple[Line, ...]
    quiet: str

    @property
    def none(self) -> bool:
        """Whether there is nothing that anybody must know."""
        return not (self.changed or self.needed)


def news_of(current: Sequence[Line], *, first_run: bool) -> News:
    """The news of a batch's lines, gravest first. A first run shows numbers of all that fit."""
    found = causes(current)
    moved = [] if first_run else [(line, text) for line in current for text in _moves(line)]
    turned = [] if first_run else [(line, text) for line in current for text in _changes(line)]
    changed = [str(cause) for cause in _with_one_text(turned)]
    single = [str(Cause("", f"λ {text}", (line,))) for line, text in moved]
    changed += single if len(changed) + len(single) <= MOST_LINES else [_together(moved)]
    if first_run:
        changed.insert(0, "First run: there is nothing before it to compare with.")
    told = {line.symbol for line, _ in (*turned, *moved)}
    concerned = [
        line.symbol
        for line in current
        if line.symbol in told
        or line.status in _TO_READ
        or line.record.log == "smaller"
        or line.record.forecast
    ]
    # One that has nothing to show stands among what needs a person, with its reason; of those that
    # have one cause, one is enough.
    measured = [line for line in current if line.record.exposure_s]
    worst = _one_of_each(line for line in measured if line.status != "ok" or _is_news(line))
    rest = [line for line in measured if line not in worst] if first_run else []
    return News(
        tuple(changed),
        tuple(str(cause) for cause in _each_gravity_first(found)),
        tuple(concerned),
        tuple([*worst[:WORST], *rest][: MOST_LINES if first_run else WORST]),
        _quiet(current),
    )


def _with_one_text(moved: Iterable[tuple[Line, str]]) -> list[Cause]:
    """Changes that are told in the same words, together, the commonest first."""
    found: dict[str, Cause] = {}
    for line, text in moved:
        before = found.get(text, Cause("", text, ()))
        found[text] = replace(before, lines=(*before.lines, line))
    return sorted(found.values(), key=lambda cause: -len(cause.lines))


def _together(moved: Sequence[tuple[Line, str]]) -> str:
    """Moves of λ in one line: ``λ of 14 symbols: AAA +40 % (+6.1 SE), … and 8 more``."""
    named = [f"{shortened(line.symbol, 40)} {text}" for line, text in moved[:NAMED]]
    more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    symbols = len({line.symbol for line, _ in moved})
    return f"λ of {symbols} symbols: {', '.join(named)}{more}"


def _one_of_each(found: Iterable[Line]) -> list[Line]:
    """The first line of each status and cause, and each line whose λ is news."""
    seen = set()
    kept = []
    for line in found:
        codes = tuple(f.code for f in line.record.findings if f.level != "note")[:1]
        cause = line.symbol if _is_news(line) else (line.status, codes or line.reason)
        if cause not in seen:
            kept.append(line)
        seen.add(cause)
    return kept


def _each_gravity_first(found: Sequence[Cause]) -> list[Cause]:
    """The gravest causes first. Where a bounded list can't hold all, a fair share of each status
    comes before the rest."""
    if len(found) <= MOST_LINES:
        return list(found)
    kinds = list(dict.fromkeys(cause.status for cause in found))
    share = MOST_LINES // len(kinds)
    first = [c for kind in kinds for c in [x for x in found if x.status == kind][:share]]
    return first + [cause for cause in found if cause not in first]


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


def _changes(line: Line) -> list[str]:
    """What has become of a symbol, each in words that another may have too."""
    if line.status == "missing":
        return []
    if line.before is None:
        return [f"new, {line.status}"]
    turned = [f"{line.status}, was {line.turned}"] if line.turned else []
    return turned + ([_set_anew(line, line.before)] if line.set_anew else [])


def _moves(line: Line) -> list[str]:
    """How much larger its λ is than in the batch before, and than some nights ago, where that is
    news."""
    if line.status == "missing" or line.before is None:
        return []
    moved = [change_in_words(line)] if _is_news(line) else []
    return moved + ([line.drift.removeprefix("λ ")] if line.drift else [])


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


def _quiet(current: Sequence[Line]) -> str:
    changes = [line for line in current if line.change is not None and line.change.z]
    if not current:
        return "No symbol was run."
    said = "λ has not changed."
    if changes:
        largest = max(changes, key=lambda x: abs((x.change and x.change.z) or 0.0))
        said = f"Largest change of λ: {shortened(largest.symbol, 80)} {change_in_words(largest)}."
    once = [(line, line.status) for line in current if line.for_one_night]
    return " ".join([said, *(f"For this night {cause}." for cause in _with_one_text(once))])
