"""Fill rates at the distances that were quoted: 3600 λ(δ), in fills per hour and resting order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm.core.display import Cell, Table, html
from mm.core.formatting import figures, percent, rounded, span
from mm.fitting.covariance import Interval
from mm.fitting.fit import Fit
from mm.fitting.intensity import THROUGH, EmpiricalIntensity

#: A bucket counts as quoted if it holds this share of the exposure.
QUOTED_SHARE = 0.02
_MOST_ROWS = 9
HORIZONS_S = (1.0, 10.0, 60.0)


@dataclass(frozen=True)
class AtDistance:
    """lambda at one distance. ``seen``: events over exposure in the whole-tick bucket there, 1/s;
    None where no quotes rested."""

    delta: float
    rate: float
    interval: Interval
    seen: float | None

    @property
    def quoted(self) -> bool:
        """Whether quotes rested there; else lambda is extrapolated."""
        return self.seen is not None

    @property
    def per_hour(self) -> float:
        """First fills per hour and resting order."""
        return 3600.0 * self.rate

    @staticmethod
    def within(rate: float, seconds: float) -> float:
        """Probability of a fill within a time: 1 - exp(-lambda t)."""
        return -math.expm1(-rate * seconds)


@dataclass(frozen=True)
class FillRates:
    """The table of quoted distances, nearest first, from delta = 0 on."""

    rows: tuple[AtDistance, ...]

    @property
    def quoted(self) -> list[float]:
        """The distances that quotes rested at, ticks."""
        return [row.delta for row in self.rows if row.quoted]

    def _repr_html_(self) -> str:
        rows: list[tuple[Cell, ...]] = []
        for row in self.rows:
            low, high = row.interval
            hour = span(3600.0 * low, 3600.0 * high)
            known = math.isfinite(low) and math.isfinite(high)
            chances = [
                (
                    percent(row.within(row.rate, t)),
                    f"{percent(row.within(low, t))} – {percent(row.within(high, t))}"
                    if known
                    else "",
                )
                for t in HORIZONS_S
            ]
            rows.append(
                (
                    f"{row.delta:g}" + ("" if row.quoted else " (extrapolated)"),
                    (rounded(row.per_hour, 3600.0 * low, 3600.0 * high), hour if known else ""),
                    "–" if row.seen is None else figures(3600.0 * row.seen),
                    *chances,
                )
            )
        times = (f"P(fill in {t:g} s)" for t in HORIZONS_S)
        return html(Table(("δ (ticks)", "fills per hour (95 %)", "observed", *times), rows))


def fill_rates(fit: Fit, intensity: EmpiricalIntensity) -> FillRates:
    """lambda at the distances that hold the exposure, and at mid.

    Distances are the buckets' mean ones to a tenth of a tick; delta = 0 stands first, marked as
    extrapolated unless quotes rested within half a tick of mid.
    """
    share = intensity.exposure_s / intensity.exposure_s.sum()
    busiest = np.argsort(-share, kind="stable")[: _MOST_ROWS - 1]
    quoted = [int(i) for i in busiest if share[i] >= QUOTED_SHARE]
    chosen = sorted(i for i in quoted if intensity.bucket[i] != THROUGH)
    seen = {round(float(intensity.delta[i]), 1): float(intensity.rate[i]) for i in chosen}
    deltas = sorted(seen)
    at_mid = bool(deltas) and abs(deltas[0]) <= 0.5
    rows = [AtDistance(d, fit.intensity(d), fit.interval(d), seen[d]) for d in deltas]
    if not at_mid:
        rows.insert(0, AtDistance(0.0, fit.intensity(0.0), fit.interval(0.0), seen=None))
    return FillRates(tuple(rows))
