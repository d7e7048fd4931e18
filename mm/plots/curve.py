"""Fill intensity by distance: what was observed, and the fit through it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mm.arrays import Floats, Mask
from mm.estimate import Estimate
from mm.fit import Fit
from mm.intensity import EmpiricalIntensity
from mm.plots.picture import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SKY,
    Picture,
    finish,
    new_figure,
    style,
)

#: Buckets with less than this share of the exposure are not drawn unless they hold an event.
_FAINT_SHARE = 0.001


def intensity(empirical: EmpiricalIntensity) -> Picture:
    """Empirical fill intensity by distance on a log scale, with exact Poisson intervals."""
    figure = new_figure(340)
    with style():
        axes = figure.add_subplot()
        _points(axes, empirical)
        _finish_rate_axis(axes)
        axes.set_title("Empirical fill intensity by quote distance")
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
    figure = new_figure(460)
    with style():
        grid = figure.add_gridspec(2, 1, height_ratios=(3.2, 1.0), hspace=0.08)
        top = figure.add_subplot(grid[0])
        beneath = figure.add_subplot(grid[1], sharex=top)
        shown = _points(top, empirical)
        reach = float(empirical.delta[shown].max(initial=1.0))
        line = np.linspace(0.0, reach, 200)
        fitted = estimate.fit
        if fitted is not None:
            _fit_line(top, fitted, line)
        if estimate.original is not None:
            old = estimate.original
            rate = old.A * np.exp(np.clip(-old.k * line, -50.0, 50.0))
            top.plot(
                line,
                rate,
                color=ORANGE,
                linestyle="--",
                linewidth=1.4,
                label=f"original notebook: A = {old.A:.3g}, k = {old.k:.3g}",
            )
        _finish_rate_axis(top)
        top.set_title("Fill intensity λ(δ) = A·exp(−k·δ)")
        top.tick_params(labelbottom=False)
        beneath.bar(empirical.bucket + 0.5, empirical.exposure_s, width=0.85, color=SKY)
        beneath.set_xlim(-0.3, reach + 1.0)
        beneath.set_ylabel("exposure\n(s)")
        beneath.set_xlabel("distance from mid δ (ticks)")
    return finish(figure, _fit_alt(fitted, empirical, shown))


def _points(axes: Axes, empirical: EmpiricalIntensity) -> Mask:
    total = float(empirical.exposure_s.sum())
    shown: Mask = (empirical.events > 0) | (empirical.exposure_s > _FAINT_SHARE * total)
    shown &= empirical.exposure_s > 0
    low, high = empirical.interval
    rate = empirical.rate
    hit, none = shown & (empirical.events > 0), shown & (empirical.events == 0)
    axes.errorbar(
        empirical.delta[hit],
        rate[hit],
        yerr=[rate[hit] - low[hit], high[hit] - rate[hit]],
        fmt="o",
        color=INK,
        ecolor=GREY,
        elinewidth=1.2,
        capsize=2.5,
        label="observed, exact 95 %",
    )
    if none.any():
        axes.plot(
            empirical.delta[none],
            high[none],
            "v",
            color=GREY,
            markerfacecolor="white",
            label="no fill: 95 % upper limit",
        )
    return shown


def _fit_line(axes: Axes, fitted: Fit, line: Floats) -> None:
    rate = np.array([fitted.intensity(d) for d in line])
    label = f"fit: A = {fitted.A:.3g} /s, k = {fitted.k:.3g} /tick"
    axes.plot(line, rate, color=BLUE, label=label)
    if fitted.se_type != "none":
        band = np.array([fitted.interval(d) for d in line])
        axes.fill_between(
            line, band[:, 0], band[:, 1], color=BLUE, alpha=0.18, linewidth=0, label="its 95 % band"
        )


def _finish_rate_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylabel("fill intensity λ\n(first fills per second and order)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")


def _fit_alt(
    fitted: Fit | None,
    empirical: EmpiricalIntensity,
    shown: Mask,
) -> str:
    span = empirical.delta[shown]
    where = f"{span.min():.1f} to {span.max():.1f} ticks" if span.size else "no distance"
    if fitted is None:
        return f"Observed fill intensity over {where}, with exposure beneath; there is no fit."
    return (
        f"Observed fill intensity over {where} and the fitted line with A {fitted.A:.3g} per "
        f"second and k {fitted.k:.3g} per tick, with its 95 % band; exposure in seconds beneath."
    )
