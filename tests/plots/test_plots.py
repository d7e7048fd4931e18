"""Figures: what a palette may change, and that figures made ahead change nothing."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mm.plots import panels
from mm.plots.picture import BLUE, RED, WIDTH_PX, finish, new_figure, style


def pixels(png: bytes) -> npt.NDArray[np.int64]:
    """RGB, shape (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int64)


def bars_and_words(height_px: int) -> bytes:
    """A figure of one panel with a large and a very small bar."""
    figure, axes = panels.panel(height_px)
    with style():
        panels.bars(axes, [0.0, 2.0], 1.0, [5.0, 0.02], [BLUE, RED], "some")
        axes.set_xlim(-1, 4)
        axes.set_title("Words, to have edges")
        axes.legend()
    return finish(figure, "").png


def curves(ratio: float) -> bytes:
    """A figure of two panels."""
    figure, top, beneath = panels.two_panels(400, ratio)
    with style():
        top.plot([0, 1, 2], [1, 10, 100])
        top.set_yscale("log")
        beneath.plot([0, 1, 2], [3, 1, 2])
    return finish(figure, "").png


def test_figures_made_ahead_are_those_made_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, of any height: so a warm kernel's figures are a stock kernel's."""
    monkeypatch.setattr(panels, "_ahead", {})
    on_demand = [bars_and_words(260), bars_and_words(330), curves(3.0), curves(1.0)]
    panels.make_ahead()
    made = {id(figure) for figures in panels._ahead.values() for figure in figures}
    assert made
    ahead = [bars_and_words(260), bars_and_words(330), curves(3.0), curves(1.0)]
    left = {id(figure) for figures in panels._ahead.values() for figure in figures}
    assert len(made - left) == 4  # each was taken from those
    assert ahead == on_demand


def test_a_palette_keeps_areas_exact_and_loses_no_hue() -> None:
    seen = pixels(bars_and_words(300))
    flat = {tuple(colour) for colour in seen.reshape(-1, 3).tolist()}
    assert (255, 255, 255) in flat
    assert (0x00, 0x72, 0xB2) in flat
    reds = seen[(seen[:, :, 0] > 150) & (seen[:, :, 2] < 120)]
    assert len(reds) > 50  # the bar of a hundredth of the axis is still red


def test_any_picture_fits_a_palette_within_half_a_step() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 2 * WIDTH_PX, 3), dtype=np.uint8)
    figure = new_figure(100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.imshow(noise, aspect="auto", interpolation="none")
    drawn = pixels(finish(figure, "").png)
    assert drawn.shape == noise.shape
    assert int(np.abs(drawn - noise).max()) <= 26
    assert len({tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}) <= 256


def test_bars_stand_on_zero_in_both_directions_and_scale_the_axes() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    panels.bars(axes, [1.0, 2.0], 0.5, [3.0, -2.0], BLUE)
    (marks,) = axes.collections
    ends = [path.get_extents().extents.tolist() for path in marks.get_paths()]
    assert ends == [[1.0, 0.0, 1.5, 3.0], [2.0, -2.0, 2.5, 0.0]]
    low, high = axes.get_ylim()
    assert low < -2.0
    assert high > 3.0
