"""A and k over time: fits of windows, a test of whether they are constant, and the schedule that
a backtester loads in place of one A and k."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy import special

from mm.core.arrays import Ints
from mm.core.display import html
from mm.core.errors import EstimateError
from mm.diagnostics.time_at_risk import Risk
from mm.fitting.fit import Fit

#: Slices of the log for the eye: as many as hold this many events each, at most so many.
_EVENTS_A_SLICE = 60
_MOST_SLICES = 12


@dataclass(frozen=True)
class Window:
    """The fit of one stretch of time [start_ms, stop_ms); None where it has none."""

    start_ms: int
    stop_ms: int
    n_events: int
    fit: Fit | None
    error: str = ""


@dataclass(frozen=True, repr=False)
class OverTime:
    """Fits of disjoint slices in time order. ``chi2``: of their being one (A, k), with its p-value
    on ``dof`` degrees of freedom; NaN with fewer than two fitted slices."""

    windows: tuple[Window, ...]
    chi2: float
    dof: int
    p: float


@dataclass(frozen=True)
class Entry:
    """A and k from ``start_ms`` (inclusive) to ``end_ms`` (exclusive), fitted on the window before.

    ``status``: ``fitted``; ``carried`` from the entry before, because the window has no usable
    fit; or ``left_out``, no fills there, because nothing came before.
    """

    start_ms: int
    end_ms: int
    window: Window
    status: Literal["fitted", "carried", "left_out"]
    A: float
    k: float


@dataclass(frozen=True, repr=False)
class Schedule:
    """Entries in time order, as the consumer reads them.

    ``given``: fills that they give over their own span, against those ``observed`` there. Entries
    lag behind by half a window and half a step: while activity rises they give too few, while it
    falls too many. With time reversed real logs that gave 0.8 of their fills give 1.2; a window's
    fit gives that window's fills exactly.
    """

    entries: tuple[Entry, ...]
    train_ms: int
    step_ms: int
    given: float
    observed: int

    @property
    def is_empty(self) -> bool:
        """Whether no window has A and k: a consumer would fill nothing."""
        return all(e.status == "left_out" for e in self.entries)

    def to_dict(self, dt_ms: int, tick_size: float) -> dict[str, Any]:
        """The consumer's shape: no A or k at the top, every entry finite; ``windows`` tells how
        each came about."""
        used = [e for e in self.entries if e.status != "left_out"]
        return {
            "schedule": [
                {"start_ms": e.start_ms, "end_ms": e.end_ms, "A": e.A, "k": e.k} for e in used
            ],
            "dt_ms": dt_ms,
            "tick_size": tick_size,
            "windows": [
                {
                    "start_ms": e.start_ms,
                    "end_ms": e.end_ms,
                    "train_start_ms": e.window.start_ms,
                    "train_end_ms": e.window.stop_ms,
                    "n_fills": e.window.n_events,
                    "status": e.status,
                    "reason": e.window.error,
                }
                for e in self.entries
            ],
        }

    def _repr_html_(self) -> str:
        counts = {
            s: sum(e.status == s for e in self.entries) for s in ("fitted", "carried", "left_out")
        }
        told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items() if n)
        return html(
            f"Schedule: {len(self.entries)} entries of {self.step_ms / 60_000:g} min, each "
            f"fitted on the {self.train_ms / 60_000:g} min before it"
            f"{f' ({told})' if told else ''}. Over their own span they give {self.given:,.0f} "
            f"fills; {self.observed:,} were observed."
        )


def window(risk: Risk, start_ms: int, stop_ms: int, min_fills: int = 2) -> Window:
    """Fit the part of the log inside [start_ms, stop_ms)."""
    part = risk.between(start_ms, stop_ms)
    try:
        fit = part.fit()
    except EstimateError as error:
        return Window(start_ms, stop_ms, part.n_events, None, str(error))
    if part.n_events < min_fills:
        return Window(start_ms, stop_ms, part.n_events, None, f"fewer than {min_fills} fills")
    if fit.k <= 0:
        return Window(start_ms, stop_ms, part.n_events, None, f"k = {fit.k:.3g} is not positive")
    return Window(start_ms, stop_ms, part.n_events, fit)


def slice_edges(risk: Risk) -> Ints:
    """Borders of the slices that :func:`over_time` fits, ms."""
    begin, end = int(risk.begin_ms.min()), int(risk.end_ms.max())
    n = max(2, min(_MOST_SLICES, risk.n_events // _EVENTS_A_SLICE))
    return np.linspace(begin, end, n + 1).round().astype(np.int64)


def over_time(risk: Risk) -> OverTime:
    """Fit equal slices of the log and test whether A and k are the same in all.

    The test is sum (theta_w - theta)' V_w^-1 (theta_w - theta) over slices, theta the weighted
    mean of (log A, k) and V_w Wald's covariance: it takes bursts for change, as a desk would.
    """
    edges = slice_edges(risk)
    risk = risk.cut_at(edges)
    windows = tuple(window(risk, int(low), int(high)) for low, high in pairwise(edges))
    fits = [w.fit for w in windows if w.fit is not None]
    if len(fits) < 2:
        return OverTime(windows, math.nan, 0, math.nan)
    theta = np.array([[math.log(f.A), f.k] for f in fits])
    weights = np.linalg.inv(np.array([f.wald for f in fits]))
    mean = np.linalg.solve(weights.sum(axis=0), np.einsum("wij,wj->i", weights, theta))
    gap = theta - mean
    chi2 = float(np.einsum("wi,wij,wj->", gap, weights, gap))
    dof = 2 * (len(fits) - 1)
    return OverTime(windows, chi2, dof, float(special.chdtrc(dof, chi2)))


def make_schedule(
    risk: Risk, train_min: float, step_min: float, min_fills: int, beside: Risk | None = None
) -> Schedule:
    """Entries of ``step_min`` minutes, each fitted on the ``train_min`` minutes before it: what a
    maker would have known then.

    ``risk``: of the distances that the consumer draws by, so |delta| unless they are signed.
    ``beside``: what is fitted instead in a window where that has no fit.
    """
    begin, end = int(risk.begin_ms.min()), int(risk.end_ms.max())
    train, step = round(train_min * 60_000), round(step_min * 60_000)
    starts = range(begin + train, end, step)
    cuts = [t for start in starts for t in (start - train, start, start + step)]
    risk = risk.cut_at(np.array(cuts, dtype=np.int64))
    beside = None if beside is None else beside.cut_at(np.array(cuts, dtype=np.int64))
    entries: list[Entry] = []
    last: Fit | None = None
    given, observed = 0.0, 0
    for start in starts:
        found = window(risk, start - train, start, min_fills)
        if found.fit is None and beside is not None:
            other = window(beside, start - train, start, min_fills)
            found = found if other.fit is None else other
        last = last if found.fit is None else found.fit
        ahead = risk.between(start, start + step)
        observed += ahead.n_events
        if last is None:
            entries.append(Entry(start, start + step, found, "left_out", math.nan, math.nan))
            continue
        given += float(ahead.expected(last).sum())
        status: Literal["fitted", "carried"] = "carried" if found.fit is None else "fitted"
        entries.append(Entry(start, start + step, found, status, last.A, last.k))
    return Schedule(tuple(entries), train, step, given, observed)
