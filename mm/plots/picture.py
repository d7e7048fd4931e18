"""A figure as it is shown, stored and mailed: a small palette PNG with its alt text."""

from __future__ import annotations

import base64
import io
import textwrap
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

#: Width of a figure on screen in CSS pixels; the PNG has SHARPNESS times as many. A phone shows it
#: at two thirds of that: letters are drawn large enough to be read there.
WIDTH_PX = 520
SHARPNESS = 2
#: Colours that a PNG has exactly as they were drawn; the others are rounded to steps of a channel.
#: Together they are never more than the 256 that a palette holds.
_EXACT, _STEP = 32, 51
DPI = 100

# Okabe & Ito (2008), "Color universal design": told apart by the colour-blind.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY, INK, GREY, FAINT = "#56B4E9", "#222222", "#777777", "#DDDDDD"

STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # or every label is measured first, to find room that is there anyway
    "axes.labelsize": 11,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.bottom": False,  # the grid says it
    "ytick.left": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "legend.borderaxespad": 0.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "font.size": 11,
    "text.hinting": "none",  # at this sharpness it moves letters more than it helps them
}


@dataclass(frozen=True)
class Picture:
    """A finished figure. Shows itself in a notebook, once, with its alt text beside the image.

    ``png``: the image. ``alt``: what it shows, in words, for people who can't see it.
    ``width``, ``height``: size on screen, CSS pixels.
    """

    png: bytes
    alt: str
    width: int
    height: int

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        image = base64.b64encode(self.png).decode("ascii")
        size = {"width": self.width, "height": self.height}
        return {"image/png": image, "text/plain": self.alt}, {"image/png": size}


def style() -> AbstractContextManager[None]:
    """The common style, for the time a figure is built: matplotlib's defaults, whatever the user
    has set, and ours."""
    user = {
        name: default
        for name, default in mpl.rcParamsDefault.items()
        if not name.startswith("backend") and mpl.rcParams[name] != default
    }
    return mpl.rc_context(cast("Any", user | STYLE))


def new_figure(height_px: int) -> Figure:
    """An empty figure in the common style. It belongs to no backend, so nothing shows it twice."""
    with style():
        return Figure(figsize=(WIDTH_PX / DPI, height_px / DPI), dpi=DPI * SHARPNESS)


def nothing(why: str) -> Picture:
    """A picture that says why there is none."""
    figure = new_figure(60)
    figure.text(0.02, 0.5, textwrap.fill(why, 52), va="center", color=GREY, fontsize=11)
    return finish(figure, why)


def finish(figure: Figure, alt: str) -> Picture:
    """Render a figure to a palette PNG at screen sharpness."""
    canvas: Any = FigureCanvasAgg(figure)
    with style():
        canvas.draw()
    width, height = canvas.get_width_height()
    index, palette = _indexed(np.frombuffer(canvas.buffer_rgba(), dtype=np.uint32))
    image = Image.frombuffer("P", (width, height), index.tobytes())
    image.putpalette(palette.tobytes())
    small = io.BytesIO()
    image.save(small, format="png", compress_level=6)
    return Picture(small.getvalue(), alt, width // SHARPNESS, height // SHARPNESS)


def _indexed(pixels: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Pixels as numbers of at most 256 colours, shape (n,), and those colours, shape (colours, 3).

    Works on runs of one colour, which a drawing has few of. The colours of areas are kept, the
    shades at the edges of letters and lines are rounded: no hue is lost, however little is of it.
    """
    starts = np.flatnonzero(np.concatenate([[True], pixels[1:] != pixels[:-1]]))
    lengths = np.diff(np.append(starts, len(pixels)))
    colours, which = np.unique(pixels[starts], return_inverse=True)
    channels = colours.view(np.uint8).reshape(-1, 4)[:, :3]
    chosen = np.argsort(-np.bincount(which, lengths), kind="stable")[:_EXACT]
    rounded = _STEP * ((channels.astype(np.int64) + _STEP // 2) // _STEP)
    rounded[chosen] = channels[chosen]
    palette, number = np.unique(rounded @ (65536, 256, 1), return_inverse=True)
    index = np.repeat(number.astype(np.uint8)[which], lengths)
    return index, palette.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
