"""What a warm process does once, so that no kernel has to: fonts, styles, formatters."""

from __future__ import annotations


def draw() -> None:
    """Draw a figure as the template draws them and throw it away."""
    from mm.plots.picture import finish, new_figure, style

    figure = new_figure(200)
    with style():
        axes = figure.add_subplot()
        axes.errorbar([1, 2], [1, 2], yerr=0.1, fmt="o", label="λ(δ)")
        axes.set_yscale("log")
        axes.set_xlabel("δ")
        axes.legend()
    finish(figure, "")
