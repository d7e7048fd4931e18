"""The first screen of a report: may it be used, what is it made of, what may a quote expect."""

from __future__ import annotations

from mm.headline import AtDistance, figures, percent
from mm.params import QuotedIntensity
from mm.record import Record
from mm.report import words
from mm.show import duration

_HORIZONS_S = (10.0, 60.0)
_MEANING = {
    "ok": "the parameters may be used",
    "warn": "the parameters may be used, knowing this",
    "refused": "there are no parameters, on purpose",
    "failed": "the calibration did not end",
}


def verdict(record: Record, link: str = "") -> str:
    """The status in a box with its first reason; ``link`` leads to all of them."""
    reasons = [r.split(". ")[0] for r in record.reasons] or ([record.error] if record.error else [])
    line = words.text(reasons[0]) + "." if reasons else "No check found anything that matters."
    others = "".join(f"<li>{words.text(r)}.</li>" for r in reasons[1:])
    if others:
        line += f"</p><p>And:</p><ul>{others}</ul><p>"
    more = f' <a href="{link}">What to do</a>' if link and reasons else ""
    return (
        f'<div class="verdict {record.status}"><p><strong>{record.status}</strong> '
        f"<span>{_MEANING[record.status]}</span></p><p>{line}{more}</p></div>"
    )


def facts(record: Record) -> str:
    """What the log is and what was found in it, as a list of terms."""
    rows = [("Fills from", words.SOURCES.get(record.fill_source or "", record.fill_source or "–"))]
    if record.window_ms is not None:
        rows.append(("Data", f"{words.window(record)}; {words.age(record)}".rstrip("; ")))
    if record.n_fills is not None and record.exposure_s is not None:
        rested = f"in {duration(record.exposure_s)} of quotes resting"
        rows.append(("First fills", f"{record.n_fills:,} {rested}"))
    if record.A is not None and record.k is not None:
        ends = record.ci95
        rows.append(("A", f"{words.estimate(record.A, ends and ends.A)} per second, at mid"))
        tick = f" of {record.tick_size:g}" if record.tick_size else ""
        rows.append(("k", f"{words.estimate(record.k, ends and ends.k)} per tick{tick}"))
    if record.lambda_upper is not None:
        limit = figures(3600.0 * record.lambda_upper)
        rows.append(("λ", f"at most {limit} fills per hour (95 %, no fill was seen)"))
    listed = "".join(f"<div><dt>{n}</dt><dd>{words.text(v)}</dd></div>" for n, v in rows)
    return f'<dl class="facts">{listed}</dl>'


def fills_per_hour(record: Record) -> str:
    """What a quote may expect at the distances that were quoted; empty without an estimate."""
    if not record.lambda_quoted:
        return ""
    head = ("δ, ticks", "fills per hour", "95 % interval") + tuple(
        f"filled in {t:g} s" for t in _HORIZONS_S
    )
    rows = [_at(row) for row in record.lambda_quoted]
    return "<h2>Fills per hour, by distance from mid</h2>" + words.table(
        head, rows, "Fills per hour by distance"
    )


def _at(row: QuotedIntensity) -> tuple[str, ...]:
    rate = row.per_hour / 3600.0
    ends = row.ci95
    mark = "" if row.quoted else " <small>extrapolated</small>"
    return (
        f"{row.delta:g}{mark}",
        words.rounded(row.per_hour, *ends) if ends else figures(row.per_hour),
        words.span(*ends) if ends else "–",
        *(percent(AtDistance.within(rate, t)) for t in _HORIZONS_S),
    )


def predicted_and_observed(record: Record) -> str:
    """Fills that parameters would draw on this log against those it has; empty without them."""
    trip = record.round_trip
    if trip is None:
        return ""
    rows = [("observed in the log", f"{trip.observed:,}", "")]
    for who, number in (
        ("these parameters", trip.predicted),
        ("the original notebook's", trip.predicted_by_original),
        ("parameters in use today", trip.predicted_by_old_params),
    ):
        if number is not None:
            ratio = f"{number / trip.observed:.2f} ×" if trip.observed else ""
            rows.append((who, f"{number:,.0f}", ratio))
    if trip.predicted_by_original is None:
        rows.append(("the original notebook's", "none", ""))
    return "<h2>Fills predicted and observed</h2>" + words.table(
        ("by the backtester's own rule", "first fills", "of observed"),
        rows,
        "Fills predicted and observed",
    )
