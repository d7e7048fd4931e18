"""A symbol's λ(δ) as a drawing small enough for a table cell."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mm.core.formatting import figures
from mm.results.record import Record

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _EDGE = 132, 46, 4
_MOST_POINTS = 14


def read_points(path: Path) -> list[tuple[float, float]]:
    """(δ in ticks, λ in 1/s) of the buckets that hold fills, those with most exposure; empty if
    the file is not there or not of our make."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (float(r["exposure_s"]), float(r["delta_mean"]), float(r["lambda_events_per_s"]))
                for r in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError, TypeError):
        return []
    seen = sorted((r for r in rows if r[2] > 0 and math.isfinite(sum(r))), reverse=True)
    return sorted((delta, rate) for _, delta, rate in seen[:_MOST_POINTS])


@dataclass(frozen=True)
class Drawing:
    """Paths of an SVG of this size, and what they show in words."""

    description: str
    fit: str
    dots: str
    width: int = _WIDTH
    height: int = _HEIGHT


def drawing(record: Record, points: Points) -> Drawing | None:
    """Points and fitted line, λ on a log scale; None without points."""
    if not points:
        return None
    far = max(delta for delta, _ in points)
    logs = [math.log10(rate) for _, rate in points]
    ends = []
    if record.A is not None and record.k is not None and record.A > 0:
        ends = [(d, math.log10(record.A) - record.k * d / math.log(10)) for d in (0.0, far)]
        logs += [value for _, value in ends]
    low, high = min(logs), max(logs)

    def place(delta: float, value: float) -> str:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * (delta / far if far > 0 else 0.5)
        y = _EDGE + (_HEIGHT - 2 * _EDGE) * ((high - value) / (high - low) if high > low else 0.5)
        return f"{x:.0f} {y:.0f}"

    dots = "".join(f"M{place(d, math.log10(r))}h0" for d, r in points if d >= 0)
    line = f"M{place(*ends[0])}L{place(*ends[1])}" if ends else ""
    description = (
        f"{len(points)} observed intensities, from {figures(3600 * points[0][1])} fills per "
        f"hour at {points[0][0]:.1f} ticks to {figures(3600 * points[-1][1])} at "
        f"{points[-1][0]:.1f}" + (", with the fit" if ends else "")
    )
    return Drawing(description, line, dots)
