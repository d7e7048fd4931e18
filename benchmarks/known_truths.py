"""Known truths that the trust table is made of, and the market of those mm.simulate can't make.

Shares no code with the estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mm.simulate import Burst, Scenario, simulate

Floats = NDArray[np.float64]
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

_START_MS = 1_735_689_600_000
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Ladder:
    """A market with one order per side and distance, each replaced after 3 s or once filled.

    ``rate``: intensity at signed distances, 1/s. ``activity``: its multiple at times in s, mean 1.
    ``sweeps``: prints come at rate(0) on each side and reach exponentially deep (``reach`` ticks
    on average), so that one fills every quote within its reach, in one ms; the rate of each quote
    is A exp(-|delta| / reach) all the same.
    """

    rate: Callable[[Floats], Floats]
    activity: Callable[[Floats, np.random.Generator], Floats] | None = None
    sweeps: bool = False
    reach: float = 1.0 / 0.3
    duration_s: float = 660.0
    levels: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
    volatility: float = 1.0

    def tables(self, seed: int) -> Tables:
        """One log, with the columns that the input contract requires and no others but reason."""
        rng = np.random.default_rng(seed)
        gap_ms, dwell = 100, 30
        n = int(self.duration_s * 1000) // gap_ms
        # Half price grids of 0.05 ticks: distances are whole multiples.
        step = rng.standard_normal(n) * self.volatility * math.sqrt(gap_ms / 1000.0)
        mid = np.rint(1_200_000 + np.cumsum(step) / 0.05).astype(np.int64)
        pace = np.ones(n)
        if self.activity is not None:
            pace = self.activity(np.arange(n) * gap_ms / 1000.0, rng)
        orders: list[tuple[int, str, str, str, float]] = []
        fills: list[tuple[int, str, str]] = []
        for side, sign in (("BUY", 1), ("SELL", -1)):
            prints = self._prints(rng) if self.sweeps else None
            for level in self.levels:
                row = 0
                while row < n - 1:
                    end = min(row + dwell, n - 1)
                    # On the whole grid, no nearer than the level.
                    price = sign * 2 * int((sign * mid[row] - round(level / 0.05)) // 2)
                    signed = sign * (mid[row:end] - price) * 0.05
                    if prints is None:
                        hazard = np.cumsum(self.rate(signed) * pace[row:end]) * gap_ms
                        after = _first_of_hazard(hazard, gap_ms, rng.exponential(1000.0))
                    else:
                        after = _first_of_prints(*prints, row * gap_ms, gap_ms, signed)
                    name = f"{side}-{level:g}-{row}"
                    placed = _START_MS + row * gap_ms
                    orders.append((placed, name, "PLACE", side, price * 0.05))
                    if after is not None:
                        fills.append((placed + after, name, "trade_cross"))
                        end = row + -(-after // gap_ms)
                    elif end < n - 1:
                        ack = _START_MS + end * gap_ms
                        orders.append((ack, name, "CANCEL_ACK", side, price * 0.05))
                    row = end
        columns = ["recv_ms", "order_id", "action", "side", "price"]
        state = pd.DataFrame({"recv_ms": _START_MS + gap_ms * np.arange(n), "mid": mid * 0.05})
        frame = pd.DataFrame(fills, columns=["recv_ms", "order_id", "reason"])
        return (
            pd.DataFrame(orders, columns=columns).sort_values("recv_ms", kind="stable").round(8),
            frame.astype({"recv_ms": np.int64}).sort_values("recv_ms", kind="stable"),
            state.round(8),
        )

    def _prints(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
        """Times (ms) and depths (ticks) of one side's prints."""
        rate = float(self.rate(np.zeros(1))[0])
        count = rng.poisson(rate * self.duration_s)
        times = np.sort(np.ceil(rng.uniform(0.0, self.duration_s * 1000.0, count)))
        return times.astype(np.int64), rng.exponential(self.reach, count)


def _first_of_hazard(hazard_ms: Floats, gap_ms: int, draw: float) -> int | None:
    """Milliseconds from placement to where the cumulative hazard reaches the draw."""
    if draw >= hazard_ms[-1]:
        return None
    i = int(np.searchsorted(hazard_ms, draw, side="right"))
    before = float(hazard_ms[i - 1]) if i else 0.0
    into = math.ceil((draw - before) / (float(hazard_ms[i]) - before) * gap_ms)
    return i * gap_ms + min(max(into, 1), gap_ms)


def _first_of_prints(
    times: NDArray[np.int64], depth: Floats, placed: int, gap_ms: int, signed: Floats
) -> int | None:
    """Milliseconds from placement to the first print that reaches the quote where it is then."""
    low, high = np.searchsorted(times, [placed, placed + len(signed) * gap_ms], side="right")
    for i in range(low, high):
        after = int(times[i]) - placed
        if depth[i] >= abs(signed[(after - 1) // gap_ms]):  # the last row strictly before it
            return after
    return None


def _exponential(A: float, k: float = 0.3) -> Callable[[Floats], Floats]:
    return lambda signed: A * np.exp(-k * np.abs(signed))


def _through(signed: Floats) -> Floats:
    return np.where(signed < 0, 3.0, 0.3 * np.exp(-0.3 * np.abs(signed)))


def _u_shape(signed: Floats) -> Floats:
    far = np.abs(signed)
    return 0.5 * (np.exp(-0.3 * far) + 0.5 * np.exp(-0.3 * np.abs(12.0 - far)))


def _drift(times_s: Floats, rng: np.random.Generator) -> Floats:
    level = 4.0 ** (times_s / times_s[-1])
    return level / level.mean()


def _step(times_s: Floats, rng: np.random.Generator) -> Floats:
    return np.where(times_s < times_s[-1] / 2.0, 0.5, 1.5)


def hawkes(times_s: Floats, rng: np.random.Generator) -> Floats:
    """Intensity over its mean of a Hawkes process of 5.5 events/s, by its clusters (Hawkes & Oakes
    1974): branching 0.9, decay 0.05/s; it began ten of its memories of 200 s before the log."""
    rate, branching, decay, before = 5.5, 0.9, 0.05, 2000.0
    end = float(times_s[-1])
    parents = rng.uniform(-before, end, rng.poisson(rate * (1.0 - branching) * (before + end)))
    events = [parents]
    while len(parents):
        parents = np.repeat(parents, rng.poisson(branching, len(parents)))
        parents = parents + rng.exponential(1.0 / decay, len(parents))
        parents = parents[parents < end]
        events.append(parents)
    at = np.sort(np.concatenate(events))
    past = np.searchsorted(at, times_s, side="left")
    # Sum of e^(decay s) in units of e^(decay end), so that nothing overflows.
    weight = np.concatenate(([0.0], np.cumsum(np.exp(decay * (at - end)))))
    excited = weight[past] * np.exp(-decay * (times_s - end))
    return np.asarray((rate * (1.0 - branching) + branching * decay * excited) / rate)


@dataclass(frozen=True)
class Cell:
    """One line of the table: how its logs are made, the truth, and settings that they need.

    ``A``, ``k``: what the shown fit is held against; None where the model is not true: the limit
    of the fit then, from all logs together. ``exact_emitted``: whether |delta| has the same truth.
    ``warned``: the share of logs that must not be called ok, where one is claimed; ``held``: of
    intervals that must hold λ(3), unless 90 % of the logs are warned of.
    """

    name: str
    world: Scenario | Ladder | Callable[[int], list[Tables]]
    role: Literal["clean", "power", "losing"]
    A: float | None = None
    k: float | None = None
    settings: tuple[tuple[str, object], ...] = ()
    exact_emitted: bool = True
    through: float | None = None
    warned: float | None = None
    held: float | None = None

    def runs(self, seed: int) -> list[Tables]:
        """The tables of one log, run by run."""
        if isinstance(self.world, Scenario):
            log = simulate(self.world, seed)
            return [(log.orders, log.fills, log.state)]
        return [self.world.tables(seed)] if isinstance(self.world, Ladder) else self.world(seed)


def _days(seed: int) -> list[Tables]:
    """Five days of 11 min, each with a level of its own: log-normal, sd 0.4, mean 1."""
    levels = np.exp(0.4 * np.random.default_rng(seed).standard_normal(5) - 0.08)
    runs = []
    for day, level in enumerate(levels.tolist()):
        scenario = replace(
            _BASE, A=0.3 * level, start_ms=_START_MS + day * _DAY_MS, duration_s=660.0
        )
        log = simulate(scenario, seed + 101 * (day + 1))
        runs.append((log.orders, log.fills, log.state))
    return runs


_BASE = Scenario(A=1.5, k=0.3, requote_ticks=None)
_LONG = replace(_BASE, duration_s=660.0)
_BURSTS = (Burst(5.0, 0.2, 5.0), Burst(8.0, 0.1, 15.0))


def _clean(name: str, scenario: Scenario, settings: tuple[tuple[str, object], ...] = ()) -> Cell:
    return Cell(name, scenario, "clean", scenario.A, scenario.k, settings)


def _few(fills: int) -> Cell:
    A = 0.03 * fills / 80.0
    return Cell(f"{fills} fills on average, 11 min", replace(_LONG, A=A), "losing", A, 0.3)


CELLS = (
    _clean("clean, 6 min (6 blocks)", replace(_BASE, duration_s=360.0)),
    _clean("clean, 11 min (11 blocks)", _LONG),
    _clean(
        "partials, rejects, outage, cancels on move, 11 min",
        replace(
            _LONG,
            ttl_ms=8000,
            requote_ticks=3.0,
            dwell_ms=6000,
            reject_share=0.03,
            partial_share=0.1,
            outages=((240.0, 12.0),),
        ),
    ),
    _clean("expiry after 2 s, 11 min", replace(_LONG, ttl_ms=2000)),
    _clean("fast mid, 3 ticks/√s, 11 min", replace(_LONG, volatility=3.0)),
    _clean("thin, about 80 fills, 11 min", replace(_LONG, A=0.03)),
    _clean(
        "one draw a tick (trial likelihood), 11 min",
        replace(_LONG, fill_mode="per_tick", dt_ms=100),
        (("POISSON_DT_MS", 100),),
    ),
    *(
        Cell(
            f"bursts ×{burst.multiplier:g}, {burst.share:.0%} of the time, "
            f"{burst.mean_length_s:g} s each, 20 min",
            replace(_BASE, A=0.5, burst=burst, duration_s=1200.0),
            "power",
            exact_emitted=False,
            warned=0.99,
        )
        for burst in _BURSTS
    ),
    Cell(
        "power law p = 1.5, δ0 = 1, 10 min, about 700 fills",
        replace(_BASE, A=0.68, shape="power", power_p=1.5, power_delta0=1.0, duration_s=600.0),
        "power",
        exact_emitted=False,
        warned=0.99,
    ),
    *(
        Cell(name, world, "power", exact_emitted=False, warned=0.95)
        for name, world in (
            ("drift ×4 over the log, 11 min", Ladder(_exponential(0.3), _drift)),
            ("step ×3 in the middle, 11 min", Ladder(_exponential(0.3), _step)),
            ("buys ×2 of sells, 11 min", replace(_LONG, A=0.2, A_multiplier=(2.0, 1.0))),
        )
    ),
    Cell(
        "the second generator, nothing wrong, 11 min", Ladder(_exponential(0.3)), "clean", 0.3, 0.3
    ),
    Cell(
        "sweeps, about 30 fills, 11 min",
        Ladder(_exponential(0.0113), sweeps=True),
        "losing",
        0.0113,
        0.3,
    ),
    Cell("sweeps, 11 min", Ladder(_exponential(0.3), sweeps=True), "losing", 0.3, 0.3),
    Cell(
        "slow Hawkes, branching 0.9, decay 0.05/s, 11 min",
        Ladder(_exponential(1.5), hawkes),
        "losing",
        1.5,
        0.3,
        held=0.88,
    ),
    Cell("day effects, 5 days of 11 min, sd 0.4", _days, "losing", 0.3, 0.3, held=0.9),
    Cell(
        "through-fills, 10 times A, 11 min",
        Ladder(_through),
        "losing",
        0.3,
        0.3,
        exact_emitted=False,
        through=3.0,
    ),
    Cell("U-shape by distance, 11 min", Ladder(_u_shape), "losing", exact_emitted=False),
    Cell("k = 0.02, 11 min", replace(_LONG, A=0.1, k=0.02), "losing", 0.1, 0.02),
    *(_few(fills) for fills in (12, 20, 30)),
    Cell(
        "one distance only, mid at rest, 11 min",
        replace(_LONG, A=0.3, volatility=0.0, deltas_ticks=(3.0,)),
        "losing",
        0.3,
        0.3,
        warned=1.0,
    ),
)
