"""What is simulated: the truth, the market and the quoting policy, as one frozen record."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["BUY", "SELL"]
SIDES: tuple[Side, Side] = ("BUY", "SELL")


@dataclass(frozen=True, slots=True)
class Burst:
    """Two-state activity: quiet, or a burst in which every fill intensity is multiplied."""

    multiplier: float  # intensity in a burst / intensity when quiet
    share: float  # long-run share of time spent in bursts, 0 < share < 1
    mean_length_s: float  # mean length of one burst, s (exponential)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A known truth and everything that shapes the log it leaves.

    The truth is the fill intensity of one resting order at distance d ticks from mid,
    A*exp(-k*d) (``exponential``) or A*(1 + d/power_delta0)^-power_p (``power``), in 1/s.
    ``A`` is the quiet level where there are bursts. Signed distances may be negative: the
    intensity then exceeds A, without a cap.
    """

    symbol: str = "BTCUSDT"

    # truth
    A: float = 1.5  # fill intensity at distance 0, 1/s
    k: float = 0.3  # decay, 1/tick
    A_multiplier: tuple[float, float] = (1.0, 1.0)  # of A, for (BUY, SELL)
    k_multiplier: tuple[float, float] = (1.0, 1.0)  # of k, for (BUY, SELL)
    shape: Literal["exponential", "power"] = "exponential"
    power_p: float = 1.5  # exponent of the power law
    power_delta0: float = 1.0  # scale of the power law, ticks
    distance: Literal["absolute", "signed"] = "absolute"
    fill_mode: Literal["continuous", "per_tick"] = "continuous"
    dt_ms: int = 100  # per_tick only: one draw a state row, p = 1 - exp(-lambda*dt_ms/1000)
    burst: Burst | None = None

    # market
    tick_size: float = 1.0  # unit of distance, quote currency
    price_grid: float = 0.1  # quotes lie on it, mids on its half, quote currency
    mid_price: float = 60_000.0  # first mid, quote currency
    volatility: float = 1.0  # of the mid, ticks per sqrt(s)
    start_ms: int = 1_735_689_600_000  # first state row, ms since the epoch
    duration_s: float = 600.0  # length of the run, s
    state_gap_ms: int = 100  # mean time between state rows, ms
    state_jitter_ms: int = 2  # a gap is off its mean by up to this, ms
    outages: tuple[tuple[float, float], ...] = ()  # (start, length) without state rows, s
    mid_hold_ms: int = 5000  # a mid older than this fills nothing: outages are silent, ms

    # quoting policy: one order per side and distance at a time
    deltas_ticks: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)  # ladder, ticks
    activate_ms: int = 50  # placement to resting, ms
    cancel_ms: int = 25  # cancel request to effect, ms
    dwell_ms: int = 3000  # a quote is replaced once it is this old, ms
    requote_ticks: float | None = None  # ... or once mid has moved by more than this, ticks
    ttl_ms: int | None = None  # lifetime from activation, ms
    reject_share: float = 0.0  # share of placements that are rejected
    partial_share: float = 0.0  # share of first fills that are partial
    lot_size: float = 0.0001  # smallest quantity, base currency
    quote_lots: int = 10  # size of a quote, lots

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, in one line that names the field."""
        for name in ("A", "tick_size", "price_grid", "mid_price", "duration_s", "lot_size"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")
        for name in ("state_gap_ms", "activate_ms", "dwell_ms", "dt_ms", "quote_lots"):
            value = getattr(self, name)
            _require(value >= 1, name, value, "an integer of at least 1")
        for name in ("volatility", "cancel_ms", "mid_hold_ms", "state_jitter_ms"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "at least 0")
        for name in ("reject_share", "partial_share"):
            value = getattr(self, name)
            _require(0 <= value < 1, name, value, "at least 0 and below 1")
        _require(math.isfinite(self.k), "k", self.k, "a finite number")
        _require(len(self.deltas_ticks) > 0, "deltas_ticks", self.deltas_ticks, "not empty")
        _require(
            self.state_jitter_ms < self.state_gap_ms,
            "state_jitter_ms",
            self.state_jitter_ms,
            "below state_gap_ms",
        )
        _require(
            self.ttl_ms is None or self.ttl_ms >= 1, "ttl_ms", self.ttl_ms, "at least 1 or None"
        )
        _require(
            self.shape == "exponential" or self.distance == "absolute",
            "distance",
            self.distance,
            "absolute for a power law, which negative distances leave undefined",
        )
        _require(
            self.partial_share == 0 or (self.fill_mode == "continuous" and self.quote_lots > 1),
            "partial_share",
            self.partial_share,
            "0 in per_tick mode, which fills whole orders, and for quotes of one lot",
        )
        factors = (*self.A_multiplier, *self.k_multiplier)
        _require(min(factors) >= 0, "A_multiplier, k_multiplier", factors, "at least 0")
        if self.burst is not None:
            b = self.burst
            _require(b.multiplier >= 0, "burst.multiplier", b.multiplier, "at least 0")
            _require(0 < b.share < 1, "burst.share", b.share, "inside (0, 1)")
            _require(b.mean_length_s > 0, "burst.mean_length_s", b.mean_length_s, "above 0")

    @property
    def half_grids_per_tick(self) -> float:
        """Ticks to half price grids, the integer unit of every price in the engine."""
        return 2.0 * self.tick_size / self.price_grid

    @property
    def mean_activity(self) -> float:
        """Intensity averaged over quiet and burst time, as a multiple of the quiet one."""
        if self.burst is None:
            return 1.0
        return 1.0 + self.burst.share * (self.burst.multiplier - 1.0)

    def intensity(self, signed_ticks: NDArray[np.float64], side: Side) -> NDArray[np.float64]:
        """Return the quiet fill intensity, 1/s, at signed distances in ticks (any shape)."""
        delta = signed_ticks if self.distance == "signed" else np.abs(signed_ticks)
        i = SIDES.index(side)
        a = self.A * self.A_multiplier[i]
        k = self.k * self.k_multiplier[i]
        if self.shape == "power":
            return np.asarray(a * (1.0 + delta / self.power_delta0) ** -self.power_p)
        return np.asarray(a * np.exp(-k * delta))

    def in_ticks_of(self, tick_size: float) -> Scenario:
        """Return the same market with every price rescaled to another tick size."""
        scale = tick_size / self.tick_size
        return replace(
            self,
            tick_size=tick_size,
            price_grid=self.price_grid * scale,
            mid_price=self.mid_price * scale,
        )


def _require(holds: bool, name: str, found: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name}: found {found!r}, must be {wanted}")
