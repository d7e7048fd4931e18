"""What the drift page shows, gathered from the history, the books and the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mm.core.errors import CalibrationError
from mm.pipeline.books import read_books
from mm.pipeline.history import HISTORY, read
from mm.registry.ledger import scores
from mm.registry.store import REGISTRY, Registry
from mm.report.drift import DRIFT_NAME, MOST_NIGHTS, Drift, Forecast, Night, render_drift
from mm.results.record import Record, report_name, write_text

_COLUMNS = (
    *("symbol", "batch_utc", "status", "finished_utc", "A", "k", "tick_size"),
    *("var_logA", "cov_logA_k", "var_k"),
)
#: Ticks from mid, where nothing says at which distances orders were quoted.
_TICKS = (1.0, 2.0, 5.0)


def write_drift(out_dir: Path, now: datetime, registry: Path | None = None) -> None:
    """Write ``drift.html`` of the symbols in the books; nothing where there is no history.

    Raises CalibrationError for a registry that was altered, OutputError.
    """
    if not (out_dir / HISTORY).is_dir():
        return
    nights: dict[str, list[Night]] = {}
    seen = set()
    rows = read(out_dir, MOST_NIGHTS).select(_COLUMNS).sort_by("batch_utc").to_pylist()
    for row in rows:
        fit = (row["symbol"], row["finished_utc"])
        # A log that has not changed is no other night, but a trouble is.
        if row["A"] is not None and fit in seen:
            nights[row["symbol"]].pop()
        seen.add(fit)
        nights.setdefault(row["symbol"], []).append(_night(row))
    books = read_books(out_dir)
    kept = Registry(registry or out_dir / REGISTRY)
    links = {
        symbol: f"{quote(symbol)}/{quote(report_name(symbol))}"
        for symbol in books
        if (out_dir / symbol / report_name(symbol)).is_file()
    }
    shown = {symbol: of_symbol for symbol, of_symbol in nights.items() if symbol in books}
    drifts = _of_registry(kept, shown, books, links)
    write_text(out_dir / DRIFT_NAME, render_drift(drifts, now))


def _night(row: Mapping[str, Any]) -> Night:
    known = row["status"] not in ("failed", "missing", "refused")
    cov = tuple(row[name] for name in ("var_logA", "cov_logA_k", "var_k"))
    return Night(
        datetime.fromisoformat(row["batch_utc"]),
        row["status"],
        row["A"] if known else None,
        row["k"] if known else None,
        row["tick_size"],
        None if None in cov else cov,
    )


def _of_registry(
    registry: Registry,
    nights: Mapping[str, Sequence[Night]],
    books: Mapping[str, Record],
    links: Mapping[str, str],
) -> list[Drift]:
    live, offered = registry.live(), registry.candidates()
    since: dict[str, str] = {}
    for release in registry.journal():
        since |= dict.fromkeys(release.changed, release.when_utc)
    forecasts: dict[str, list[Forecast]] = {}
    for score in scores(registry):
        at = datetime.fromtimestamp(score.window_ms[1] / 1000.0, UTC)
        forecasts.setdefault(score.symbol, []).append(Forecast(at, not score.missed))
    found = []
    for symbol, of_symbol in nights.items():
        night, until, trouble = None, None, books[symbol].forecast or ""
        if symbol in live:
            try:
                params = registry.params(symbol, live[symbol])
                when = datetime.fromisoformat(since[symbol])
                night = Night(when, params.quality, params.A, params.k, params.tick_size)
                until = datetime.fromisoformat(params.valid_until) if params.valid_until else None
            except CalibrationError as error:
                trouble = str(error)
        first = of_symbol[0].at
        found.append(
            Drift(
                symbol,
                of_symbol,
                _distances(books[symbol]),
                links.get(symbol, ""),
                night,
                until,
                waiting=symbol in live and offered.get(symbol, live[symbol]) != live[symbol],
                forecasts=[f for f in forecasts.get(symbol, ()) if f.at >= first],
                trouble=trouble,
            )
        )
    return found


def _distances(record: Record) -> list[tuple[float, str]]:
    """The nearest, the middle and the farthest distance that was quoted, in price."""
    tick = record.tick_size or 1.0
    quoted = [row.delta for row in record.lambda_quoted if row.quoted] or list(_TICKS)
    chosen = dict.fromkeys((quoted[0], quoted[len(quoted) // 2], quoted[-1]))
    return [(ticks * tick, f"{ticks:g} tick{'' if ticks == 1 else 's'}") for ticks in chosen]
