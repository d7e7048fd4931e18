"""Results of the steps as the numbers that are written, None where JSON has no word for them."""

from __future__ import annotations

import math

from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.replay import Replay, ReplayRows
from mm.diagnostics.verdict import Verdict
from mm.fitting.estimate import Estimate
from mm.fitting.fit import Fit
from mm.results.params import (
    Candidate,
    FindingNumbers,
    IntensityAt,
    Intervals,
    MidClockNumbers,
    PassiveFit,
    PlainNumbers,
    QuotedIntensity,
    ReplayNumbers,
    ReplayRow,
    ThroughNumbers,
)


def replay_numbers(found: Diagnostics, *, by_fill: bool = True) -> ReplayNumbers:
    """Given and observed fills, in total, by placement distance and, if asked for, by distance at
    the fill."""
    ours = found.replay
    low, high = ours.total.interval
    return ReplayNumbers(
        given=ours.given,
        observed=ours.observed,
        ci95=(int(low[0]), int(high[0])),
        given_by_original=_total(found.replay_original),
        given_by_old_params=_total(found.replay_old),
        by_placement=_rows(ours.by_placement.merged()),
        by_fill=_rows(ours.by_fill.merged()) if by_fill else (),
    )


def _rows(rows: ReplayRows) -> tuple[ReplayRow, ...]:
    low, high = rows.interval
    return tuple(
        ReplayRow(
            from_delta=int(rows.low[i]),
            to_delta=int(rows.high[i]),
            orders=int(rows.orders[i]) if rows.by == "placement" else None,
            rest_s=float(rows.rest_s[i]) if rows.by == "placement" else None,
            observed=int(rows.observed[i]),
            given=float(rows.given[i]),
            ci95=(int(low[i]), int(high[i])),
            inside=bool(rows.inside[i]),
        )
        for i in range(len(rows.low))
    )


def quoted_intensities(found: Diagnostics) -> tuple[QuotedIntensity, ...]:
    """The headline's rows as they are written."""
    return tuple(
        QuotedIntensity(
            delta=row.delta,
            per_hour=row.per_hour,
            ci95=pair(3600.0 * row.interval[0], 3600.0 * row.interval[1]),
            quoted=row.quoted,
            observed_per_hour=None if row.seen is None else finite(3600.0 * row.seen),
        )
        for row in found.rates.rows
    )


def _total(replayed: Replay | None) -> float | None:
    return None if replayed is None else finite(replayed.given)


def pair(low: float, high: float) -> tuple[float, float] | None:
    """Both ends of an interval, None where one is not finite."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def original_numbers(estimate: Estimate) -> PlainNumbers | None:
    """The original notebook's A and k, None where it raises or they are no numbers."""
    fit = estimate.original
    if fit is None or not (math.isfinite(fit.A) and math.isfinite(fit.k)):
        return None
    return PlainNumbers(A=fit.A, k=fit.k)


def best_known(fit: Fit) -> IntensityAt:
    """Intensity at the distance where it is known best."""
    star = fit.delta_star
    return IntensityAt.model_validate(
        {"delta_star": star, "lambda": fit.intensity(star), "ci95": fit.interval(star)}
    )


def passive_fit(fit: Fit | None) -> PassiveFit | None:
    """The passive fit as it is written, None where there is none."""
    if fit is None:
        return None
    ci95 = Intervals(A=fit.ci_A, k=fit.ci_k)
    return PassiveFit(A=fit.A, k=fit.k, ci95=ci95, n_fills=fit.n_events)


def finding_numbers(verdict: Verdict) -> tuple[FindingNumbers, ...]:
    """Reasons and notes with their codes, the gravest first."""
    return tuple(
        FindingNumbers(
            level=f.level,
            code=f.code,
            text=str(f),
            number=None if f.number is None else finite(f.number),
            threshold=f.threshold,
        )
        for f in verdict.findings
    )


def mid_clock_numbers(found: Diagnostics) -> MidClockNumbers | None:
    """The clock of mid, None where rows are trials or no order rested."""
    clock = found.clock
    if clock is None or not math.isfinite(clock.median_ms):
        return None
    rows = [
        {
            "every": t.every,
            "A": t.fit and finite(t.fit.A),
            "k": t.fit and finite(t.fit.k),
            "lambda": t.fit and finite(t.fit.intensity(found.halves.delta)),
        }
        for t in clock.thinned
    ]
    return MidClockNumbers.model_validate(
        {
            "at_delta": found.halves.delta,
            "median": clock.median_ms,
            "p95": clock.gap95_ms,
            "thinned": rows,
        }
    )


def through_numbers(estimate: Estimate) -> ThroughNumbers | None:
    """The rate of quotes that mid has run through, None in a log that knows no sides of mid."""
    through = estimate.through
    if through is None:
        return None
    low, high = through.interval
    return ThroughNumbers.model_validate(
        {
            "lambda": finite(through.rate),
            "ci95": (low, high) if math.isfinite(high) else None,
            "n_fills": through.n_events,
            "exposure_s": through.exposure_s,
        }
    )


def candidate_numbers(estimate: Estimate) -> dict[str, Candidate]:
    """Every fit that could be emitted, by name."""
    return {
        name: Candidate(A=fit.A, k=fit.k, cov_logA_k=fit.cov)
        for name, fit in estimate.candidates.items()
    }


def intervals(fit: Fit) -> Intervals | None:
    """95 % intervals of a fit, None where it has no valid one."""
    return None if fit.se_type == "none" else Intervals(A=fit.ci_A, k=fit.ci_k)


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None
