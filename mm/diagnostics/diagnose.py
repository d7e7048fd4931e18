"""Everything that is held against an estimate: level, shape, time, and what lies beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm.core.arrays import Floats, sums_by
from mm.core.errors import EstimateError
from mm.diagnostics.corrections import ORIGINAL_DT_MS, Waterfall, waterfall
from mm.diagnostics.draws import Draws
from mm.diagnostics.fill_rates import FillRates, fill_rates
from mm.diagnostics.mid_clock import MidClock, mid_clock
from mm.diagnostics.replay import Replay, replay, seeded_draws
from mm.diagnostics.rescaled_gaps import RescaledTime, rescaled_time
from mm.diagnostics.schedule import OverTime, Schedule, make_schedule, over_time, slice_edges
from mm.diagnostics.shape import PearsonByDistance, PowerLaw, pearson_by_distance, power_law
from mm.diagnostics.sides import SideFits, side_fits
from mm.diagnostics.stability import (
    TRAIN_SHARE,
    Blocks,
    Counts,
    Halves,
    OutOfSample,
    Trend,
    blocks,
    halves,
    independent_unit,
    out_of_sample,
    split_ms,
    trend,
)
from mm.diagnostics.time_at_risk import Risk
from mm.diagnostics.time_rescaling import rescale
from mm.exposure.accounting import Cells, Exposure
from mm.exposure.distance import Selection
from mm.fitting.covariance import Interval
from mm.fitting.estimate import Estimate
from mm.fitting.fill_model import PoissonFillModel
from mm.fitting.fit import Fit
from mm.fitting.intensity import EmpiricalIntensity
from mm.fitting.uncertainty import (
    BlockEffects,
    Predictive,
    block_effects,
    firth,
    predictive,
    profile_interval,
    quasi_interval,
)
from mm.logs.log import Run

#: Bootstraps and draws are the same every time.
SEED = 20_240_809
#: Below this many events the likelihood's bias matters and Firth's fit is shown beside it.
SPARSE = 30
#: Periods for the predictive interval, in blocks of BLOCK_S; the longest that fits this often.
_PERIODS = (1440, 60, 10, 1)
_MIN_PERIODS = 6


@dataclass(frozen=True)
class FillFraction:
    """Share of the quantity of filled orders that came at the first fill's ms, and ever. NaN
    where the log has no quantities."""

    first: float
    eventual: float


@dataclass(frozen=True)
class CheckOptions:
    """What the checks are asked for, apart from what they look at.

    ``min_exposure_s``, ``block_s``, ``max_state_gap_ms``: as the original's fit and the accounting
    had them.
    ``min_fills``: events that a schedule's window needs. ``tolerance``: a ratio of fills off by
    more than this matters where ``share`` of the fills are, if chance gives it more rarely than
    ``p``. ``schedule_min``: (train, step) of a
    schedule in minutes; None makes none. ``old``: parameters in use today, judged the same way.
    """

    min_exposure_s: float
    block_s: float
    max_state_gap_ms: int
    min_fills: int = 10
    tolerance: float = 0.25
    share: float = 0.1
    p: float = 0.01
    schedule_min: tuple[float, float] | None = None
    old: PoissonFillModel | None = None


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """What was held against one fit; see the fields' own types.

    ``usable``: distances over which the fit holds, ticks; None where there are none.
    ``intervals``: other 95 % intervals of (A, k) by name. ``firth``: A, k of the penalised fit
    where events are few. ``passive_share``: share of events that came before mid had run
    through the quote. ``draws``: totals of seeded per-row draws. ``replay_original``,
    ``replay_old``: of the original's and of older parameters.
    """

    options: CheckOptions
    fit: Fit
    rates: FillRates
    replay: Replay
    draws: Floats
    pearson: PearsonByDistance
    usable: tuple[float, float] | None
    power: PowerLaw | None
    time: RescaledTime
    halves: Halves
    trend: Trend | None
    out_of_sample: OutOfSample | None
    blocks: Blocks
    over_time: OverTime
    schedule: Schedule | None
    effects: BlockEffects | None
    predictive: Predictive
    intervals: dict[str, tuple[Interval, Interval]]
    firth: tuple[float, float] | None
    sides: SideFits
    passive_share: float
    fill_fraction: FillFraction
    replay_original: Replay | None
    replay_old: Replay | None
    waterfall: Waterfall | None
    clock: MidClock | None


def check_estimate(
    runs: Sequence[Run],
    exposure: Exposure,
    intensity: EmpiricalIntensity,
    estimate: Estimate,
    options: CheckOptions,
    timed: tuple[Exposure, Estimate] | None = None,
) -> Diagnostics | None:
    """Hold the estimate against the log it came from, by the results of the steps before; None
    where there is no estimate. ``timed``: the part on which the clock of mid is tried, None for
    all."""
    fit, emitted, selection = estimate.fit, estimate.emitted, estimate.selection
    if fit is None or emitted is None:
        return None
    rng = np.random.default_rng(SEED)
    risk = Risk.of_estimate(exposure, estimate)
    # All borders of time at once: one look at the risk segments near them.
    cuts = [split_ms(risk, 0.5), split_ms(risk, TRAIN_SHARE)]
    risk = risk.cut_at(np.append(slice_edges(risk), cuts))
    draws = Draws.of_log(exposure, estimate.trials, estimate.drawn)
    model = PoissonFillModel(emitted.A, emitted.k, estimate.dt_ms, exposure.tick_size)
    pooled = risk.by_group(risk.own_side).by_distance()
    star = fit.delta_star
    if not math.isfinite(star):
        star = _mean(risk.expected(fit), risk.delta)
    counts = Counts.of(risk, fit)
    pearson = _pearson(risk, fit, rng)
    original = estimate.original
    rates = fill_rates(fit, intensity)
    n_period = _period(counts)
    ahead = _predictive(risk, counts, fit.intensity(star), n_period, options.block_s)
    return Diagnostics(
        options=options,
        fit=fit,
        rates=rates,
        replay=replay(draws, model),
        draws=seeded_draws(draws, model),
        pearson=pearson,
        usable=pearson.usable(options.tolerance, max(row.delta for row in rates.rows)),
        power=_power(pooled) if selection.convention == "absolute" else None,
        time=rescaled_time(estimate.clock or rescale(risk, fit, rng), rng),
        halves=halves(risk, star),
        trend=trend(risk, counts),
        out_of_sample=out_of_sample(risk),
        blocks=blocks(risk, counts, rng, n_period),
        over_time=over_time(risk),
        schedule=_schedule(exposure, selection, risk, options),
        effects=_effects(risk),
        predictive=ahead.reaching(fit.interval(star)),
        intervals=_intervals(pooled, fit, pearson.phi),
        firth=_firth(pooled) if pooled.n_events < SPARSE else None,
        sides=side_fits(risk, fit, star),
        passive_share=_passive_share(exposure, selection),
        fill_fraction=_fill_fraction(exposure),
        replay_original=None
        if original is None
        else _replay(draws, original.A, original.k, ORIGINAL_DT_MS),
        replay_old=None if options.old is None else replay(draws, options.old),
        waterfall=waterfall(
            runs,
            exposure,
            draws,
            selection,
            original=(original.A, original.k)
            if original is not None
            else f"raises {estimate.original_error}",
            min_exposure_s=options.min_exposure_s,
            final=model,
        ),
        clock=_clock(*(timed or (exposure, estimate))),
    )


def _clock(exposure: Exposure, estimate: Estimate) -> MidClock | None:
    """None in a drawn log: its rows are its trials."""
    if estimate.drawn or estimate.fit is None or estimate.fit.through is None:
        return None
    return mid_clock(exposure, estimate.selection, estimate.fit)


def _schedule(
    exposure: Exposure, selection: Selection, risk: Risk, options: CheckOptions
) -> Schedule | None:
    if options.schedule_min is None:
        return None
    by_distance, beside = risk, None
    if risk.both_sides and selection.convention == "absolute":
        # Its A and k are for draws by |delta|, on either side of mid.
        by_distance, beside = Risk.continuous(exposure, selection), risk
    return make_schedule(by_distance, *options.schedule_min, options.min_fills, beside)


def _replay(draws: Draws, A: float, k: float, dt_ms: int) -> Replay:
    return replay(draws, PoissonFillModel(A, k, dt_ms, draws.tick_size))


def _mean(weight: Floats, value: Floats) -> float:
    return float((weight * value).sum() / weight.sum())


def _pearson(risk: Risk, fit: Fit, rng: np.random.Generator) -> PearsonByDistance:
    n, own = len(risk.places.code), risk.own_side
    events = np.bincount(risk.event_place, minlength=n).astype(np.float64)
    expected = sums_by(risk.place, risk.expected(fit), n)
    return pearson_by_distance(risk.places.delta[own], events[own], expected[own], rng)


def _power(cells: Cells) -> PowerLaw | None:
    try:
        return power_law(cells.delta, cells.exposure_s, cells.events.astype(np.float64))
    except EstimateError:
        return None


def _effects(risk: Risk) -> BlockEffects | None:
    try:
        exposure, events = (table[:, risk.own_side] for table in risk.by_period())
        return block_effects(risk.places.delta[risk.own_side], exposure, events)
    except EstimateError:
        return None


def _firth(cells: Cells) -> tuple[float, float] | None:
    try:
        return firth(cells)
    except EstimateError:
        return None


def _intervals(cells: Cells, fit: Fit, phi: float) -> dict[str, tuple[Interval, Interval]]:
    """Other intervals of (A, k); the original's fit has none."""
    if fit.se_type == "none":
        return {}
    found = {"Wald": quasi_interval(fit, 1.0)}
    if fit.method == "poisson_mle":
        found["profile likelihood"] = profile_interval(cells, fit)
    if math.isfinite(phi):
        found["quasi-Poisson"] = quasi_interval(fit, phi)
    return found


def _period(counts: Counts) -> int:
    """Blocks in a period: the longest that the log holds at least six of."""
    n = 1
    for n in _PERIODS:
        if counts.n_by(n) >= _MIN_PERIODS:
            break
    return n


def _predictive(risk: Risk, counts: Counts, level: float, n: int, block_s: float) -> Predictive:
    """For a period of n blocks; where several days are known for one of them."""
    longest_s = float((risk.end_ms - risk.begin_ms).max()) / 1000.0
    unit = independent_unit(risk)
    observed, expected = counts.by(unit or 1)
    n, period_s = (n, min(n * block_s, longest_s)) if unit is None else (0, longest_s)
    return predictive(level, risk.n_events, observed, expected, n, period_s)


def _passive_share(exposure: Exposure, selection: Selection) -> float:
    delta = exposure.events.delta
    total = int(selection.contains(delta).sum())
    return int(selection.passive.contains(delta).sum()) / total if total else math.nan


def _fill_fraction(exposure: Exposure) -> FillFraction:
    qty, first, ever = 0.0, 0.0, 0.0
    for account in exposure.accounts:
        own, own_first, own_ever = account.filled_qty
        qty, first, ever = qty + own, first + own_first, ever + own_ever
    if not qty > 0:
        return FillFraction(math.nan, math.nan)
    return FillFraction(first / qty, ever / qty)
