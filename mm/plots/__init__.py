"""The figures, in one style. Each function takes results and returns one :class:`Picture`."""

from mm.plots.curve import fit, intensity
from mm.plots.picture import Picture

__all__ = ["Picture", "fit", "intensity"]
