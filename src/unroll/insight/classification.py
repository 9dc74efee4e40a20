"""What a classifier's answers are worth: scores, confusion, reliability, the worst mistakes."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from unroll.writing import written_whole

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#999999"
_BINS = 10


@dataclass(frozen=True)
class Answers:
    """What was answered to a split.

    Attributes:
        probabilities: (count, classes) of float64.
        labels: (count,) of int64: what is right.
    """

    probabilities: Tensor
    labels: Tensor

    @property
    def chosen(self) -> Tensor:
        """(count,): the most probable class of each."""
        return self.probabilities.argmax(-1)

    @property
    def right(self) -> Tensor:
        """(count,) of bool."""
        return self.chosen == self.labels

    def scores(self) -> dict[str, float]:
        """By standard names.

        accuracy; f1, the mean over the classes (macro); auroc, of two classes only; calibration_error, the expected one:
        how far, on average over ten bins of confidence, confidence and accuracy lie apart (Guo et al. 2017).
        """
        classes = self.probabilities.shape[1]
        scores = {
            "accuracy": multiclass_accuracy(self.chosen, self.labels, classes, average="micro"),
            "f1": multiclass_f1_score(self.chosen, self.labels, classes, average="macro"),
            "calibration_error": multiclass_calibration_error(
                self.probabilities, self.labels, classes, n_bins=_BINS, norm="l1"
            ),
        }
        if classes == 2 and len(self.labels.unique()) == 2:
            scores["auroc"] = binary_auroc(self.probabilities[:, 1], self.labels)
        return {name: float(value) for name, value in scores.items()}

    def confusion(self) -> np.ndarray:
        """(classes, classes): row: what is right; column: what was answered."""
        matrix = multiclass_confusion_matrix(self.chosen, self.labels, self.probabilities.shape[1])
        return matrix.numpy()

    def by_class(self) -> list[tuple[float, float, float, int]]:
        """Precision, recall, F1 and number of texts of each class."""
        matrix = self.confusion()
        hits, answered, there = np.diag(matrix), matrix.sum(0), matrix.sum(1)
        return [
            (hit / max(said, 1), hit / max(real, 1), 2 * hit / max(said + real, 1), int(real))
            for hit, said, real in zip(hits, answered, there, strict=True)
        ]

    def most_wrong(self, count: int) -> list[int]:
        """The wrong answers whose right class was given the least probability, the worst first."""
        given = self.probabilities.gather(1, self.labels[:, None]).squeeze(1)
        wrong = torch.nonzero(~self.right).squeeze(1)
        return wrong[given[wrong].argsort(stable=True)][:count].tolist()

    def surest(self, count: int) -> list[int]:
        """The right answers with the greatest probability, the surest first."""
        right = torch.nonzero(self.right).squeeze(1)
        sure = self.probabilities.max(-1).values[right]
        return right[sure.argsort(descending=True, stable=True)][:count].tolist()


def write_classes(answers: Answers, names: Sequence[str], path: Path) -> None:
    """Precision, recall and F1 of each class, as CSV."""
    rows = [[name, *values] for name, values in zip(names, answers.by_class(), strict=True)]
    write_csv(path, ["class", "precision", "recall", "f1", "texts"], rows)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def draw_confusion(answers: Answers, names: Sequence[str], picture: Path) -> None:
    """The confusion matrix: counts, coloured by their share of what is right."""
    matrix = answers.confusion()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = 2.2 + 0.55 * len(names)
    figure, axes = _figure(min(size + 1, 14), min(size, 13))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 20:
        for row in range(len(names)):
            for column in range(len(names)):
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    shown = [name if len(name) <= 18 else name[:17] + "…" for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=0 if len(names) < 4 else 90)
    axes.set_yticks(range(len(names)), shown)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
    _save(figure, picture)


def draw_reliability(answers: Answers, picture: Path) -> None:
    """Accuracy against confidence: on the diagonal, confidence is what it says. Below, how many answers have which."""
    confidence = answers.probabilities.max(-1).values.numpy()
    right = answers.right.numpy()
    edges = np.linspace(0, 1, _BINS + 1)
    bins = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, _BINS - 1)
    figure, (axes, below) = _figure(5.5, 5.5, nrows=2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="perfectly calibrated")
    filled = [number for number in range(_BINS) if (bins == number).any()]
    axes.plot(
        [confidence[bins == number].mean() for number in filled],
        [right[bins == number].mean() for number in filled],
        color=_BLUE,
        marker="o",
        label=f"this model (calibration error {answers.scores()['calibration_error']:.3f})",
    )
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="upper left")
    below.hist(confidence, bins=edges, color=_BLUE)
    below.set_xlabel("confidence (probability of the answer)")
    below.set_ylabel("texts")
    below.set_xlim(0, 1)
    for part in (axes, below):
        part.grid(alpha=0.3)
    _save(figure, picture)


def accuracy_by(values: np.ndarray, right: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """Accuracy where a value is about the same: (mean value, accuracy, texts) in up to `bins` groups of like size."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    group = np.digitize(values, edges[1:-1], right=True)
    found = []
    for number in np.unique(group):
        inside = group == number
        found.append((float(values[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return found


def draw_accuracy_by(
    lines: dict[str, list[tuple[float, float, int]]], label: str, chance: float, picture: Path
) -> None:
    """Accuracy against what makes a text hard.

    Args:
        lines: for each name what `accuracy_by` found.
        label: of the horizontal axis.
        chance: what always answering the most frequent class gets.
        picture: the file.
    """
    figure, axes = _figure(7.5, 4.5)
    markers = "osD^vP*Xh<>"
    colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
    ends = []
    for number, (name, points) in enumerate(lines.items()):
        x, y, _ = zip(*points, strict=True)
        colour, marker = colours[number % len(colours)], markers[number % len(markers)]
        axes.plot(x, y, color=colour, marker=marker, markersize=5, label=name)
        ends.append(y[-1])
    axes.axhline(chance, color=_GREY, linewidth=1, linestyle="--", label="the most frequent class")
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy")
    axes.set_ylim(min(chance, *ends) - 0.05, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, picture)


def read_accuracy_by(path: Path) -> dict[str, Any]:
    """What `write_accuracy_by` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_accuracy_by(points: list[tuple[float, float, int]], label: str, chance: float, path: Path) -> None:
    """The points of the picture, for those who draw several runs into one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps({"label": label, "chance": chance, "points": points}, ensure_ascii=False))


def _figure(width: float, height: float, **grid: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    parts = figure.subplots(**grid)
    for axes in np.atleast_1d(parts):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, parts


def _save(figure: Any, picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(picture) as unfinished:
        figure.savefig(unfinished, format="png")
