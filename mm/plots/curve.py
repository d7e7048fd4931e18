"""Fill intensity by distance: what was observed, and the fit through it."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mm.core.arrays import Floats, Mask
from mm.core.formatting import figures
from mm.fitting.estimate import Estimate
from mm.fitting.fit import Fit
from mm.fitting.intensity import THROUGH, EmpiricalIntensity
from mm.plots.panels import bars, panel, two_panels
from mm.plots.picture import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RED,
    SKY,
    Picture,
    finish,
    style,
)

#: Buckets with less than this share of the exposure are not drawn unless they hold an event.
_FAINT_SHARE = 0.001
#: Legend entries by their first word, in the order they are read.
_LEGEND = ("observed", "no", "fit", "fit,", "original")
#: Room for the numbers of a log scale, CSS pixels.
_LEFT_PX = 94
#: Where quotes that mid has run through stand on the axis of distances, ticks.
_THROUGH_AT = -1.0
#: Places at which the fit's band is worked out.
_ALONG = 40
#: Where a title stands above a legend of one line, in heights of the axes.
_ABOVE_LEGEND = 1.1


def intensity(empirical: EmpiricalIntensity) -> Picture:
    """Empirical fill intensity by distance on a log scale, with exact Poisson intervals."""
    figure, axes = panel(330, left_px=_LEFT_PX, top_px=62)
    with style():
        _points(axes, empirical)
        _finish_rate_axis(axes)
        axes.set_title("Fill intensity by distance, as observed", y=_ABOVE_LEGEND)
        axes.set_xlabel("distance from mid δ (ticks)")
    seen = empirical.events > 0
    alt = "No fills to draw."
    if seen.any():
        rates = empirical.rate[seen]
        alt = (
            f"Empirical fill intensity on a log scale against distance, {int(seen.sum())} buckets "
            f"with fills: from {rates[0]:.3g} per second at {empirical.delta[seen][0]:.1f} ticks "
            f"to {rates[-1]:.3g} at {empirical.delta[seen][-1]:.1f} ticks, with 95 % intervals; "
            "triangles are upper limits where nothing filled."
        )
    return finish(figure, alt)


def fit(empirical: EmpiricalIntensity, estimate: Estimate) -> Picture:
    """The fit with its 95 % band through the observed intensities, exposure beneath."""
    figure, top, beneath = two_panels(460, 3.0, left_px=_LEFT_PX, top_px=84)
    fitted, old, through = estimate.fit, estimate.original, estimate.through
    with style():
        shown = _points(top, empirical)
        reach = float(empirical.delta[shown].max(initial=1.0))
        line = np.linspace(0.0, reach, _ALONG)
        if fitted is not None:
            _fit_line(top, fitted, line)
        if old is not None:
            rate = old.A * np.exp(np.clip(-old.k * line, -50.0, 50.0))
            top.plot(line, rate, "--", color=ORANGE, linewidth=1.6, label="original notebook")
        _finish_rate_axis(top)
        _keep_to_points(top, empirical, shown)
        title = "Fill intensity by distance: no fit"
        if fitted is not None:
            sign = "−" if fitted.k >= 0 else "+"
            title = f"λ(δ) = {figures(fitted.A)}·exp({sign}{figures(abs(fitted.k))}·δ) per second"
        lines = 2 if len(top.get_legend_handles_labels()[0]) > 2 else 1
        top.set_title(title, y=1.01 + 0.09 * lines)
        bars(beneath, empirical.bucket + 0.075, 0.85, empirical.exposure_s, SKY)
        beneath.set_xlim(-0.3 if through is None else 1.8 * _THROUGH_AT, reach + 1.0)
        beneath.set_ylabel("exposure (s)")
        beneath.set_xlabel("distance from mid δ (ticks)")
    return finish(figure, _fit_alt(estimate, empirical, shown))


def _points(axes: Axes, empirical: EmpiricalIntensity) -> Mask:
    total = float(empirical.exposure_s.sum())
    shown: Mask = (empirical.events > 0) | (empirical.exposure_s > _FAINT_SHARE * total)
    shown &= empirical.exposure_s > 0
    low, high = empirical.interval
    rate = empirical.rate
    through = shown & (empirical.bucket == THROUGH)
    if through.any() and empirical.events[through][0]:
        seen = rate[through]
        axes.errorbar(
            [_THROUGH_AT],
            seen,
            yerr=[seen - low[through], high[through] - seen],
            fmt="D",
            color=RED,
            ecolor=RED,
            elinewidth=1.2,
            capsize=2.5,
        )
        at = (_THROUGH_AT, float(high[through][0]))
        axes.annotate("mid ran through", at, (-6, 4), textcoords="offset points", color=RED)
    shown = shown & (empirical.bucket != THROUGH)
    hit, none = shown & (empirical.events > 0), shown & (empirical.events == 0)
    if hit.any():
        axes.errorbar(
            empirical.delta[hit],
            rate[hit],
            yerr=[rate[hit] - low[hit], high[hit] - rate[hit]],
            fmt="o",
            color=INK,
            ecolor=GREY,
            elinewidth=1.2,
            capsize=2.5,
            label="observed (95 %)",
        )
    if none.any():
        axes.plot(
            empirical.delta[none],
            high[none],
            "v",
            color=GREY,
            markerfacecolor="white",
            label="no fill: at most (95 %)",
        )
    return shown


def _fit_line(axes: Axes, fitted: Fit, line: Floats) -> None:
    rate = fitted.rates(line)
    has_band = fitted.se_type != "none"
    axes.plot(line, rate, color=BLUE, label="fit, its 95 % band" if has_band else "fit")
    if has_band:
        band = np.array([fitted.interval(d) for d in line])
        axes.fill_between(line, band[:, 0], band[:, 1], color=BLUE, alpha=0.18, linewidth=0)


def _finish_rate_axis(axes: Axes) -> None:
    """A log scale with plain numbers; the legend above the axes, where no data can be."""
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    axes.set_ylabel("fills per second, λ")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        order = sorted(range(len(labels)), key=lambda i: _LEGEND.index(labels[i].split()[0]))
        axes.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=2,
        )


def _keep_to_points(axes: Axes, empirical: EmpiricalIntensity, shown: Mask) -> None:
    """A decade below the lowest point: what a fit says farther down nobody has seen."""
    _, high = empirical.interval
    points = np.where(empirical.events > 0, empirical.rate, high)[shown]
    if points.size and axes.get_ylim()[0] < points.min() / 10.0:
        axes.set_ylim(bottom=points.min() / 10.0)


def _power_of_ten(value: float, _: int | None = None) -> str:
    """0.0001 as it is, 10⁻⁵ and smaller as a power."""
    if 1e-4 <= value < 1e6:
        return f"{value:g}"
    exponent = round(math.log10(value))
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _fit_alt(estimate: Estimate, empirical: EmpiricalIntensity, shown: Mask) -> str:
    span, fitted, old = empirical.delta[shown], estimate.fit, estimate.original
    where = f"{span.min():.1f} to {span.max():.1f} ticks" if span.size else "no distance"
    seen = f"Observed fill intensity over {where} on a log scale, {estimate.n_events:,} first fills"
    rested = f"beneath, {estimate.exposure_s:,.0f} s of exposure by distance"
    if fitted is None:
        return f"{seen}; there is no fit; {rested}."
    told = f"{seen}, and the fit with A {figures(fitted.A)} per second and k {figures(fitted.k)}"
    told += " per tick" + (" with its 95 % band" if fitted.se_type != "none" else "")
    if old is not None:
        told += f"; dashed, the original notebook's A {figures(old.A)} and k {figures(old.k)}"
    return f"{told}; {rested}."
