"""The figures that hold an estimate against its log: round trip, pulls, Q–Q, time, waterfall."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from mm.diagnose import Diagnostics
from mm.fit import Fit
from mm.intensity import poisson_interval
from mm.plots.picture import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    Picture,
    finish,
    new_figure,
    nothing,
    style,
)

_NOTHING = "There is no estimate to draw."


def round_trip(found: Diagnostics | None) -> Picture:
    """First fills by distance: observed, and predicted by these and the original's parameters."""
    if found is None:
        return nothing(_NOTHING)
    figure = new_figure(320)
    trip, old = found.trip, found.trip_original
    shown = (trip.observed > 0) | (trip.predicted >= 0.5)
    at = trip.bucket[shown]
    low, high = poisson_interval(trip.observed[shown])
    seen = trip.observed[shown]
    with style():
        axes = figure.add_subplot()
        axes.bar(at + 0.32, trip.predicted[shown], 0.32, color=BLUE, label="these parameters")
        top = max(float(high.max(initial=1.0)), float(trip.predicted.max(initial=1.0)))
        if old is not None:
            height = np.minimum(old.predicted[shown], 1.6 * top)
            label = f"original notebook ({old.total_predicted:,.0f} in all)"
            axes.bar(at + 0.68, height, 0.32, color=ORANGE, label=label)
        axes.errorbar(
            at + 0.5,
            seen,
            yerr=[seen - low, high - seen],
            fmt="o",
            color=INK,
            ecolor=GREY,
            capsize=2.5,
            label=f"observed ({trip.total_observed:,} in all)",
        )
        axes.set_ylim(0, 1.65 * top)
        axes.set_title("Round trip: first fills on the log's own quotes, by the consumer's rule")
        axes.set_xlabel("distance from mid δ (whole-tick bucket)")
        axes.set_ylabel("first fills")
        axes.legend(loc="upper right")
    alt = (
        f"First fills by distance: these parameters predict {trip.total_predicted:,.0f} in all, "
        f"{trip.total_observed:,} were observed"
    )
    alt += f", the original notebook's predict {old.total_predicted:,.0f}." if old else "."
    return finish(figure, alt)


def pulls(found: Diagnostics | None) -> Picture:
    """(Observed - expected)/sqrt(expected) by distance: where the exponential does not hold."""
    if found is None:
        return nothing(_NOTHING)
    figure = new_figure(260)
    pearson = found.pearson
    with style():
        axes = figure.add_subplot()
        far = np.abs(pearson.pulls) > 2
        at = np.arange(len(far))
        axes.bar(at, pearson.pulls, 0.7, color=[RED if f else BLUE for f in far])
        ends = zip(pearson.low, pearson.high, strict=True)
        axes.set_xticks(at, [f"{low:g}–{high:g}" for low, high in ends])
        axes.axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        limit = max(3.0, 1.15 * float(np.abs(pearson.pulls).max(initial=0.0)))
        axes.set_ylim(-limit, limit)
        axes.set_title(f"Pulls by distance (Pearson X² = {pearson.x2:.1f} on {pearson.dof})")
        axes.set_xlabel("distance from mid δ (ticks)")
        axes.set_ylabel("(observed − expected)\n/ √expected")
    alt = (
        f"Pulls by distance in {len(pearson.pulls)} buckets, {int(far.sum())} of them beyond two "
        f"standard deviations; Pearson chi-squared {pearson.x2:.1f} on {pearson.dof} degrees."
    )
    return finish(figure, alt)


def quantiles(found: Diagnostics | None) -> Picture:
    """Q–Q of gaps between fills on the rescaled clock against independent ones."""
    if found is None or len(found.time.gaps) < 3:
        return nothing(_NOTHING)
    figure = new_figure(320)
    gaps = np.sort(found.time.gaps)
    n = len(gaps)
    p = (np.arange(n) + 0.5) / n
    expected = -np.log1p(-p)
    keep = np.unique(np.linspace(0, n - 1, min(n, 400)).round().astype(int))
    band = 1.36 / math.sqrt(n)
    reach = float(max(expected.max(), gaps.max()))
    with style():
        axes = figure.add_subplot()
        low = -np.log1p(-np.clip(p - band, 0.0, 1 - 1e-9))
        high = -np.log1p(-np.clip(p + band, 0.0, 1 - 1e-9))
        axes.fill_between(
            expected[keep],
            low[keep],
            np.minimum(high[keep], 1.3 * reach),
            color=GREY,
            alpha=0.2,
            linewidth=0,
            label="95 % band (Kolmogorov)",
        )
        axes.plot([0, reach], [0, reach], color=INK, linewidth=1)
        axes.plot(expected[keep], gaps[keep], "o", color=BLUE, markersize=3, label="gaps")
        axes.set_xlim(0, 1.03 * float(expected.max()))
        axes.set_ylim(0, 1.05 * reach)
        axes.set_title("Rescaled time: gaps between fills against independent ones")
        axes.set_xlabel("expected gap (mean gaps)")
        axes.set_ylabel("observed gap (mean gaps)")
        axes.legend(loc="upper left")
    time = found.time
    alt = (
        f"Q-Q plot of {n} gaps between fills in rescaled time; largest distance from independent "
        f"gaps {time.ks:.2f}, correlation of neighbours {time.lag1:.2f}."
    )
    return finish(figure, alt)


def over_time(found: Diagnostics | None) -> Picture:
    """A and k of slices of the log, with 95 % intervals, against the fit of all of it."""
    if found is None:
        return nothing(_NOTHING)
    figure = new_figure(400)
    windows = found.over_time.windows
    start = windows[0].start_ms
    fitted = [(w, w.fit) for w in windows if w.fit is not None]
    with style():
        grid = figure.add_gridspec(2, 1, hspace=0.16)
        top = figure.add_subplot(grid[0])
        beneath = figure.add_subplot(grid[1], sharex=top)
        for axes, name in ((top, "A"), (beneath, "k")):
            whole = found.fit.A if name == "A" else found.fit.k
            low, high = found.fit.ci_A if name == "A" else found.fit.ci_k
            if math.isfinite(low):
                axes.axhspan(low, high, color=BLUE, alpha=0.15, linewidth=0, label="its 95 %")
            axes.axhline(whole, color=BLUE, linewidth=1.4, label="whole log")
            for w, fit in fitted:
                _slice(axes, name, fit, (w.start_ms - start) / 6e4, (w.stop_ms - start) / 6e4)
        top.set_title(f"A and k over time (one A and k: p = {found.over_time.p:.2g})")
        top.set_ylabel("A (1/s)")
        top.set_ylim(bottom=0)
        top.tick_params(labelbottom=False)
        top.legend(loc="upper right", ncols=2)
        beneath.set_ylabel("k (1/tick)")
        beneath.set_xlabel("time since the first quote (min)")
    values = [f.A for _, f in fitted]
    alt = f"A and k in {len(fitted)} slices of the log with 95 % intervals"
    alt += f"; A runs from {min(values):.3g} to {max(values):.3g} per second." if values else "."
    return finish(figure, alt)


def _slice(axes: Axes, name: str, fit: Fit, begin: float, end: float) -> None:
    value = fit.A if name == "A" else fit.k
    if name == "A":
        half = 1.96 * math.sqrt(fit.wald[0][0])
        low, high = value * math.exp(-half), value * math.exp(half)
    else:
        half = 1.96 * math.sqrt(fit.wald[1][1])
        low, high = value - half, value + half
    middle = 0.5 * (begin + end)
    axes.hlines(value, begin, end, color=INK)
    axes.vlines(middle, low, high, color=GREY, linewidth=1.2)


def waterfall(found: Diagnostics | None) -> Picture:
    """From the original's numbers to these, one correction at a time, in predicted fills."""
    if found is None or found.waterfall is None:
        return nothing("No waterfall: the original notebook can't read pooled runs.")
    steps, observed = found.waterfall.steps, found.waterfall.observed
    figure = new_figure(330)
    fills = np.array([s.fills for s in steps])
    known = np.isfinite(fills)
    with style():
        axes = figure.add_axes((0.47, 0.14, 0.5, 0.76))
        at = np.arange(len(steps))[::-1]
        colours = [ORANGE, *([GREY] * (len(steps) - 2)), BLUE]
        reach = max(2.2 * observed, 1.15 * float(fills[-1]), 1.0)
        axes.barh(
            at[known],
            np.minimum(fills[known], reach),
            0.62,
            color=[c for c, ok in zip(colours, known, strict=True) if ok],
        )
        for y, value in zip(at, fills, strict=True):
            text = f"{value:,.0f}" if math.isfinite(value) else "no fit"
            if value > reach:
                text += " (off the scale)"
            inside = bool(value > 0.72 * reach)
            x = min(value, reach) if math.isfinite(value) else 0.0
            axes.text(
                x - 0.012 * reach if inside else x + 0.012 * reach,
                y,
                text,
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else INK,
                fontsize=9,
            )
        axes.axvline(observed, color=GREEN, linewidth=1.8, label=f"observed: {observed:,}")
        axes.set_xlim(0, reach)
        axes.set_yticks(at, [s.what for s in steps])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("first fills predicted on the log's own quotes")
        axes.legend(loc="lower right")
        figure.text(
            0.012, 0.945, "From the original's parameters to these", fontsize=11, fontweight="bold"
        )
    return finish(figure, found.waterfall.sentence)
