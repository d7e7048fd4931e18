"""What the drift page shows, gathered: the history, the books, what is live and its forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from mm.core.errors import CalibrationError
from mm.core.storage import AnyPath
from mm.pipeline.books import read_books
from mm.pipeline.moves import NIGHTS, Rows, model_of, nights
from mm.registry.ledger import Running, running, scores
from mm.registry.store import Registry, Release
from mm.report.compare import DISTANCES, near_middle_far, quoted
from mm.report.drift import DRIFT_NAME, render_drift
from mm.report.drift_panel import Course, Model, Night
from mm.report.words import moment
from mm.results.params import Params
from mm.results.record import Record, report_name, write_text

#: Of each score the end of its log, ms, and whether it missed.
Ends = Sequence[tuple[int, bool]]


def write_drift(out_dir: AnyPath, registry: AnyPath, folder: Path, now: datetime) -> None:
    """Write drift.html into ``folder``, which holds the books, from the history in ``out_dir`` and
    a registry, which may not be there; with fewer than two nights there is none.

    Raises CalibrationError or OSError if something can't be read or written.
    """
    of_symbols = nights(out_dir)
    days = sorted({day for rows in of_symbols.values() for day in rows})[-NIGHTS:]
    if len(days) < 2:
        (folder / DRIFT_NAME).unlink(missing_ok=True)
        return
    live = _Live.read(Registry(registry)) if isinstance(registry, Path) else _Live()
    books = read_books(folder)
    shown = {
        symbol: kept
        for symbol, rows in of_symbols.items()
        if (kept := {day: row for day, row in rows.items() if day >= days[0]})
    }
    courses = [
        _course(symbol, shown.get(symbol, {}), books.get(symbol), live, folder)
        for symbol in sorted({*shown, *live.versions})
    ]
    write_text(folder / DRIFT_NAME, render_drift(courses, days, now))


@dataclass(frozen=True)
class _Live:
    """What a registry says."""

    registry: Registry | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    candidates: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, Release] = field(default_factory=dict)
    fared: Mapping[str, tuple[Running, Ends]] = field(default_factory=dict)

    @staticmethod
    def read(registry: Registry) -> _Live:
        since: dict[str, Release] = {}
        for release in registry.journal():
            since |= dict.fromkeys(release.changed, release)
        fared = {
            symbol: (running(of), [(one.window_ms[1], one.missed) for one in of])
            for symbol, of in scores(registry).items()
        }
        return _Live(registry, registry.live(), registry.candidates(), since, fared)

    def params(self, symbol: str, version: str | None) -> tuple[Params | None, str]:
        """A version's parameters, or why they can't be read, without their long file name."""
        if self.registry is None or version is None:
            return None, ""
        try:
            return self.registry.params(symbol, version), ""
        except CalibrationError as error:
            return None, str(error).partition(".json: ")[2] or str(error)


def _course(symbol: str, rows: Rows, record: Record | None, live: _Live, folder: Path) -> Course:
    version, offered = live.versions.get(symbol), live.candidates.get(symbol)
    params, error = live.params(symbol, version)
    candidate, _ = live.params(symbol, None if offered == version else offered)
    last = rows[max(rows)] if rows else {}
    until = params.valid_until if params else _newest(rows, "valid_until")
    since = live.since.get(symbol)
    so_far, ends = live.fared.get(symbol, (None, ()))
    ticks = (record and record.tick_size, _newest(rows, "tick_size"), params and params.tick_size)
    live_model, offered_model = _of_params(params), _of_params(candidate)
    return Course(
        symbol=symbol,
        status=last.get("status", "missing"),
        reason=last.get("reason", "live, and in no batch of these nights") or "",
        codes=tuple((last.get("codes") or "").split()),
        nights=tuple(Night(day, model_of(rows[day])) for day in sorted(rows)),
        distances=near_middle_far(quoted(record) or quoted(params) or DISTANCES),
        tick_size=next((tick for tick in ticks if tick), 1.0),
        live=live_model,
        live_since=moment(since.when_utc) if since and version else None,
        live_error=error,
        candidate=None if offered_model == live_model else offered_model,
        valid_until=moment(until),
        forecasts=_forecasts(ends, rows),
        forecasts_line=so_far.line if so_far else "",
        finding=bool(so_far and so_far.finding),
        has_report=_has_report(folder, symbol),
    )


def _newest(rows: Rows, name: str) -> Any:
    """The last value that is there: a missing symbol's row has none."""
    return next(
        (rows[day][name] for day in sorted(rows, reverse=True) if rows[day].get(name)), None
    )


def _of_params(params: Params | None) -> Model | None:
    if params is None:
        return None
    cov = params.cov_logA_k and (*params.cov_logA_k[0], params.cov_logA_k[1][1])
    half_k = 0.5 * (params.ci95.k[1] - params.ci95.k[0]) if params.ci95 else None
    return Model(params.A, params.k, params.tick_size, cov, half_k)


def _forecasts(ends: Ends, rows: Rows) -> tuple[tuple[date, bool], ...]:
    """Scores on the first night that had their log, which ends as they do."""
    nights: dict[int, date] = {}
    for day in sorted(rows):
        if rows[day]["window_end_ms"] is not None:
            nights.setdefault(rows[day]["window_end_ms"], day)
    return tuple((nights[end], missed) for end, missed in ends if end in nights)


def _has_report(folder: Path, symbol: str) -> bool:
    inside = (folder / symbol).parent == folder and symbol not in ("", ".", "..")
    return inside and (folder / symbol / report_name(symbol)).is_file()
