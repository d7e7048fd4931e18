"""What a batch found against the one before: logs that are new, unchanged, smaller or gone, and how
old they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mm.core.errors import CalibrationError
from mm.core.expected import Expected
from mm.core.storage import AnyPath
from mm.pipeline.plan import Plan
from mm.pipeline.symbol import SymbolRun
from mm.registry.ledger import findings
from mm.registry.store import REGISTRY, Registry
from mm.results.record import Freshness, Record

#: A log that holds less than this share of the time of the one before has lost a part: half of a
#: log is found although nights differ in length by a third.
SMALLER = 2.0 / 3.0
#: The first and last of fewer fills lie anywhere: of 30, 6 % from the ends on average.
_TELLING_FILLS = 30


def absent(plan: Plan, previous: Mapping[str, Record], held: Collection[str]) -> list[str]:
    """The symbols that should be in a batch and have no files: those that the configuration names,
    and, unless it has ``expected:``, those of the batch before.

    ``held``: symbols of which there are results. A folder that shares no symbol with this one is
    another market's, and its symbols are none of this batch's.
    """
    names = set(plan.missing)
    if plan.all_symbols and plan.expected.symbols is None:
        folders = {plan.data_name, *(_folder(previous.get(s)) for s in plan.present)}
        names |= {
            symbol
            for symbol, record in previous.items()
            if symbol in held
            and symbol not in plan.present
            and (record.status == "missing" or _folder(record) in folders)
        }
    return sorted(names)


def _folder(record: Record | None) -> Any:
    return record.settings.get("BACKTEST_DIR") if record else None


def told(
    runs: Iterable[SymbolRun],
    previous: Mapping[str, Record],
    missing: Iterable[str],
    expected: Expected,
    now: datetime,
) -> dict[str, Record]:
    """The records of a batch as its books hold them."""
    found = {run.symbol: _of_run(run, previous.get(run.symbol), expected, now) for run in runs}
    return found | {s: _gone(previous.get(s), now) for s in missing if s not in found}


def _of_run(run: SymbolRun, before: Record | None, expected: Expected, now: datetime) -> Record:
    record = run.record
    freshness = _freshness(record, expected, now)
    stale = freshness is not None and freshness.status == "error"
    status = "stale" if stale and record.status in ("ok", "warn") else record.status
    same = run.skipped or (record.inputs_sha256 == (before.inputs_sha256 if before else None))
    log = None if record.status == "failed" else "new"
    if log and before is not None and same and record.inputs_sha256:
        log = "unchanged"
    elif log and before is not None and _lost_a_part(record, before):
        log = "smaller"
    return record.model_copy(update={"status": status, "log": log, "freshness": freshness})


def _lost_a_part(record: Record, before: Record) -> bool:
    """Whether any of its files ends much sooner after its first row than it did."""
    few = (before.n_fills or 0) < _TELLING_FILLS
    return any(
        record.spans_s.get(kind, span) < SMALLER * span
        for kind, span in before.spans_s.items()
        if not (few and kind == "fills")
    )


def _freshness(record: Record, expected: Expected, now: datetime) -> Freshness | None:
    if record.window_ms is None:
        return None
    age = now.timestamp() - record.window_ms[1] / 1000.0
    error, warn = expected.error_after_s, expected.warn_after_s
    if error is not None and age > error:
        return Freshness(age_s=age, status="error", limit_s=error)
    if warn is not None and age > warn:
        return Freshness(age_s=age, status="warn", limit_s=warn)
    return Freshness(age_s=age)


def _gone(before: Record | None, now: datetime) -> Record:
    """A missing symbol's old figures, with the date from which on it is missing."""
    since = before.missing_since_utc if before else None
    update = {
        "status": "missing",
        "log": None,
        "freshness": None,
        "missing_since_utc": since or now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return (before or Record(status="missing")).model_copy(update=update)


def with_forecasts(
    records: Mapping[str, Record], out_dir: AnyPath, trouble: Callable[[str], object]
) -> dict[str, Record]:
    """The records with what the ledger beside them has found of each symbol's forecasts; a line of
    trouble where it can't be read."""
    found: Mapping[str, str] = {}
    if isinstance(out_dir, Path) and (out_dir / REGISTRY).is_dir():
        try:
            found = findings(Registry(out_dir / REGISTRY))
        except CalibrationError as error:
            trouble(f"the forecast ledger can't be read: {error}")
    return {s: r.model_copy(update={"forecast": found.get(s)}) for s, r in records.items()}
