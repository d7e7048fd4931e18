"""The first screen of a report: may it be used, what is it made of, what may a quote expect."""

from __future__ import annotations

from dataclasses import dataclass

from mm.core import formatting
from mm.core.display import Cell, Table
from mm.core.formatting import duration, figures, ranged, ticks_between
from mm.core.settings import SOURCES
from mm.report import words
from mm.results.params import QuotedIntensity, ReplayRow
from mm.results.record import Record

#: A first screen has no room for more.
_MOST_REASONS = 3
_HORIZON_S = 10.0
_MEANING = {
    "ok": "the parameters may be used",
    "warn": "the parameters may be used, knowing this",
    "refused": "there are no parameters, on purpose",
    "failed": "the calibration did not end",
}


@dataclass(frozen=True)
class Box:
    """A status, what it means and why; ``link`` leads to what to do."""

    status: str
    meaning: str
    lines: tuple[str, ...]
    link: str = ""


def verdict(record: Record, link: str = "") -> Box:
    """The status in a box with its reasons, a line each; ``link`` leads to all of them."""
    reasons = [r.split(". ")[0] for r in record.reasons]
    if record.error:
        reasons.append(record.error)
    lines = [words.sentence(r) for r in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        left = len(reasons) - _MOST_REASONS
        lines.append(f"And {left} more: see Verdict.")
    lines = lines or ["No check found anything that matters."]
    return Box(record.status, f"{_MEANING[record.status]}.", tuple(lines), link if reasons else "")


def facts(record: Record, method: str = "") -> list[tuple[str, str]]:
    """What the log is and what was found in it, as a list of terms. ``method``: by which A and k
    were fitted; empty where they are not to be used."""
    market = str(record.settings.get("MARKET") or "")
    rows = [("Market", market)] if market else []
    if record.window_ms is not None:
        rows.append(("Data", words.window(record)))
    rows.append(("Calibrated", words.calibrated(record)))
    if record.fill_source:
        rows.append(("Fills from", SOURCES[record.fill_source]))
    if record.virtual_orders:
        rows.append(("Placed as", record.virtual_orders))
    rows += _queue(record)
    if record.n_fills is not None and record.exposure_s is not None:
        rested = f"in {duration(record.exposure_s)} of quotes resting"
        rows.append(("Orders filled", f"{record.n_fills:,} {rested}"))
    if record.A is not None and record.k is not None:
        of = f" ({record.tick})" if record.tick else ""
        by = f"; {method}, {record.dt_ms} ms a draw" if method else ""
        values = f"A = {words.level(record)} per second at mid, "
        values += f"k = {words.decay(record)} per tick{of}{by}"
        rows.append(("For your backtester" if method else "A, k", values))
    through = record.through
    if through is not None and through.rate is not None and through.n_fills:
        value = ranged(through.rate, *through.ci95) if through.ci95 else figures(through.rate)
        rows.append(("Price crossed your quote", f"{value} fills per second from then on"))
    if record.lambda_upper is not None:
        limit = figures(3600.0 * record.lambda_upper)
        rows.append(("λ", f"at most {limit} fills per hour (95 %, no fill was seen)"))
    return rows


def _queue(record: Record) -> list[tuple[str, str]]:
    """What virtual orders at the front and at the back of the queue would have seen."""
    rates = {(one.fill_rule, one.horizon_ms): one.rate for one in record.alternatives}
    for one in record.alternatives:
        front = rates.get(("at", one.horizon_ms))
        if one.fill_rule == "through" and one.rate is not None and front is not None:
            seen = f"{figures(3600.0 * front)} fills per hour at its front"
            seen += f", {figures(3600.0 * one.rate)} at its back"
            return [("Queue", f"at {one.delta:g} ticks {seen}")]
    return []


def fills_per_hour(record: Record) -> Table:
    """What a quote may expect at the distances that were quoted; empty without an estimate."""
    head = ("δ, ticks (bps)", "per hour", "95 % interval", "observed", f"in {_HORIZON_S:g} s")
    note = "Observed: fills per hour of this log there. In 10 s: chance of a fill within that time."
    if not all(row.quoted for row in record.lambda_quoted):
        note += " * Extrapolated."
    if record.status == "refused":
        note = "What the refused fit says, to show what is wrong with it: not to be used. " + note
    rows = [_at(row, words.bps(record, row.delta)) for row in record.lambda_quoted]
    return Table(head, rows, "Fills per hour by distance", note)


def _at(row: QuotedIntensity, bps: str) -> tuple[Cell, ...]:
    ends = row.ci95
    ticks = f"{row.delta:g}" if row.quoted else f"{row.delta:g} *"
    return (
        (ticks, bps) if bps != "–" else ticks,
        formatting.rounded(row.per_hour, *ends) if ends else figures(row.per_hour),
        formatting.span(*ends) if ends else "–",
        "–" if row.observed_per_hour is None else figures(row.observed_per_hour),
        words.chance(row.chance_within(_HORIZON_S)),
    )


def replay(record: Record) -> Table:
    """Orders filled on this log by the backtester's own rule, by where they were placed, against
    those that the log has filled; the last row is all of them. Empty without parameters."""
    found = record.replay
    head = ("placed at", "orders", "rested", "filled", "replay, 95 %", "")
    if found is None:
        return Table(head, ())
    rows: list[tuple[Cell, ...]] = [_placed(row) for row in found.by_placement]
    low, high = found.ci95
    rows.append(
        (
            "all",
            "",
            "",
            f"{found.observed:,}",
            (f"{found.given:,.0f}", f"{low:,}–{high:,}"),
            _mark(low <= found.observed <= high),
        )
    )
    note = (
        "Placed at: ticks from mid. Filled: by this log. Replay: by these parameters, same quotes."
    )
    if record.status == "refused":
        note = note.replace("these parameters", "the refused fit")
    for whose, number in (
        ("The log-linear fit that this replaces", found.given_by_original),
        ("Parameters in use today", found.given_by_old_params),
    ):
        if number is not None:
            note += f" {whose}: {number:,.0f} in all."
    return Table(head, rows, "Replay by placement distance", note)


def _placed(row: ReplayRow) -> tuple[Cell, ...]:
    low, high = row.ci95
    return (
        "unknown" if row.from_delta < 0 else ticks_between(row.from_delta, row.to_delta),
        "" if row.orders is None else f"{row.orders:,}",
        "" if row.rest_s is None else duration(row.rest_s),
        f"{row.observed:,}",
        (figures(row.given), f"{low:,}–{high:,}"),
        _mark(row.inside),
    )


def _mark(inside: bool) -> str:
    return "✓" if inside else "✗ outside"


def figure_caption(record: Record) -> str:
    """What the figure of the first screen shows, with its numbers."""
    seen = f"Points: fills per second at each distance, {record.n_fills or 0:,} in all, with exact"
    text = f"{seen} 95 % intervals; triangles: nothing filled, at most so much."
    if record.A is not None and record.k is not None:
        text += " Blue: the fit; for your backtester "
        text += f"A = {words.level(record)}, k = {words.decay(record)}."
    if record.original is not None:
        old = f"A = {figures(record.original.A)}, k = {figures(record.original.k)}"
        text += f" Dashed: {old} of the log-linear fit that this replaces (“original notebook”)."
    return f"{text} Bars: how long quotes rested there."
