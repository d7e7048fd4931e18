"""What a quote is worth, by placement distance."""

from __future__ import annotations

import numpy as np

from mm.core.formatting import figures
from mm.plots.panels import BOTTOM_PX, panel
from mm.plots.picture import GREEN, GREY, INK, Picture, finish, nothing, style
from mm.quotes.markout import HORIZONS_S, VALUED, QuoteValue


def value(found: QuoteValue) -> Picture:
    """Value per hour of a resting order with its 95 % interval; the best distance, and those that
    can't be told from it, apart."""
    known = np.flatnonzero(np.isfinite(found.value))
    if found.best < 0 or not len(known):
        return nothing("No placement distance has enough fills to value.")
    worth, names = found.value[known], [f"{level}" for level in found.levels[known]]
    good = found.tied[known] | (known == found.best)
    at, crowded = np.arange(len(known)), len(known) > 12
    figure, axes = panel(320, left_px=94, top_px=56, bottom_px=70 if crowded else BOTTOM_PX)
    with style():
        axes.axhline(0.0, color=GREY, linewidth=1.0)
        ends = np.stack([worth - found.value_low[known], found.value_high[known] - worth])
        axes.errorbar(
            at, worth, yerr=np.nan_to_num(ends), fmt="none", ecolor=GREY, elinewidth=1.2, capsize=3
        )
        axes.plot(at[~good], worth[~good], "o", color=INK, label="less (95 %)")
        axes.plot(at[good], worth[good], "D", color=GREEN, label="best, or as good (95 %)")
        axes.set_xticks(at, names, rotation=45 * crowded)
        axes.set_title(f"Value of a quote, by mid {HORIZONS_S[VALUED]:g} s after its fill", y=1.1)
        axes.set_xlabel("distance at which orders were placed (ticks)")
        axes.set_ylabel(f"per hour ({found.unit})")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    best = found.best
    alt = (
        f"Value per hour of a resting order against placement distance, {names[0]} to {names[-1]} "
        f"ticks, with 95 % intervals: most at {found.levels[best]} ticks, "
        f"{figures(float(found.value[best]))}; {int(good.sum())} of {len(known)} distances are as "
        "good."
    )
    return finish(figure, alt)
