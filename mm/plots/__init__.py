"""The figures, in one style. Each function takes results and returns one :class:`Picture`."""

from mm.plots.checks import over_time, pulls, quantiles, round_trip, waterfall
from mm.plots.curve import fit, intensity
from mm.plots.picture import Picture

__all__ = [
    "Picture",
    "fit",
    "intensity",
    "over_time",
    "pulls",
    "quantiles",
    "round_trip",
    "waterfall",
]
