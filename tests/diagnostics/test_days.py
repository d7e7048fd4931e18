"""What changes from run to run, and fills that one print makes at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mm
from mm.calibration import Calibration
from mm.simulate import Scenario, simulate

DAY_MS = 86_400_000
LADDER = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)


def days(levels: list[float], seed: int = 3) -> Calibration:
    """Days of five minutes each, with these levels of A."""
    tables = []
    for day, level in enumerate(levels):
        scenario = Scenario(A=0.3 * level, duration_s=300.0)
        scenario = replace(scenario, start_ms=scenario.start_ms + day * DAY_MS)
        log = simulate(scenario, seed + day)
        tables.append((log.orders, log.fills, log.state))
    return mm.calibrate(*(list(some) for some in zip(*tables, strict=True)), tick_size=1.0)


@pytest.mark.parametrize(
    ("levels", "codes"),
    [
        ([1.0] * 5, set()),
        ([4 ** (day / 4) for day in range(5)], {"trend"}),
        ([4 ** (day / 9) for day in range(10)], {"trend"}),
        ([1.0] * 4 + [3.0], {"out_of_sample"}),
        ([0.7, 1.4, 0.9, 1.5, 0.6], set()),
    ],
    ids=["alike", "x4 over 5", "x4 over 10", "last day x3", "levels that vary"],
)
def test_a_trend_over_days_is_warned_of_and_days_that_vary_are_not(
    levels: list[float], codes: set[str]
) -> None:
    result = days(levels)
    told = {"trend", "halves", "out_of_sample"} & {f.code for f in result.verdict.reasons}
    assert told == codes
    assert result.estimate.fit is not None
    assert (result.estimate.fit.se_type, result.estimate.fit.n_blocks) == ("group", len(levels))


def swept(rng: np.random.Generator, n_prints: int) -> Calibration:
    """A ladder on one side, placed anew every 3 s, under prints at a constant rate that fill all of
    it down to an exponential depth in one ms."""
    start, end, dwell = 1_735_689_600_000, 600_000, 3_000
    mid, orders, fills = 60_000.0, [], []
    prints = np.sort(rng.integers(0, end, n_prints))
    depth = rng.exponential(3.0, n_prints)
    for placed in range(0, end, dwell):
        live = {level: f"{placed}-{level:g}" for level in LADDER}
        orders += [
            (start + placed, name, "PLACE", "OPEN", mid - level, np.nan)
            for level, name in live.items()
        ]
        for at in np.flatnonzero((prints > placed) & (prints < placed + dwell)):
            for level in [level for level in live if level <= depth[at]]:
                fills.append((start + int(prints[at]), live.pop(level), mid - level))
        gone = start + placed + dwell
        orders += [
            (gone, name, "CANCEL_ACK", "CANCELLED", mid - level, gone)
            for level, name in live.items()
        ]
    row_ms = np.arange(start, start + end + 1, 500)
    state = pd.DataFrame({"recv_ms": row_ms, "mid": mid + 0.1 * (np.arange(len(row_ms)) % 2)})
    columns = ["recv_ms", "order_id", "action", "status", "price", "cancel_effective_ms"]
    placed_first = pd.DataFrame(orders, columns=columns).assign(side="BUY", qty=1.0)
    filled = pd.DataFrame(fills, columns=["recv_ms", "order_id", "price"])
    filled = filled.assign(side="BUY", qty=1.0, reason="trade_cross")
    return mm.calibrate(
        placed_first.sort_values("recv_ms", kind="stable"), filled, state, tick_size=1.0
    )


def test_prints_that_sweep_a_ladder_at_a_constant_rate_are_no_bursts() -> None:
    rng = np.random.default_rng(9)
    bursts = 0
    for _ in range(25):
        result = swept(rng, 20)
        found = result.diagnostics
        assert found is not None
        assert len(found.time.gaps) < 0.7 * result.estimate.n_events
        bursts += "bursts" in {f.code for f in result.verdict.reasons}
    assert bursts <= 1
