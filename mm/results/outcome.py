"""One symbol's calibration, whole, and what it leaves: parameters, record and points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mm.core.display import html
from mm.core.errors import CalibrationError
from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.tables import summary
from mm.diagnostics.verdict import Verdict
from mm.exposure.accounts import Accounts
from mm.fitting.estimate import Estimate
from mm.fitting.intensity import THROUGH, EmpiricalIntensity
from mm.logs.files import KINDS
from mm.logs.load import BacktestLog
from mm.quotes.optimal import OptimalQuotes
from mm.results.numbers import (
    best_known,
    candidate_numbers,
    finding_numbers,
    finite,
    intervals,
    mid_clock_numbers,
    original_numbers,
    pair,
    passive_fit,
    quoted_intensities,
    replay_numbers,
    through_numbers,
)
from mm.results.params import (
    AlternativeNumbers,
    BlockEffectNumbers,
    GoodnessOfFit,
    Intervals,
    OutOfSampleNumbers,
    Params,
    PlainNumbers,
    PredictiveNumbers,
    SideNumbers,
    versions,
)
from mm.results.record import Outcome, Record
from mm.tape.log import TapeLog


@dataclass(frozen=True, repr=False)
class Calibration:
    """Everything one symbol's calibration found; ``params`` is None where it is refused."""

    settings: Settings
    log: BacktestLog
    accounts: Accounts
    intensity: EmpiricalIntensity
    estimate: Estimate
    diagnostics: Diagnostics | None
    verdict: Verdict
    params: Params | None
    quotes: OptimalQuotes | None = None

    def __repr__(self) -> str:
        return f"<Calibration {self.log.symbol}: {self.verdict.line}>"

    def points_csv(self) -> str:
        """The empirical intensities as CSV text, with the fitted one beside them."""
        points, fit, through = self.intensity.points, self.estimate.fit, self.estimate.through
        fitted = points["delta_mean"].map(lambda d: math.nan if fit is None else fit.intensity(d))
        if through is not None:  # one rate of its own, whatever the distance
            fitted = fitted.mask(points["delta_bucket"] == THROUGH, through.rate)
        return points.assign(lambda_fit=fitted).to_csv(index=False, lineterminator="\n")

    def _repr_html_(self) -> str:
        parts = (self.log, self.accounts, self.estimate, self.diagnostics, self.verdict)
        return html(summary(*parts))


def make_params(
    settings: Settings,
    log: BacktestLog,
    tick_size: float,
    estimate: Estimate,
    found: Diagnostics | None,
    verdict: Verdict,
) -> Params:
    """Parameters from an estimate that was not refused.

    Raises CalibrationError if it was: parameters that may not be used are never written.
    """
    fit = estimate.emitted
    if fit is None or found is None or verdict.status == "refused":
        raise CalibrationError("a refused calibration has no parameters")
    valid = fit.se_type != "none"
    return Params(
        A=fit.A,
        k=fit.k,
        dt_ms=estimate.dt_ms,
        tick_size=tick_size,
        symbol=log.symbol,
        source="tape" if log.fill_source == "tape" else "log",
        virtual_orders=_virtual(log),
        alternatives=_alternatives(log),
        delta_convention=settings.DISTANCE,
        fit_method=fit.method,
        ci95=intervals(fit),
        cov_logA_k=fit.cov if valid else None,
        se_type=fit.se_type,
        n_blocks=fit.n_blocks,
        lambda_at=best_known(fit) if valid else None,
        passive=passive_fit(estimate.passive),
        through=through_numbers(estimate),
        candidates=candidate_numbers(estimate),
        window_ms=log.window_ms,
        n_fills=estimate.n_events,
        exposure_s=estimate.exposure_s,
        fill_source=log.fill_source,
        aic=fit.aic if valid else None,
        original=original_numbers(estimate),
        original_error=estimate.original_error,
        k_price=fit.k / tick_size,
        mean_state_gap_ms=finite(estimate.mean_state_gap_ms),
        quality="warn" if verdict.status == "warn" else "ok",
        reasons=tuple(str(f) for f in verdict.reasons),
        notes=tuple(str(f) for f in verdict.notes),
        findings=finding_numbers(verdict),
        inputs_sha256=log.inputs_sha256,
        settings=settings.model_dump(mode="json"),
        versions=versions(),
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        **_diagnosed(found),
    )


def _virtual(log: BacktestLog) -> str | None:
    return log.rule if isinstance(log, TapeLog) else None


def _alternatives(log: BacktestLog) -> tuple[AlternativeNumbers, ...]:
    """Other horizons and fill rules; none where orders were placed."""
    return tuple(
        AlternativeNumbers(
            fill_rule=one.fill_rule,
            horizon_ms=one.horizon_ms,
            n_orders=one.orders,
            n_fills=one.fills,
            delta=one.delta,
            rate=finite(one.rate),
            ci95=None if math.isnan(one.low) else (one.low, one.high),
        )
        for one in (log.alternatives if isinstance(log, TapeLog) else ())
    )


def _diagnosed(found: Diagnostics) -> dict[str, Any]:
    """The fields that come from the diagnostics."""
    sides, test, ahead, effects = (
        found.sides,
        found.out_of_sample,
        found.predictive,
        found.effects,
    )
    pearson, time, blocks = found.pearson, found.time, found.blocks
    return {
        "sides": SideNumbers(
            buy=None if sides.buy is None else PlainNumbers(A=sides.buy.A, k=sides.buy.k),
            sell=None if sides.sell is None else PlainNumbers(A=sides.sell.A, k=sides.sell.k),
            at_delta=sides.delta,
            ratio=finite(sides.ratio),
            lr_chi2_2=finite(sides.lr),
        ),
        "fill_fraction": finite(found.fill_fraction.first),
        "fill_fraction_eventual": finite(found.fill_fraction.eventual),
        "fill_scale": finite(found.fill_fraction.eventual),
        "mid_clock_ms": mid_clock_numbers(found),
        "phi": finite(pearson.phi),
        "gof": GoodnessOfFit(
            pearson_x2=pearson.x2,
            dof=pearson.dof,
            p=finite(pearson.p),
            ks=finite(time.ks),
            ks_p=finite(time.ks_p),
            lag1=finite(time.lag1),
            lag1_p=finite(time.lag1_p),
            block_dispersion=finite(blocks.dispersion),
            block_p=finite(blocks.p),
            power_law_delta_aic=None if found.power is None else finite(found.power.delta_aic),
            usable_delta=found.usable,
        ),
        "oos": None
        if test is None
        else OutOfSampleNumbers(predicted=test.predicted, observed=test.observed, z=test.z),
        "replay": replay_numbers(found),
        "lambda_quoted": quoted_intensities(found),
        "predictive": PredictiveNumbers(
            at_delta=found.halves.delta,
            period_s=ahead.period_s,
            tau=ahead.tau,
            ci95=pair(*ahead.interval),
        ),
        "block_effects": None
        if effects is None
        else BlockEffectNumbers(k=effects.k, se_k=effects.se_k, A_mean=effects.A_mean),
        "other_intervals": {
            name: Intervals(A=a, k=k)
            for name, (a, k) in found.intervals.items()
            if all(math.isfinite(x) for x in (*a, *k))
        },
        "firth": None if found.firth is None else PlainNumbers(A=found.firth[0], k=found.firth[1]),
    }


def outcome_of(result: Calibration) -> Outcome:
    """Record, parameters and points of a calibration, whatever its verdict."""
    return Outcome(
        record=_record(result),
        params=result.params,
        points_csv=result.points_csv(),
        schedule=_schedule(result),
        quotes=None if result.quotes is None else result.quotes.to_dict(result.log.symbol),
    )


def _schedule(result: Calibration) -> dict[str, Any] | None:
    found = result.diagnostics
    if result.params is None or found is None or found.schedule is None:
        return None
    return found.schedule.to_dict(result.estimate.dt_ms, result.accounts.tick.value)


def _record(result: Calibration) -> Record:
    estimate, fit, found = result.estimate, result.estimate.emitted, result.diagnostics
    valid = fit is not None and fit.se_type != "none"
    return Record(
        status=result.verdict.status,
        reasons=tuple(str(f) for f in result.verdict.reasons),
        notes=tuple(str(f) for f in result.verdict.notes),
        findings=finding_numbers(result.verdict),
        A=None if fit is None else finite(fit.A),
        k=None if fit is None else finite(fit.k),
        ci95=None if fit is None else intervals(fit),
        cov_logA_k=fit.cov if fit is not None and valid else None,
        lambda_at=best_known(fit) if fit is not None and valid else None,
        lambda_quoted=() if found is None else quoted_intensities(found),
        replay=None if found is None else replay_numbers(found, by_fill=False),
        passive=passive_fit(estimate.passive),
        through=through_numbers(estimate),
        candidates=candidate_numbers(estimate),
        original=original_numbers(estimate),
        original_error=estimate.original_error,
        n_fills=estimate.n_events,
        exposure_s=estimate.exposure_s,
        lambda_upper=finite(estimate.upper_limit) if estimate.n_events == 0 else None,
        tick_size=result.accounts.tick.value,
        # A log without rows in range says none.
        dt_ms=estimate.dt_ms if estimate.dt_given or estimate.mean_state_gap_ms > 0 else None,
        fill_source=result.log.fill_source,
        virtual_orders=_virtual(result.log),
        alternatives=_alternatives(result.log),
        fill_fraction=None if found is None else finite(found.fill_fraction.first),
        window_ms=result.log.window_ms,
        covered_s=result.log.covered_s,
        mid=finite(result.log.mid),
        spans_s={kind: result.log.span_s(kind) for kind in KINDS},
        runs=len(result.log.runs),
        inputs_sha256=result.log.inputs_sha256,
        settings=result.settings.model_dump(mode="json"),
    )
