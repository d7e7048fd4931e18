"""The rescaled clock: time counted in expected events of all orders at risk together.

Runs that replay the same minutes share one clock: they saw the same prints.
"""

from __future__ import annotations

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, sums_by
from mm.diagnostics.risk_segments import by_gap
from mm.diagnostics.time_at_risk import Risk
from mm.exposure.accounting import Exposure
from mm.exposure.by_run import Measure, run_account
from mm.exposure.distance import Selection
from mm.exposure.periods import MIN_GROUPS
from mm.exposure.places import Sums
from mm.fitting.estimate import Estimate
from mm.fitting.fit import Fit
from mm.fitting.memory import Rescaled, memory
from mm.logs.log import Run

#: Draws lie in the same places of their ms every time.
_SEED = 20_240_809


class Clock:
    """What the clock advances between events, summed from risk segments of time in any order.

    ``times``: of the events, in order, ms, shape (n,). Memory goes with n alone.
    """

    def __init__(self, times: Floats) -> None:
        self._times = times
        # Of each gap, ended by its event: what of it begins or ends inside; the last is behind all.
        self._inside = np.zeros(len(times) + 1)
        # Change of the rate of risk segments that cover a whole gap, from one gap to the next.
        self._change = np.zeros(len(times) + 1)

    def add(self, start_ms: Ints, stop_ms: Ints, rate: Floats) -> None:
        """Risk segments [start_ms, stop_ms) at a rate per ms, shape (m,)."""
        times, n = self._times, len(self._times)
        first = np.searchsorted(times, start_ms, side="right")
        last = np.searchsorted(times, stop_ms, side="left")
        ends = np.append(times, np.inf)
        self._inside += sums_by(first, rate * (np.minimum(stop_ms, ends[first]) - start_ms), n + 1)
        over = np.flatnonzero(last > first)
        first, last, rate = first[over], last[over], rate[over]
        tail = rate * (stop_ms[over] - times[last - 1])
        self._inside += sums_by(last, tail, n + 1)
        self._change += sums_by(first + 1, rate, n + 1) - sums_by(last, rate, n + 1)

    def gaps(self) -> Floats:
        """What the clock advanced from each event to the next, the first from 0; shape (n,)."""
        lengths = np.diff(self._times, prepend=self._times[:1])
        return np.asarray(self._inside[:-1] + np.cumsum(self._change)[:-1] * lengths)

    def behind(self) -> float:
        """What it advanced after the last event."""
        return float(self._inside[-1])


def first_in_ms(risk: Risk) -> Mask:
    """Of events in the same ms, and of runs over the same minutes, the first; shape (m,).

    One print fills several orders at once: that is one event of the market, however many of ours.
    In a log drawn row by row every fill is a draw of its own.
    """
    n = risk.n_events
    if risk.dt_ms is not None:
        return np.ones(n, dtype=np.bool_)
    group = risk.periods.group[risk.event_block]
    order = np.lexsort((risk.event_ms, group))
    first = np.ones(n, dtype=np.bool_)
    g, t = group[order], risk.event_ms[order]
    first[order[1:]] = (g[1:] != g[:-1]) | (t[1:] != t[:-1])
    return first


def rescale(risk: Risk, fit: Fit, rng: np.random.Generator) -> Rescaled:
    """Events by the total intensity of all orders at risk together.

    Raises ValueError for a part of a log, whose risk segments are not known.
    """
    if risk.segments is None:
        raise ValueError("a part of a log has no clock")
    group_of, single = risk.periods.group, first_in_ms(risk)
    event_group, kept = group_of[risk.event_block], _by_run(risk, fit)
    clocks: dict[int, Clock] = {}
    new: list[Mask] = [np.zeros(0, dtype=np.bool_)]
    for group in risk.groups.tolist():
        mine = event_group == group
        times = risk.event_ms[mine].astype(np.float64)
        if risk.dt_ms is not None:
            # A draw is one jump of the clock; an event lies anywhere in it (randomised transform).
            times = times - rng.random(len(times))
        order = np.argsort(times, kind="stable")
        clocks[group] = Clock(times[order])
        new.append(single[mine][order])
    for chunk in risk.segments.chunks() if kept is None else ():
        rate = fit.rates(chunk.delta) / 1000.0
        if risk.dt_ms is not None:
            rate = -np.expm1(-rate * risk.dt_ms)
        clocks[int(group_of[chunk.block[0]])].add(chunk.start_ms, chunk.stop_ms, rate)
    gaps, at, shown = [np.zeros(0)], [np.zeros(0)], 0.0
    for group, clock in clocks.items():
        own, behind = (clock.gaps(), clock.behind()) if kept is None else kept[group]
        gaps.append(own)
        at.append(shown + np.cumsum(own))
        shown += float(own.sum()) + behind
    position = np.concatenate(at)
    if shown > 0:
        position = np.clip(position / shown, 0.0, 1.0)
    return Rescaled(np.concatenate(gaps), np.concatenate(new), position)


def _by_run(risk: Risk, fit: Fit) -> dict[int, tuple[Floats, float]] | None:
    """What the clock of each group advanced between its events and behind them, where several runs
    have a clock each: from what each run is known to have by gap. None elsewhere."""
    assert risk.segments is not None
    exposure, groups = risk.segments.exposure, risk.periods.group
    first = groups[exposure.first_blocks]
    if risk.dt_ms is not None or len(first) < 2 or len(np.unique(first)) < len(first):
        return None
    found = {}
    for number, group in enumerate(first.tolist()):
        if number not in risk.runs:
            continue
        own = exposure.runs[number].product(_at_risk, exposure.measure, risk.segments.selection)
        n = int(np.count_nonzero(risk.event_run == number))
        amount = sums_by(
            own.block, own.values[:, 0] / 1000.0 * fit.rates(own.places.delta)[own.place], n + 1
        )
        found[group] = (amount[:-1], float(amount[-1]))
    return found


def _at_risk(run: Run, measure: Measure, selection: Selection) -> Sums:
    """Time at risk in a run by the gap between its events, see ``by_gap``."""
    events = run.product(run_account, measure).events
    times = np.sort(events.time_ms[selection.contains(events.delta)], kind="stable")
    return by_gap(run, measure, selection, times)


def with_clock(exposure: Exposure, estimate: Estimate) -> Estimate:
    """The estimate with its events on the rescaled clock, and with intervals that allow for a level
    that wanders over times as long as the log."""
    if estimate.fit is None:
        return estimate
    risk = Risk.of_estimate(exposure, estimate)
    clock = rescale(risk, estimate.fit, np.random.default_rng(_SEED))
    # Over several days it is their levels that tell.
    several = len(risk.groups) >= MIN_GROUPS
    found = None if several else memory(clock.position, risk.covered_ms / 1000.0)
    return estimate.remembering(clock, found)
