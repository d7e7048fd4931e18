"""Rules on time: does λ hold, and does the interval know how much it varies?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.rules.model import off
from mm.diagnostics.verdict import Finding
from mm.fitting.estimate import Estimate


def of_time(found: Diagnostics, estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    """Does λ hold over time?"""
    yield from _of_change(found, settings)
    if found.schedule is not None and found.schedule.is_empty:
        yield Finding(
            "warn",
            "schedule",
            f"The schedule holds no A and k: none of its {len(found.schedule.entries)} windows of "
            f"SCHEDULE_TRAIN_MIN = {settings.SCHEDULE_TRAIN_MIN:g} has a fit",
            "The log is shorter than a window and what comes after it, or has too few fills",
            "Make SCHEDULE_TRAIN_MIN shorter; a consumer of this schedule fills nothing",
        )
    blocks, time = found.blocks, found.time
    bursty = blocks.prints_p < settings.WARN_P and blocks.spread > settings.WARN_TAU
    clumped = time.lag1_p < settings.WARN_P and time.lag1 > settings.WARN_LAG1
    yield from _of_interval(found, estimate, settings, told=bursty or clumped)
    if bursty or clumped:
        yield Finding(
            "warn",
            "bursts",
            f"Fills come in bursts: between periods λ varies by {blocks.spread:.0%} beyond chance, "
            f"and neighbouring gaps between fills are correlated by {time.lag1:.2f}",
            "Activity switches between quiet and busy; the pooled fit sees little of the busy "
            "time, since quotes fill at once in it",
            "Quote on the predictive interval; compare the block-effects fit",
            blocks.spread if bursty else time.lag1,
            f"spread above {settings.WARN_TAU:g}"
            if bursty
            else f"lag 1 above {settings.WARN_LAG1:g}",
        )


def _of_change(found: Diagnostics, settings: Settings) -> Iterator[Finding]:
    """A change of λ, told once: by days, by halves, or by what was not fitted."""
    halves, trend, test = found.halves, found.trend, found.out_of_sample
    changed, remedy = "The market changed during the log", "Calibrate on a shorter stretch, or "
    remedy += (
        "emit a schedule (SCHEDULE_TRAIN_MIN)" if found.schedule is None else "use the schedule"
    )
    compared = f"λ in the second half was {halves.ratio:.2f} times that of the first"
    size = f"a factor of {1 + settings.WARN_RATIO:g} either way, beyond chance"
    if trend is not None and off(trend.ratio, settings) and abs(trend.z) > trend.t_limit:
        yield Finding(
            "warn",
            "trend",
            f"λ changed {trend.ratio:.2f}-fold from the first to the last of {trend.n_groups} runs "
            f"({abs(trend.z):.1f} standard errors of a straight line)",
            "The market changed from run to run",
            "Calibrate on the latest runs",
            trend.ratio,
            size,
        )
    elif off(halves.ratio, settings) and abs(halves.z) > halves.t_limit:
        yield Finding(
            "warn",
            "halves",
            f"{compared} (at {halves.delta:.1f} ticks, {abs(halves.z):.1f} standard errors)",
            changed,
            remedy,
            halves.ratio,
            size,
        )
    elif (
        test is not None
        and test.predicted > 0
        and off(test.observed / test.predicted, settings)
        and abs(test.z) > test.t_limit
    ):
        yield Finding(
            "warn",
            "out_of_sample",
            f"A fit of the first 70 % of the time predicts {test.predicted:,.0f} fills in the "
            f"rest; there were {test.observed:,}",
            changed,
            "Expect tomorrow to differ as much; see the predictive interval",
            test.observed / test.predicted,
            size,
        )
    elif off(halves.ratio, settings):
        yield Finding(
            "note",
            "halves",
            f"{compared} (at {halves.delta:.1f} ticks): within what such a log varies by "
            f"({abs(halves.z):.1f} standard errors, limit {halves.t_limit:.1f})",
            number=halves.ratio,
            threshold=size,
        )


def _of_interval(
    found: Diagnostics, estimate: Estimate, settings: Settings, told: bool
) -> Iterator[Finding]:
    """Does the reported interval allow for how much fills vary from block to block?"""
    assert estimate.fit is not None
    memory = estimate.memory
    if estimate.fit.se_type == "memory" and memory is not None:
        yield Finding(
            "note",
            "memory",
            f"The log is shorter than its own memory: over times as long as it λ wanders "
            f"{memory.ratio:.1f} times as much as within a minute or two; the reported "
            "intervals are wider for it",
            number=memory.p,
            threshold="p below 0.025",
        )
        return
    varies, certain = found.blocks.dispersion, found.blocks.p < settings.WARN_P
    what = f"Fills per block vary {varies:.1f} times as much as counts would"
    if estimate.fit.se_type in ("block", "group"):
        if certain and not told:
            yield Finding("note", "dispersion", f"{what}; the reported interval allows for it")
        return
    if estimate.fit.se_type != "wald":
        return
    few = f"{estimate.fit.n_blocks} block{'s' if estimate.fit.n_blocks > 1 else ''} of BLOCK_S"
    if certain and math.sqrt(varies) > 1.0 + settings.WARN_RATIO:
        yield Finding(
            "warn",
            "interval",
            f"{what}, and the log has only {few}: the reported interval takes fills for "
            f"independent and should be about {math.sqrt(varies):.1f} times as wide",
            "A robust interval needs five blocks",
            "Pool more runs, or lower BLOCK_S",
        )
    else:
        yield Finding(
            "note",
            "interval",
            f"The log has only {few}: the reported interval takes fills for independent",
        )
