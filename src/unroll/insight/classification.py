"""What a classifier's answers are worth: scores, confusion, reliability, the worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

from unroll.insight.pictures import BLUE, GREY, new_figure, save_figure
from unroll.writing import write_csv

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

        accuracy; f1, the mean over the classes that occur or are answered (macro); auroc, of two classes only;
        calibration_error, the expected one: how far, on average over ten bins of confidence, confidence and accuracy lie
        apart (Guo et al. 2017).
        """
        classes = self.probabilities.shape[1]
        scores = {
            "accuracy": multiclass_accuracy(self.chosen, self.labels, classes, average="micro"),
            "f1": multiclass_f1_score(self.chosen, self.labels, classes, average="macro"),
            "calibration_error": multiclass_calibration_error(
                self.probabilities, self.labels, classes, n_bins=_BINS, norm="l1"
            ),
        }
        if classes == 2:  # of one class alone there is none
            both = len(self.labels.unique()) == 2
            scores["auroc"] = binary_auroc(self.probabilities[:, 1], self.labels) if both else torch.tensor(torch.nan)
        return {name: float(value) for name, value in scores.items()}

    def confusion(self) -> np.ndarray:
        """(classes, classes): row: what is right; column: what was answered."""
        matrix = multiclass_confusion_matrix(self.chosen, self.labels, self.probabilities.shape[1])
        return matrix.numpy()

    def by_class(self) -> list[tuple[float, float, float, int]]:
        """Precision, recall, F1 and how many there are of each class."""
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
    write_csv(path, ["class", "precision", "recall", "f1", "count"], rows)


def draw_confusion(matrix: np.ndarray, names: Sequence[str], picture: Path) -> None:
    """A confusion matrix: counts, coloured by their share of what is right.

    Args:
        matrix: (classes, classes) of int; row: what is right; column: what was answered.
        names: of the classes.
        picture: the file.
    """
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = 2.2 + 0.55 * len(names)
    figure, axes = new_figure(min(size + 1, 14), min(size, 13))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 20:
        for row in range(len(names)):
            for column in range(len(names)):
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    shown = [name if len(name) <= 18 else name[:17] + "…" for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=0 if len(names) < 4 else 90, parse_math=False)
    axes.set_yticks(range(len(names)), shown, parse_math=False)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
    save_figure(figure, picture)


def draw_reliability(answers: Answers, picture: Path, things: str) -> None:
    """Accuracy against confidence: on the diagonal, confidence is what it says. Below, how many answers have which.

    Args:
        answers: of the evaluation.
        picture: the file.
        things: what was classified, in the plural.
    """
    confidence = answers.probabilities.max(-1).values.numpy()
    right = answers.right.numpy()
    edges = np.linspace(0, 1, _BINS + 1)
    bins = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, _BINS - 1)
    figure, (axes, below) = new_figure(5.5, 5.5, nrows=2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfectly calibrated")
    filled = [number for number in range(_BINS) if (bins == number).any()]
    axes.plot(
        [confidence[bins == number].mean() for number in filled],
        [right[bins == number].mean() for number in filled],
        color=BLUE,
        marker="o",
        label=f"this model (calibration error {answers.scores()['calibration_error']:.3f})",
    )
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="upper left")
    below.hist(confidence, bins=edges, color=BLUE)
    below.set_xlabel("confidence (probability of the answer)")
    below.set_ylabel(things)
    below.set_xlim(0, 1)
    for part in (axes, below):
        part.grid(alpha=0.3)
    save_figure(figure, picture)
