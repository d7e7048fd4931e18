"""The first line of a batch, the same on the console, in the mail, on the index and in run.json:
which logs are new, unchanged, missing or failed, and how old the oldest data are."""

from __future__ import annotations

from collections.abc import Iterable

from mm.core.formatting import age
from mm.results.record import Record

#: Every symbol of a batch is one of these; ``new`` is said even of none.
_KINDS = ("new", "unchanged", "missing", "stale", "refused", "failed")


def counts(records: Iterable[Record]) -> dict[str, int]:
    """How many symbols of a batch there are of each kind; a much smaller log is new or refused."""
    found = [_kind(record) for record in records]
    return {kind: found.count(kind) for kind in _KINDS}


def _kind(record: Record) -> str:
    if record.status in ("missing", "stale", "refused", "failed"):
        return record.status
    return "unchanged" if record.log == "unchanged" else "new"


def first_line(records: Iterable[Record]) -> str:
    """``new 56, unchanged 2, missing 1, failed 1, much smaller 1, oldest data 26 h``."""
    every = list(records)
    parts = [f"{kind} {n}" for kind, n in counts(every).items() if n or kind == "new"]
    smaller = sum(record.log == "smaller" for record in every)
    if smaller:
        parts.append(f"much smaller {smaller}")
    ages = [r.freshness.age_s for r in every if r.freshness]
    if ages:
        late = sum(r.freshness is not None and r.freshness.status == "warn" for r in every)
        beyond = f" ({late} beyond warn_after)" if late else ""
        parts.append(f"oldest data {age(max(ages))}{beyond}")
    return ", ".join(parts)
