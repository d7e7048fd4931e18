"""A figure as it is shown, stored and mailed: a small palette PNG with its alt text."""

from __future__ import annotations

import base64
import io
import textwrap
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

#: Width of a figure on screen in CSS pixels; the PNG has SHARPNESS times as many. A phone shows it
#: at two thirds of that: letters are drawn large enough to be read there.
WIDTH_PX = 520
SHARPNESS = 2
_COLOURS = 256
_DPI = 100

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

    @property
    def data_url(self) -> str:
        """The image as a ``data:`` URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        image = base64.b64encode(self.png).decode("ascii")
        size = {"width": self.width, "height": self.height}
        return {"image/png": image, "text/plain": self.alt}, {"image/png": size}


def style() -> AbstractContextManager[None]:
    """The common style, for the time a figure is built."""
    return mpl.rc_context(cast("Any", STYLE))


def new_figure(height_px: int) -> Figure:
    """An empty figure in the common style. It belongs to no backend, so nothing shows it twice.

    Margins are fixed: measuring every label first costs more than drawing them.
    """
    with style():
        figure = Figure(figsize=(WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI * SHARPNESS)
    figure.subplots_adjust(80 / WIDTH_PX, 54 / height_px, 1 - 12 / WIDTH_PX, 1 - 32 / height_px)
    return figure


def nothing(why: str) -> Picture:
    """A picture that says why there is none."""
    with style():
        figure = Figure(figsize=(WIDTH_PX / _DPI, 0.6), dpi=_DPI * SHARPNESS)
    figure.text(0.02, 0.5, textwrap.fill(why, 52), va="center", color=GREY, fontsize=11)
    return finish(figure, why)


def finish(figure: Figure, alt: str) -> Picture:
    """Render a figure to a palette PNG at screen sharpness."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    image = Image.frombuffer("RGBA", (width, height), canvas.buffer_rgba()).convert("RGB")
    # The octree takes a seventh of the median cut's time, but makes white a shade darker.
    reduced = image.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, white = reduced.getpalette() or [], cast("int", reduced.getpixel((0, 0)))
    palette[3 * white : 3 * white + 3] = cast("tuple[int, int, int]", image.getpixel((0, 0)))
    reduced.putpalette(palette)
    small = io.BytesIO()
    reduced.save(small, format="png", compress_level=6)  # 9: six times as long for 15 % less
    return Picture(small.getvalue(), alt, width // SHARPNESS, height // SHARPNESS)
