"""What a warm process does once, so that no kernel has to: fonts, empty figures, tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.backends.registry import backend_registry


def draw() -> None:
    """Show a table and draw a figure as the template does, throw them away, and make empty figures
    ahead; look up the packages' entry points and versions, which a process does once."""
    from mm.core.display import html
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
    html("x")
    frame = pd.DataFrame({"a": [1.0]})
    frame._repr_html_()  # type: ignore[operator]
    frame.to_string()
    frame.to_csv()
    backend_registry.list_all()
    versions()
