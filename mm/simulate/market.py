"""The clock and the mid: state rows, how long each mid holds, and bursts of activity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm.simulate.scenario import Burst, Scenario


@dataclass(frozen=True, slots=True)
class Market:
    """Everything that the quotes do not influence; all arrays have one entry per state row."""

    tick_ms: NDArray[np.int64]  # (n,) time of the state row, ms since the epoch, increasing
    mid: NDArray[np.int64]  # (n,) mid in half price grids
    hold_ms: NDArray[np.float64]  # (n,) how long orders can fill at this mid, ms
    activity: NDArray[np.float64]  # (n,) multiplier of every intensity while the row holds


def make_market(scenario: Scenario, rng: np.random.Generator) -> Market:
    """Draw the state rows, a random walk of the mid over them, and the bursts.

    Outages remove rows; the mid walks on unseen and has moved when rows return.
    """
    offset_ms = _row_offsets(scenario, rng)
    hold_ms = np.minimum(np.diff(offset_ms), scenario.mid_hold_ms).astype(np.float64)

    steps = rng.standard_normal(len(offset_ms) - 1) * np.sqrt(np.diff(offset_ms) / 1000.0)
    walk_ticks = scenario.volatility * np.concatenate(([0.0], np.cumsum(steps)))
    first = scenario.mid_price / (scenario.price_grid / 2.0)
    mid = np.rint(first + walk_ticks * scenario.half_grids_per_tick).astype(np.int64)
    deepest = max(scenario.deltas_ticks) * scenario.half_grids_per_tick
    if mid.min() <= deepest + 2:
        raise ValueError(
            f"mid_price: the mid came within the ladder's depth of zero from "
            f"{scenario.mid_price!r}, must be higher or the volatility lower"
        )

    activity = np.ones(len(offset_ms))
    if scenario.burst is not None:
        bursting = _burst_state(scenario.burst, offset_ms / 1000.0, rng)
        activity[bursting] = scenario.burst.multiplier
    return Market(
        tick_ms=scenario.start_ms + offset_ms,
        mid=mid,
        hold_ms=np.append(hold_ms, 0.0),  # the run ends with its last row
        activity=activity,
    )


def _row_offsets(scenario: Scenario, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return times of the state rows since the start, ms, (n,)."""
    jitter = scenario.state_jitter_ms
    duration_ms = scenario.duration_s * 1000.0
    enough = int(duration_ms / (scenario.state_gap_ms - jitter)) + 1
    gaps = scenario.state_gap_ms + rng.integers(-jitter, jitter + 1, size=enough)
    offset_ms = np.concatenate(([0], np.cumsum(gaps)))
    keep = offset_ms <= duration_ms
    for start_s, length_s in scenario.outages:
        keep &= (offset_ms < start_s * 1000.0) | (offset_ms >= (start_s + length_s) * 1000.0)
    if keep.sum() < 2:
        raise ValueError(
            f"duration_s: {scenario.duration_s!r} leaves fewer than two state rows, must be longer"
        )
    return np.asarray(offset_ms[keep], dtype=np.int64)


def _burst_state(
    burst: Burst, time_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return whether each row is in a burst, (n,): a stationary two-state Markov process."""
    mean_s = (burst.mean_length_s * (1.0 - burst.share) / burst.share, burst.mean_length_s)
    starts_in_burst = bool(rng.random() < burst.share)
    switches = [0.0]
    while switches[-1] <= time_s[-1]:
        bursting = starts_in_burst ^ (len(switches) % 2 == 0)
        switches.append(switches[-1] + rng.exponential(mean_s[bursting]))
    n_switches = np.searchsorted(switches, time_s, side="right") - 1
    return np.asarray((n_switches % 2 == 1) ^ starts_in_burst)
