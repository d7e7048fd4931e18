"""The figures, in one style. Each function takes results and returns one :class:`Picture`."""

from mm.plots.checks import by_fill, by_placement, over_time, quantiles, residuals, waterfall
from mm.plots.curve import fit, intensity
from mm.plots.picture import Picture
from mm.plots.value import value

__all__ = [
    "Picture",
    "by_fill",
    "by_placement",
    "fit",
    "intensity",
    "over_time",
    "quantiles",
    "residuals",
    "value",
    "waterfall",
]
