"""The first screen of a report: may it be used, what is it made of, what may a quote expect."""

from __future__ import annotations

from mm.core import formatting
from mm.core.formatting import duration, figures
from mm.report import words
from mm.results.params import QuotedIntensity
from mm.results.record import Record

#: A first screen has no room for more.
_MOST_REASONS = 3
_HORIZONS_S = (10.0,)
_MEANING = {
    "ok": "the parameters may be used",
    "warn": "the parameters may be used, knowing this",
    "refused": "there are no parameters, on purpose",
    "failed": "the calibration did not end",
}


def verdict(record: Record, link: str = "") -> str:
    """The status in a box with its reasons, a line each; ``link`` leads to all of them."""
    reasons = [r.split(". ")[0] for r in record.reasons]
    if record.error:
        reasons.append(record.error)
    lines = [words.text(words.sentence(r)) for r in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        left = len(reasons) - _MOST_REASONS
        lines.append(f"And {left} more: see Verdict.")
    lines = lines or ["No check found anything that matters."]
    more = f' <a href="{link}">What to do</a>' if link and reasons else ""
    listed = "".join(f"<p>{line}</p>" for line in lines)
    return (
        f'<div class="verdict {record.status}"><p><strong>{record.status}</strong> '
        f"<span>{_MEANING[record.status]}.{more}</span></p>{listed}</div>"
    )


def facts(record: Record) -> str:
    """What the log is and what was found in it, as a list of terms."""
    rows = [("Fills from", words.SOURCES.get(record.fill_source or "", record.fill_source or "–"))]
    if record.window_ms is not None:
        rows.append(("Data", words.window(record)))
        rows.append(("Age", words.age(record)))
    if record.n_fills is not None and record.exposure_s is not None:
        rested = f"in {duration(record.exposure_s)} of quotes resting"
        rows.append(("First fills", f"{record.n_fills:,} {rested}"))
    if record.A is not None and record.k is not None:
        rows.append(("A", f"{words.level(record)} per second, at mid"))
        tick = f" ({record.tick})" if record.tick else ""
        rows.append(("k", f"{words.decay(record)} per tick{tick}"))
    if record.lambda_upper is not None:
        limit = figures(3600.0 * record.lambda_upper)
        rows.append(("λ", f"at most {limit} fills per hour (95 %, no fill was seen)"))
    listed = "".join(f"<div><dt>{n}</dt><dd>{words.text(v)}</dd></div>" for n, v in rows)
    return f'<dl class="facts">{listed}</dl>'


def fills_per_hour(record: Record) -> str:
    """What a quote may expect at the distances that were quoted; empty without an estimate."""
    if not record.lambda_quoted:
        return ""
    head = (
        "δ, ticks",
        "per hour",
        "95 % interval",
        "observed",
        *(f"in {t:g} s" for t in _HORIZONS_S),
    )
    rows = [_at(row) for row in record.lambda_quoted]
    table = words.table(head, rows, "Fills per hour by distance")
    told = "Observed: fills per hour of this log there. In 10 s: chance of a fill within that time."
    if not all(row.quoted for row in record.lambda_quoted):
        told += " * Extrapolated."
    if record.status == "refused":
        told = "What the refused fit says, to show what is wrong with it: not to be used. " + told
    return (
        "<h2>Fills per hour of a resting quote, by distance from mid</h2>"
        f"{table}<p><small>{told}</small></p>"
    )


def _at(row: QuotedIntensity) -> tuple[str, ...]:
    ends = row.ci95
    return (
        f"{row.delta:g}" if row.quoted else f"{row.delta:g} *",
        formatting.rounded(row.per_hour, *ends) if ends else figures(row.per_hour),
        formatting.span(*ends) if ends else "–",
        "–" if row.observed_per_hour is None else figures(row.observed_per_hour),
        *(words.chance(row.chance_within(t)) for t in _HORIZONS_S),
    )


def predicted_and_observed(record: Record) -> str:
    """Fills that parameters would draw on this log against those it has; empty without them."""
    replayed = record.replay
    if replayed is None:
        return ""
    rows = [("observed", f"{replayed.observed:,}", "")]
    ours = "the refused fit" if record.status == "refused" else "these parameters"
    for who, number in (
        (ours, replayed.given),
        ("the original notebook's", replayed.given_by_original),
        ("parameters in use today", replayed.given_by_old_params),
    ):
        if number is not None:
            ratio = f"{number / replayed.observed:.2f}" if replayed.observed else ""
            rows.append((who, f"{number:,.0f}", ratio))
    if replayed.given_by_original is None:
        rows.append(("the original notebook's", "none", ""))
    return "<h2>Fills on this log, by the backtester's own rule</h2>" + words.table(
        ("from", "first fills", "over observed"),
        rows,
        "Fills predicted and observed",
    )


def figure_caption(record: Record) -> str:
    """What the figure of the first screen shows, with its numbers."""
    seen = f"Points: fills per second at each distance, {record.n_fills or 0:,} in all, with exact"
    told = f"{seen} 95 % intervals; triangles: nothing filled, at most so much."
    if record.A is not None and record.k is not None:
        told += f" Blue: the fit, A = {words.level(record)}, k = {words.decay(record)}."
    if record.original is not None:
        old = f"A = {figures(record.original.A)}, k = {figures(record.original.k)}"
        told += f" Dashed: the original notebook's {old}."
    return f"{told} Bars: how long quotes rested there."
