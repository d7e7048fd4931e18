"""Tables for people: the summary on top, the three checks, the appendix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mm.core.display import Parts, Table
from mm.core.formatting import (
    duration,
    figures,
    instants,
    p_value,
    percent,
    ranged,
    ticks_between,
)
from mm.core.settings import SOURCES
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.replay import ReplayRows
from mm.diagnostics.sides import SideFits
from mm.diagnostics.verdict import Verdict
from mm.exposure.accounts import Accounts
from mm.fitting.estimate import Estimate
from mm.logs.load import BacktestLog


def summary(
    log: BacktestLog,
    accounts: Accounts,
    estimate: Estimate,
    found: Diagnostics | None,
    verdict: Verdict,
) -> Parts:
    """The first screen: verdict, what the log is, fills per hour, replay."""
    facts = [
        ("fills from", SOURCES[log.fill_source]),
        (
            "log",
            f"{instants(*log.window_ms)}, {duration(log.covered_s)} of the market"
            + (f" in {len(log.runs)} runs" if len(log.runs) > 1 else ""),
        ),
        (
            "first fills",
            f"{estimate.n_events:,} in {duration(estimate.exposure_s)} of quotes resting",
        ),
    ]
    fit = estimate.fit
    if fit is not None:
        facts.append(("A", f"{ranged(fit.A, *fit.ci_A)} /s at mid (95 %)"))
        facts.append(("k", f"{ranged(fit.k, *fit.ci_k)} /tick of {accounts.tick.value:g}"))
        through = estimate.through
        if through is not None and through.n_events:
            rate = ranged(through.rate, *through.interval)
            facts.append(("λ through", f"{rate} /s once mid has run through the quote"))
    elif estimate.n_events == 0 and estimate.exposure_s > 0:
        facts.append(("λ", f"≤ {estimate.upper_limit:.3g} /s (2.996/ΣT, one-sided 95 %)"))
    if found is not None:
        facts.append(("replay", _replayed(found)))
    rates = None if found is None else found.rates
    return Parts(verdict, Table((), facts, "Summary"), rates, text=f"{log.symbol}: {verdict.line}")


def _replayed(found: Diagnostics) -> str:
    ours, original, old = found.replay, found.replay_original, found.replay_old
    text = (
        f"these parameters, in the backtester's own rule on this log: {ours.given:,.0f} fills; "
        f"observed: {ours.observed:,}"
    )
    if original is not None:
        text += f"; the original notebook's: {original.given:,.0f}"
    if old is not None:
        text += f"; today's parameters: {old.given:,.0f}"
    return text


def checks(found: Diagnostics | None) -> Parts:
    """Level, shape, time: one line each, with the number that decides and its threshold."""
    if found is None:
        return Parts("There is no estimate to check.", text="no estimate")
    ours, options, halves, test = found.replay, found.options, found.halves, found.out_of_sample
    limits = (options.tolerance, options.share, options.p)
    size = f"off by {options.tolerance:.0%}"
    level = ours.total.off(options.tolerance, 0.0, options.p, 0)
    rows = [
        (
            _mark(not level),
            "level",
            "fills that the parameters give, over those observed",
            f"{ours.given:,.0f} / {ours.observed:,} = {ours.ratio:.2f}",
            f"{size}, beyond chance",
        )
    ]
    for what, table in (
        ("orders by placement distance", ours.by_placement.merged()),
        ("fills by distance at the fill", ours.by_fill.merged()),
    ):
        off = table.off(*limits)
        rows.append(
            (
                _mark(not off),
                "shape",
                what,
                f"{int(table.inside.sum())} of {len(table.inside)} rows inside",
                f"{size} where {options.share:.0%} of fills or orders are, beyond chance",
            )
        )
    if math.isfinite(halves.z):
        rows.append(
            _over_time(
                "second half over first", halves.ratio, halves.z, halves.t_limit, options.tolerance
            )
        )
    if test is not None and test.predicted > 0:
        name = "last 30 % over what a fit of the first 70 % predicts"
        ratio = test.observed / test.predicted
        rows.append(_over_time(name, ratio, test.z, test.t_limit, options.tolerance))
    if found.sides.apart:
        rows.append(_by_side(found.sides, options.tolerance))
    head = ("", "check", "what", "result", "fails if")
    return Parts(Table(head, rows), text="level, shape, time")


def _over_time(
    what: str, ratio: float, z: float, limit: float, tolerance: float
) -> tuple[str, str, str, str, str]:
    large = ratio <= 0 or abs(math.log(ratio)) > math.log1p(tolerance)
    return (
        _mark(not (large and abs(z) > limit)),
        "time",
        what,
        f"{ratio:.2f}, {abs(z):.1f} standard errors",
        f"off by {tolerance:.0%} and {limit:.1f} standard errors",
    )


def _by_side(sides: SideFits, tolerance: float) -> tuple[str, str, str, str, str]:
    """Fills per hour of either side, where their intervals lie apart."""
    hourly = [
        f"{name} {ranged(*(3600.0 * x for x in (fit.intensity(sides.delta), *ends)))}"
        for name, fit, ends in sides.rates
    ]
    return (
        _mark(abs(math.log(sides.ratio)) <= math.log1p(tolerance)),
        "sides",
        f"fills per hour at {sides.delta:.1f} ticks",
        ", ".join(hourly),
        f"off by {tolerance:.0%}, their intervals apart",
    )


def _mark(holds: bool) -> str:
    return "✓" if holds else "✗"


def replay(found: Diagnostics | None) -> Parts:
    """What the parameters give by placement distance and by distance at the fill."""
    if found is None:
        return Parts("There are no parameters to replay.", text="no parameters")
    ours = found.replay
    placed = Table(
        ("placed at (ticks)", "orders", "rested", "filled", "replay", "95 % by chance", ""),
        list(_replay_rows(ours.by_placement.merged())),
    )
    filled = Table(
        ("filled at δ (ticks)", "filled", "replay", "95 % by chance", ""),
        list(_replay_rows(ours.by_fill.merged())),
    )
    through, given = int(ours.through.observed.sum()), float(ours.through.given.sum())
    note = ""
    if through:
        note = (
            f"Besides, {through:,} fills came after mid had run through the quote, where |δ| "
            f"gives {given:,.0f}: a backtester that knows no sides of mid fills them elsewhere."
        )
    return Parts(placed, filled, note, text="replay by distance")


def _replay_rows(rows: ReplayRows) -> Iterable[Sequence[str]]:
    low, high = rows.interval
    for i, inside in enumerate(rows.inside):
        name = "unknown" if rows.low[i] < 0 else ticks_between(int(rows.low[i]), int(rows.high[i]))
        placed = (f"{rows.orders[i]:,}", duration(float(rows.rest_s[i])))
        yield (
            name,
            *(placed if rows.by == "placement" else ()),
            f"{rows.observed[i]:,}",
            figures(float(rows.given[i])),
            f"{low[i]:,}–{high[i]:,}",
            "✓" if inside else "✗ outside",
        )


def _between(usable: tuple[float, float] | None) -> str:
    return "none" if usable is None else f"{usable[0]:g} to {usable[1]:g} ticks"


def appendix(
    log: BacktestLog, accounts: Accounts, estimate: Estimate, found: Diagnostics | None
) -> Parts:
    """What else was looked at: other fits and intervals, other checks, units and time step."""
    units = Table(("unit", "value"), list(_units(log, accounts, estimate)))
    if found is None:
        return Parts("There is no estimate.", units, text="no estimate")
    fit, sides, ahead, effects = found.fit, found.sides, found.predictive, found.effects
    rows = [("shown", ranged(fit.A, *fit.ci_A), ranged(fit.k, *fit.ci_k))]
    rows += [
        (f"candidate {name}", ranged(other.A, *other.ci_A), ranged(other.k, *other.ci_k))
        for name, other in estimate.candidates.items()
    ]
    rows += [
        (name, ranged(fit.A, *a), ranged(fit.k, *k)) for name, (a, k) in found.intervals.items()
    ]
    if effects is not None:
        rows.append(
            (
                "block effects (A: mean over time)",
                figures(effects.A_mean),
                ranged(effects.k, effects.k - 1.96 * effects.se_k, effects.k + 1.96 * effects.se_k),
            )
        )
    if found.firth is not None:
        rows.append(("Firth", figures(found.firth[0]), figures(found.firth[1])))
    for name, side in (("BUY alone", sides.buy), ("SELL alone", sides.sell)):
        if side is not None:
            side = estimate.as_wide(side)
            rows.append((name, ranged(side.A, *side.ci_A), ranged(side.k, *side.ci_k)))
    low, high = ahead.interval
    pearson, time = found.pearson, found.time
    power = "–" if found.power is None else f"{found.power.delta_aic:+.1f}"
    others = [
        ("λ in a further " + duration(ahead.period_s),
         f"{figures(3600 * low)} to {figures(3600 * high)} fills per hour at "
         f"{found.halves.delta:.1f} ticks (spread between periods {ahead.tau:.0%})"),
        ("20 seeded draws with the emitted dt_ms",
         f"{found.draws.min():,.0f} to {found.draws.max():,.0f} fills"),
        ("Pearson by distance", f"X² = {pearson.x2:.1f} on {pearson.dof}, p {p_value(pearson.p)}"),
        ("power law against exponential (AIC, + for the power law)", power),
        ("distances over which the fit holds", _between(found.usable)),
        ("gaps on the rescaled clock (KS)", f"{time.ks:.3f}, p {p_value(time.ks_p)}"),
        ("neighbouring gaps (lag 1)", f"{time.lag1:+.2f}, p {p_value(time.lag1_p)}"),
        ("fills per block", f"vary {found.blocks.dispersion:.2f} times as much as counts would, "
                            f"p {p_value(found.blocks.p)}"),
        ("over-dispersion by distance φ", figures(found.pearson.phi)),
        ("BUY over SELL", f"{sides.ratio:.2f} ({sides.z:+.1f} standard errors)"),
        ("fills before mid ran through the quote", percent(found.passive_share)),
        ("filled at the first fill, in the end",
         f"{percent(found.fill_fraction.first)}, {percent(found.fill_fraction.eventual)}"),
        ("one A and k over time", f"χ² = {found.over_time.chi2:.1f} on {found.over_time.dof}, "
                                  f"p {p_value(found.over_time.p)}"),
    ]  # fmt: skip
    return Parts(
        Table(("fit or interval", "A (1/s)", "k (1/tick)"), rows),
        Table(("what", "result"), others),
        None if found.clock is None else found.clock.table(found.rates.quoted),
        units,
        found.schedule,
        text="appendix",
    )


def _units(log: BacktestLog, accounts: Accounts, estimate: Estimate) -> Iterable[tuple[str, str]]:
    """In what the numbers are, and the time that a draw of the consumer stands for."""
    remark = f" ({accounts.tick.remark})" if accounts.tick.remark else ""
    yield "tick of the distance", f"{accounts.tick.value:g} in quote currency{remark}"
    gap = estimate.mean_state_gap_ms
    if math.isfinite(gap):
        given = "as given" if estimate.dt_given else "their mean distance, as a whole number"
        step = f"{estimate.dt_ms} ms, {given}; state rows came every {gap:.1f} ms"
    else:
        step = f"{estimate.dt_ms} ms, as given" if estimate.dt_given else "none: no row in range"
    yield "dt_ms against state rows", step
    yield "fills from", SOURCES[log.fill_source]


def waterfall(found: Diagnostics | None) -> Parts:
    """The corrections from the original's numbers to these."""
    if found is None:
        return Parts("There is no estimate to compare with.", text="no estimate")
    if found.waterfall is None:
        told = "The original notebook reads one run of orders that were placed."
        return Parts(told, text="pooled runs or virtual orders")
    return Parts(found.waterfall, text=found.waterfall.sentence)
