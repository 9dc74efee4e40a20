"""Pictures and a table of what units do."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from unroll.insight.pictures import BLUE, GREY, ORANGE, first_of, new_figure, save_figure
from unroll.insight.units import Units
from unroll.writing import write_csv

STEPS = 40
"""Of a sequence, that a picture shows at most."""
_WIDE = 12  # characters of a step's name, at most


def draw_trajectories(found: Sequence[Units], picture: Path) -> None:
    """The path of the state through its two main directions (principal components), for a piece of the first sequence: a
    panel for each part.

    Args:
        found: as `look_at_units` returns it.
        picture: a PNG file.
    """
    found = found[-4:]  # the highest
    across = min(2, len(found))
    down = -(-len(found) // across)
    longest = max(len(part.words[0][_piece(part.words[0])]) for part in found) - 1
    figure, parts = new_figure(4.6 * across + 0.6, 4.4 * down + 0.3, nrows=down, ncols=across, squeeze=False)
    for axes, part in zip(parts.flat, found, strict=False):
        piece = _piece(part.words[0])
        states = part.states[0][piece]
        states = states - states.mean(0)
        _, sizes, directions = np.linalg.svd(states, full_matrices=False)
        shares = np.append(sizes**2 / max((sizes**2).sum(), 1e-300), 0.0)
        path = np.pad(states @ directions[:2].T, ((0, 0), (0, 1)))[:, :2]  # of a single unit there is one
        words = part.words[0][piece]
        axes.plot(*path.T, color=GREY, linewidth=0.8, zorder=1)
        shown = axes.scatter(*path.T, c=np.arange(len(path)), cmap="cividis", vmin=0, vmax=longest, s=14, zorder=2)
        for place, word in zip(path, words, strict=True):
            axes.annotate(
                _visible(word), place, xytext=(2, 2), textcoords="offset points", fontsize=7, parse_math=False
            )
        axes.plot(*path[0], marker="o", color=BLUE, markersize=9, fillstyle="none", linestyle="")
        axes.plot(*path[-1], marker="s", color=ORANGE, markersize=9, fillstyle="none", linestyle="")
        axes.set_title(part.cell, fontsize=9)
        axes.set_xlabel(f"first direction ({shares[0]:.0%} of the variance)", fontsize=8)
        axes.set_ylabel(f"second ({shares[1]:.0%})", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.colorbar(shown, ax=first_of(parts, len(found)), label="step", pad=0.01)
    figure.supxlabel("Circle: the first step; square: the last one shown.", fontsize=8, x=0.01, ha="left")
    save_figure(figure, picture)


def _piece(words: Sequence[str]) -> slice:
    """The part of a long sequence that a picture shows: the first of those with most letters."""
    letters = np.cumsum([0, *(word.strip().isalnum() for word in words)])
    starts = max(1, len(words) - STEPS + 1)
    start = int(np.argmax([letters[min(start + STEPS, len(words))] - letters[start] for start in range(starts)]))
    return slice(start, start + STEPS)


def draw_saliency(
    predictions: Sequence[str], tables: Mapping[str, np.ndarray], words: Mapping[str, Sequence[str]], picture: Path
) -> None:
    """How much each prediction hangs on each step before it: a panel for each stack that reads.

    Args:
        predictions: their names, down.
        tables: by the name of a stack, (predictions, steps); see `saliency`.
        words: by the same names, what its steps are in writing, across.
        picture: a PNG file.
    """
    rows = list(predictions)[-STEPS:]
    # Past the end of a sequence there is padding, beside longer ones.
    tables = {name: table[:, : len(words[name])] for name, table in tables.items()}
    steps = {name: min(table.shape[1], STEPS) for name, table in tables.items()}
    widths = [1.2 + 0.165 * count for count in steps.values()]
    height = 1.9 + 0.15 * len(rows)
    figure, parts = new_figure(max(6.0, sum(widths) + 1), height, ncols=len(tables), squeeze=False, width_ratios=widths)
    shown = None
    for axes, (name, table) in zip(parts.flat, tables.items(), strict=True):
        table, read = table[-len(rows) :, -steps[name] :], list(words[name])[: table.shape[1]][-steps[name] :]
        largest = table.max(axis=1, keepdims=True)
        share = np.log10(np.maximum(table / np.where(largest > 0, largest, 1), 1e-3))
        shown = axes.imshow(share, cmap="cividis", vmin=-3, vmax=0, aspect="auto", interpolation="none")
        axes.set_xticks(range(len(read)), [_visible(word) for word in read], fontsize=7, parse_math=False)
        axes.tick_params(axis="x", rotation=0 if max(map(len, read)) < 2 else 90)
        axes.set_yticks(range(len(rows)), [_visible(name) for name in rows], fontsize=7, parse_math=False)
        axes.set_xlabel(f"read by the {name}" if name != "recurrent" else "read")
    parts.flat[0].set_ylabel("predicted")
    bar = figure.colorbar(shown, ax=parts, label="share of the\nrow's largest", pad=0.01)
    bar.set_ticks([0, -1, -2, -3], labels=["1", "0.1", "0.01", "0.001 or less"])
    caption = (
        "Each row: a prediction, and how strongly it hangs on each step that was read: the norm of its gradient for it."
    )
    figure.supxlabel("\n".join(textwrap.wrap(caption, 100)), fontsize=8, x=0.01, ha="left")
    save_figure(figure, picture)


def _visible(word: str) -> str:
    """As it can stand at an axis."""
    shown = word.strip(" ") or "\u2423"
    shown = shown.replace("\n", "\u21b5").replace("\t", "\u21e5")
    return shown if len(shown) <= _WIDE else shown[: _WIDE - 1] + "\u2026"


def units_table(found: Sequence[Units]) -> Table:
    """For each part and property the unit that it explains best, for the terminal."""
    table = Table(
        box=box.SIMPLE,
        caption="R²: the share of the unit's variance that the property explains, on what was read",
        caption_justify="left",
    )
    for heading in ("part", "property", "unit", "R²"):
        table.add_column(heading, justify="right" if heading in ("unit", "R²") else "left")
    for part in found:
        ranked = sorted(part.explained.items(), key=lambda item: -item[1].max())
        for index, (name, explained) in enumerate(ranked[:4]):
            table.add_row(part.cell if index == 0 else "", name, str(int(explained.argmax())), f"{explained.max():.3f}")
    return table


def write_units(found: Sequence[Units], path: Path) -> None:
    """What explains each unit, as CSV: a row a unit, a column a property."""
    names = list(dict.fromkeys(name for part in found for name in part.explained))
    rows = [
        [part.cell, unit, *(f"{part.explained[name][unit]:.4f}" if name in part.explained else "" for name in names)]
        for part in found
        for unit in range(len(part.best))
    ]
    write_csv(path, ["part", "unit", *names], rows)
