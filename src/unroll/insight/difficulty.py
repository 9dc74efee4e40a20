"""A score against what makes a sequence hard: its length, or how far back lies what decides."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unroll.data.base import DAMAGED
from unroll.errors import UserError
from unroll.insight.pictures import COLOURS, GREY, MARKERS, legend_below, new_figure, save_figure
from unroll.writing import written_whole

_GROUPS = 10


@dataclass(frozen=True)
class Difficulty:
    """A line of the picture.

    Attributes:
        label: what makes it hard, with its unit.
        score: what is scored.
        most: the best score there is.
        chance: the score of always giving the most frequent answer; None where there is no such thing.
        values: the mean of what makes it hard in each group of sequences.
        scores: the score of each group.
        counts: sequences in each group.
    """

    label: str
    score: str
    most: float
    chance: float | None
    values: list[float]
    scores: list[float]
    counts: list[int]


def group_by_difficulty(
    label: str,
    score: str,
    most: float,
    chance: float | None,
    values: np.ndarray,
    scored: Callable[[np.ndarray], float],
) -> Difficulty:
    """The score of each of up to ten groups of like difficulty, each with about a tenth of the sequences or more.

    Args:
        label, score, most, chance: see `Difficulty`.
        values: (count,): how hard each is.
        scored: the score of those where its argument, (count,) of bool, is true.
    """
    different, counts = np.unique(values, return_counts=True)
    inside: list[np.ndarray] = []
    taken = 0
    for value, count in zip(different, counts, strict=True):
        if taken == 0:
            inside.append(values == value)
        else:
            inside[-1] |= values == value
        taken += count
        if taken >= len(values) / _GROUPS:
            taken = 0
    if 0 < taken < len(values) / (2 * _GROUPS) and len(inside) > 1:  # too few for a point of their own
        inside[-2:] = [inside[-2] | inside[-1]]
    return Difficulty(
        label,
        score,
        most,
        chance,
        [float(values[some].mean()) for some in inside],
        [scored(some) for some in inside],
        [int(some.sum()) for some in inside],
    )


def write_difficulty(line: Difficulty, path: Path) -> None:
    """Keep a line, for those who draw several runs into one picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(asdict(line), ensure_ascii=False), encoding="utf-8")


def read_difficulty(path: Path) -> Difficulty:
    """What `write_difficulty` wrote.

    Raises:
        UserError: it is not whole, or something else.
    """
    try:
        return Difficulty(**json.loads(path.read_text(encoding="utf-8")))
    except DAMAGED as error:
        raise UserError(
            f"{path}: is not whole ({error!r}); `evaluate.py RUN --split validation` writes it anew"
        ) from None


def draw_difficulty(lines: dict[str, Difficulty], picture: Path) -> None:
    """A line for each name, all of the same label."""
    figure, axes = new_figure(7.5, 4.5)
    for number, (name, line) in enumerate(lines.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        # The first ones broader, so that they show under those that lie on them.
        broad = 1 + 4 / (1 + number)
        dashes = "-" if number < len(COLOURS) else "--"
        style = {"linestyle": dashes, "linewidth": broad, "markersize": 4 + broad, "clip_on": False}
        axes.plot(line.values, line.scores, color=colour, marker=marker, label=name, **style)
    first = next(iter(lines.values()))
    if first.chance is not None:
        axes.axhline(first.chance, color=GREY, linewidth=1, linestyle="--", label="best constant answer")
    axes.set_xlabel(first.label)
    axes.set_ylabel(first.score)
    lowest = min(value for line in lines.values() for value in [*line.scores, first.chance or line.most])
    axes.set_ylim(max(0, lowest - 0.05 * first.most), first.most)
    axes.grid(alpha=0.3)
    legend_below(figure, axes)
    save_figure(figure, picture)
