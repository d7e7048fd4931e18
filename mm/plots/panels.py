"""Empty axes in the common style, and the few marks that matplotlib is slow at.

Making axes and their ticks takes a third of a small figure's time. A process that forks kernels
makes some ahead; whoever finds none makes his own, the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mm.plots.picture import DPI, WIDTH_PX, new_figure, style

#: Room around the axes, CSS pixels.
LEFT_PX, RIGHT_PX, BOTTOM_PX, TOP_PX = 80, 12, 54, 32
#: What one calibration draws: figures of one panel, and of two, one beneath the other.
_DRAWN = {1: 6, 2: 2}
_TICKS = 8
_GAP = 0.12
_ahead: dict[int, list[Figure]] = {}


def make_ahead() -> None:
    """Make the figures of one calibration, for a process that is forked from this one."""
    for panels, times in _DRAWN.items():
        _ahead[panels] = [_new(panels) for _ in range(times)]


def panel(
    height_px: int, *, left_px: int = LEFT_PX, top_px: int = TOP_PX, bottom_px: int = BOTTOM_PX
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes. It belongs to no backend, so nothing shows it twice."""
    figure = _take(1)
    _fit(figure, height_px, left_px, top_px, bottom_px)
    return figure, figure.axes[0]


def two_panels(
    height_px: int, ratio: float, *, left_px: int = LEFT_PX, top_px: int = TOP_PX
) -> tuple[Figure, Axes, Axes]:
    """A figure of two panels over one x axis, the upper one ``ratio`` times as high."""
    figure = _take(2)
    top, beneath = figure.axes
    grid = top.get_gridspec()
    assert grid is not None
    grid.set_height_ratios((ratio, 1.0))
    _fit(figure, height_px, left_px, top_px, BOTTOM_PX)
    return figure, top, beneath


def bars(
    axes: Axes,
    begin: ArrayLike,
    width: float,
    length: ArrayLike,
    colour: str | Sequence[str],
    label: str | None = None,
    *,
    across: bool = False,
) -> None:
    """Bars that stand on zero, as one mark: one each takes a millisecond for every three bars.

    ``across``: they lie along x.
    """
    first = np.asarray(begin, dtype=float)
    last, low, high = first + width, np.minimum(length, 0.0), np.maximum(length, 0.0)
    sides, ends = [first, first, last, last], [low, high, high, low]
    x, y = (ends, sides) if across else (sides, ends)
    corners = np.stack([np.stack(x, axis=1), np.stack(y, axis=1)], axis=2)
    axes.add_collection(
        PolyCollection(corners.tolist(), facecolors=colour, edgecolors="none", label=label)
    )
    axes.autoscale_view()


def _take(panels: int) -> Figure:
    waiting = _ahead.get(panels)
    return waiting.pop() if waiting else _new(panels)


def _new(panels: int) -> Figure:
    figure = new_figure(300)
    with style():
        if panels == 1:
            figure.add_subplot()
        else:
            grid = figure.add_gridspec(2, 1, hspace=_GAP)
            top = figure.add_subplot(grid[0])
            figure.add_subplot(grid[1], sharex=top)
            top.tick_params(labelbottom=False)
        for axes in figure.axes:
            for axis, most in ((axes.xaxis, 7), (axes.yaxis, 6 - panels + 1)):
                axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
                axis.get_major_ticks(_TICKS)
    return figure


def _fit(figure: Figure, height_px: int, left_px: int, top_px: int, bottom_px: int) -> None:
    """Margins and places of labels are fixed: measuring what is there takes longer than drawing."""
    figure.set_figheight(height_px / DPI)
    figure.subplots_adjust(
        left_px / WIDTH_PX, bottom_px / height_px, 1 - RIGHT_PX / WIDTH_PX, 1 - top_px / height_px
    )
    width = WIDTH_PX - left_px - RIGHT_PX
    for axes in figure.axes:
        axes.yaxis.set_label_coords(-(left_px - 24) / width, 0.5)
    lowest = figure.axes[-1]
    high = lowest.get_position().height * height_px
    lowest.xaxis.set_label_coords(0.5, -(bottom_px - 24) / high)
