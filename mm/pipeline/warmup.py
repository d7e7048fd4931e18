"""What a warm process does once, so that no kernel has to: fonts, empty figures, versions."""

from __future__ import annotations

import numpy as np


def draw() -> None:
    """Draw a figure as the template draws them, throw it away, and make empty ones ahead; look up
    the packages' versions, which a process does once."""
    from mm.plots.panels import bars, make_ahead, panel
    from mm.plots.picture import finish, style
    from mm.results.params import versions

    figure, axes = panel(200)
    with style():
        bars(axes, np.arange(2), 0.8, np.ones(2), "black")
        axes.errorbar([1, 2], [1, 2], yerr=0.1, fmt="o", label="λ(δ)")
        axes.set_yscale("log")
        axes.set_xlabel("δ")
        axes.legend()
    finish(figure, "")
    make_ahead()
    versions()
