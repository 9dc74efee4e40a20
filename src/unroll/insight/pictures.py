"""How pictures look, and how they come to the disk."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unroll.writing import written_whole

# The Okabe-Ito palette, told apart by every kind of eye; in print lines are told apart by their markers.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
GREY = "#999999"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK)
MARKERS = "osD^vP*Xh<>"


def new_figure(width: float, height: float, **grid: Any) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    parts = figure.subplots(**grid)
    for axes in np.ravel(parts):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, parts


def legend_below(figure: Any, axes: Any) -> None:
    """The names of an axes' lines under the whole figure, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, int(figure.get_figwidth() / (0.5 + 0.06 * max(map(len, labels)))))
    legend = figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_beside(
    cells: Sequence[tuple[np.ndarray, str, str]], columns: int, side: float, above: float, picture: Path, **image: Any
) -> None:
    """Small pictures beside each other, all in one axes: one for each takes ten times as long.

    Args:
        cells: of each its pixels as `imshow` has them, what stands above it, and in what colour.
        columns: so many in a line, at most.
        side, above: inches of a picture's place, and for what stands above it.
        picture: the file.
        **image: for `imshow`.
    """
    columns = min(columns, len(cells))
    lines = -(-len(cells) // columns)
    figure, axes = new_figure(side * columns, (side + above) * lines)
    axes.set_axis_off()
    for place, (pixels, told, colour) in enumerate(cells):
        x, y = place % columns + 0.5, (place // columns + 1) * (1 + above / side) - 0.5
        down, across = (0.47 * size / max(pixels.shape[:2]) for size in pixels.shape[:2])
        axes.imshow(pixels, extent=(x - across, x + across, y + down, y - down), interpolation="nearest", **image)
        axes.text(x, y - down, told, ha="center", va="bottom", fontsize=8, color=colour, parse_math=False)
    axes.set_xlim(0, columns)
    axes.set_ylim(lines * (1 + above / side), 0)
    save_figure(figure, picture)


def first_of(parts: Any, count: int) -> list[Any]:
    """The first axes of a grid that has more; the others are taken away."""
    axes = list(np.ravel(parts))
    for rest in axes[count:]:
        rest.remove()
    return axes[:count]


def save_figure(figure: Any, picture: Path) -> None:
    """Write a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    picture.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(picture) as unfinished, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # shown as a box; nothing to be told of
        FigureCanvasAgg(figure).print_png(unfinished)  # `savefig` goes over all that is drawn twice
