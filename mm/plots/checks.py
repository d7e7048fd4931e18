"""The figures that hold an estimate against its log: replay, residuals, Q–Q, time, corrections."""

from __future__ import annotations

import math

import numpy as np

from mm.core.formatting import figures, p_value, ticks_between
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.replay import By
from mm.fitting.fit import Fit
from mm.plots.panels import BOTTOM_PX, bars, panel, two_panels
from mm.plots.picture import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    Picture,
    finish,
    nothing,
    style,
)

#: Room for what the waterfall's steps are called, CSS pixels.
_WORDS_PX = 152
_NOTHING = "There is no estimate to draw."


def by_placement(found: Diagnostics | None) -> Picture:
    """First fills by placement distance: observed, and given by these and the original's."""
    if found is None:
        return nothing(_NOTHING)
    return _replayed(found, "placement", "distance at which orders were placed (ticks)")


def by_fill(found: Diagnostics | None) -> Picture:
    """The same by the distance that orders had when they were filled."""
    if found is None:
        return nothing(_NOTHING)
    return _replayed(found, "fill", "distance from mid at the fill, |δ| (ticks)")


def _replayed(found: Diagnostics, by: By, along: str) -> Picture:
    """Given fills with the interval that chance leaves them; what was observed, red outside it."""
    ours, old = found.replay, found.replay_original
    rows = ours.by(by).merged()
    at = np.arange(len(rows.low))
    low, high = rows.interval
    names = [ticks_between(int(a), int(b)) for a, b in zip(rows.low, rows.high, strict=True)]
    crowded = len(names) > 9
    figure, axes = panel(330 if crowded else 320, bottom_px=70 if crowded else BOTTOM_PX)
    with style():
        bars(axes, at - 0.36, 0.36, rows.given, BLUE, f"these parameters: {ours.given:,.0f}")
        top = float(max(high.max(initial=1), rows.observed.max(initial=1)))
        if old is not None:
            given = np.minimum(old.by(by).given_between(rows), 1.6 * top)
            bars(axes, at + 0.02, 0.36, given, ORANGE, f"original notebook: {old.given:,.0f}")
        middle, inside = at - 0.18, rows.inside
        axes.errorbar(
            middle,
            rows.given,
            yerr=[rows.given - np.minimum(low, rows.given), np.maximum(high - rows.given, 0.0)],
            fmt="none",
            ecolor=GREY,
            capsize=3,
            label="95 % by chance",
        )
        told = f"observed: {ours.observed:,}"
        axes.plot(middle[inside], rows.observed[inside], "o", color=INK, label=told)
        if not inside.all():
            seen = rows.observed[~inside]
            axes.plot(middle[~inside], seen, "D", color=RED, label="observed, outside")
        axes.set_ylim(0, 1.65 * top)
        axes.set_xticks(at, names, rotation=30 * crowded)
        where = "placement distance" if by == "placement" else "distance at the fill"
        axes.set_title(f"Replay by {where}")
        axes.set_xlabel(along)
        axes.set_ylabel("first fills")
        axes.legend(loc="upper right", ncols=2)
    out = int((~inside).sum())
    alt = (
        f"First fills by {along}: these parameters give {ours.given:,.0f} in all, "
        f"{ours.observed:,} were observed; {out} of {len(names)} rows lie outside their interval."
    )
    return finish(figure, alt)


def residuals(found: Diagnostics | None) -> Picture:
    """(Observed - expected)/sqrt(expected) by distance: where the exponential does not hold."""
    if found is None:
        return nothing(_NOTHING)
    pearson = found.pearson
    names = [f"{a:g}–{b:g}" for a, b in zip(pearson.low, pearson.high, strict=True)]
    crowded, slanted = len(names) > 6, len(names) > 9
    figure, axes = panel(276 if slanted else 260, bottom_px=70 if slanted else BOTTOM_PX)
    with style():
        far = np.abs(pearson.residuals) > 2
        at = np.arange(len(far))
        bars(axes, at - 0.35, 0.7, pearson.residuals, [RED if f else BLUE for f in far])
        axes.set_xticks(at, names, fontsize=9 if crowded else None, rotation=30 * slanted)
        axes.axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        limit = max(3.0, 1.15 * float(np.abs(pearson.residuals).max(initial=0.0)))
        axes.set_ylim(-limit, limit)
        axes.set_title("Standardised residuals by distance")
        axes.set_xlabel("distance from mid δ (ticks)")
        axes.set_ylabel("residual (σ)")
    alt = (
        f"Standardised residuals by distance in {len(pearson.residuals)} buckets, "
        f"{int(far.sum())} of them beyond two "
        f"standard deviations; Pearson chi-squared {pearson.x2:.1f} on {pearson.dof} degrees."
    )
    return finish(figure, alt)


def quantiles(found: Diagnostics | None) -> Picture:
    """Q–Q of gaps between fills on the rescaled clock against independent ones."""
    if found is None or len(found.time.gaps) < 3:
        return nothing(_NOTHING)
    gaps = np.sort(found.time.gaps)
    n = len(gaps)
    p = (np.arange(n) + 0.5) / n
    expected = -np.log1p(-p)
    keep = np.unique(np.linspace(0, n - 1, min(n, 400)).round().astype(int))
    band = 1.36 / math.sqrt(n)
    reach = float(max(expected.max(), gaps.max()))
    figure, axes = panel(320)
    with style():
        low = -np.log1p(-np.clip(p - band, 0.0, 1 - 1e-9))
        high = -np.log1p(-np.clip(p + band, 0.0, 1 - 1e-9))
        axes.fill_between(
            expected[keep],
            low[keep],
            np.minimum(high[keep], 1.3 * reach),
            color=GREY,
            alpha=0.2,
            linewidth=0,
        )
        axes.plot([0, reach], [0, reach], color=INK, linewidth=1)
        axes.plot(expected[keep], gaps[keep], "o", color=BLUE, markersize=3)
        axes.set_xlim(0, 1.03 * float(expected.max()))
        axes.set_ylim(0, 1.05 * reach)
        axes.set_title("Gaps between fills, rescaled; 95 % band")
        axes.set_xlabel("if fills were independent (mean gaps)")
        axes.set_ylabel("observed (mean gaps)")
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
    windows = found.over_time.windows
    start = windows[0].start_ms
    fitted = [(w, w.fit) for w in windows if w.fit is not None]
    begin = np.array([(w.start_ms - start) / 6e4 for w, _ in fitted])
    end = np.array([(w.stop_ms - start) / 6e4 for w, _ in fitted])
    figure, top, beneath = two_panels(400, 1.0)
    with style():
        for axes, name in ((top, "A"), (beneath, "k")):
            whole = found.fit.A if name == "A" else found.fit.k
            low, high = found.fit.ci_A if name == "A" else found.fit.ci_k
            if math.isfinite(low):
                axes.axhspan(low, high, color=BLUE, alpha=0.15, linewidth=0)
            axes.axhline(whole, color=BLUE, linewidth=1.4)
            if fitted:
                value, low, high = np.array([_slice(name, fit) for _, fit in fitted]).T
                axes.hlines(value, begin, end, color=INK)
                axes.vlines((begin + end) / 2, low, high, color=GREY, linewidth=1.2)
        top.set_title("A and k over time; blue: whole log, 95 %")
        top.set_ylabel("A (1/s)")
        top.set_ylim(bottom=0)
        beneath.set_ylabel("k (1/tick)")
        beneath.set_xlabel("time since the first quote (min)")
        beneath.set_xlim(0, (windows[-1].stop_ms - start) / 6e4)
    values = [f.A for _, f in fitted]
    alt = f"A and k in {len(fitted)} slices of the log with 95 % intervals"
    if values:
        alt += f"; A runs from {figures(min(values))} to {figures(max(values))} per second"
    alt += f"; that A and k are the same throughout has p {p_value(found.over_time.p)}."
    return finish(figure, alt)


def _slice(name: str, fit: Fit) -> tuple[float, float, float]:
    """A slice's A or k with its 95 % interval, by Wald: a slice has too few blocks for theirs."""
    value = fit.A if name == "A" else fit.k
    if name == "A":
        half = 1.96 * math.sqrt(fit.wald[0][0])
        return value, value * math.exp(-half), value * math.exp(half)
    half = 1.96 * math.sqrt(fit.wald[1][1])
    return value, value - half, value + half


def waterfall(found: Diagnostics | None) -> Picture:
    """From the original's numbers to these, one correction at a time, in predicted fills."""
    if found is None:
        return nothing(_NOTHING)
    if found.waterfall is None:
        return nothing(
            "No waterfall: the original notebook reads one run of orders that were placed."
        )
    steps, observed = found.waterfall.steps, found.waterfall.observed
    height = 96 + 28 * len(steps)
    fills = np.array([s.fills for s in steps])
    known = np.isfinite(fills)
    figure, axes = panel(height, left_px=_WORDS_PX, top_px=52)
    with style():
        at = np.arange(len(steps))[::-1]
        colours = [ORANGE, *([GREY] * (len(steps) - 2)), BLUE]
        reach = max(2.2 * observed, 1.15 * float(fills[-1]), 1.0)
        bars(
            axes,
            at[known] - 0.32,
            0.64,
            np.minimum(fills[known], reach),
            [c for c, ok in zip(colours, known, strict=True) if ok],
            across=True,
        )
        axes.axvline(observed, color=GREEN, linewidth=2.2)
        axes.text(
            observed, len(steps) - 0.4, f"observed: {observed:,}",
            ha="center", va="bottom", color=GREEN, fontweight="bold",
        )  # fmt: skip
        for y, value, colour in zip(at, fills, colours, strict=True):
            text = f"{value:,.0f}" if math.isfinite(value) else "no fit"
            if value > reach:
                text += " (off the scale)"
            inside = bool(value > 0.72 * reach)
            x = min(value, reach) if math.isfinite(value) else 0.0
            axes.text(
                x - 0.015 * reach if inside else x + 0.015 * reach,
                y,
                text,
                va="center_baseline",
                ha="right" if inside else "left",
                color="white" if inside and colour != ORANGE else INK,
                fontsize=10.5,
                bbox=None if inside else {"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )
        axes.set_xlim(0, reach)
        axes.set_ylim(-0.6, len(steps) - 0.4)
        axes.set_yticks(at, [step.name for step in steps])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("first fills predicted on this log")
        figure.text(
            0.012, 1 - 24 / height, "From the original's parameters to these",
            fontsize=12, fontweight="bold",
        )  # fmt: skip
    return finish(figure, found.waterfall.sentence)
