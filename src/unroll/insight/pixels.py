"""Pictures and the classes that a model gave them: a linear model beside it, confusion, reliability, the worst mistakes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from unroll.insight.classification import Answers, draw_confusion, draw_reliability, write_classes
from unroll.insight.pictures import BLUE, ORANGE, draw_beside
from unroll.insight.showing import show
from unroll.writing import write_csv

_FITTED = 5000  # pictures that the linear model is fitted to: ten times as many change little, and take minutes
_MOST_WRONG = 100  # rows of the table of mistakes
_SHEET, _COLUMNS = 24, 8


def linear_model(
    pictures: np.ndarray, labels: np.ndarray, scored: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: int
) -> dict[str, Answers]:
    """A logistic regression on all pixels at once (scikit-learn's, as it comes), fitted to 5,000 pictures at most, drawn.

    Args:
        pictures: (count, size, size) of uint8, of train.
        labels: (count,) of int64.
        scored: for each split that is to be answered its pictures and labels.
        classes: how many there are.

    Returns:
        The answers to each split; none where one class alone was drawn.
    """
    from sklearn.linear_model import LogisticRegression

    drawn = np.random.default_rng(0).permutation(len(labels))[:_FITTED]
    if len(set(labels[drawn].tolist())) < 2:
        return {}
    model = LogisticRegression(max_iter=1000).fit(pictures[drawn].reshape(len(drawn), -1) / 255, labels[drawn])
    answers = {}
    for split, (some, right) in scored.items():
        probabilities = np.zeros((len(some), classes))
        probabilities[:, model.classes_] = model.predict_proba(some.reshape(len(some), -1) / 255)
        answers[split] = Answers(torch.from_numpy(probabilities), torch.from_numpy(right))
    return answers


def report_pixels(
    answers: Answers,
    rows: Tensor,
    pictures: np.ndarray,
    places: Sequence[str],
    names: Sequence[str],
    splits: str,
    folder: Path,
    loggers: Sequence[Logger],
) -> list[str]:
    """Put what was answered into a run's folder.

    Args:
        answers: of the evaluation.
        rows: (count,): which picture each answer is for.
        pictures: (count, size, size) of uint8.
        places: where each stands in its source.
        names: of the classes.
        splits: a split, or several joined by +.
        folder: the run's.
        loggers: they get what they can show.

    Returns:
        Lines that tell where what is.
    """
    drawn = {name: folder / "figures" / f"{name}_{splits}.png" for name in ("confusion", "reliability", "mistakes")}
    draw_confusion(answers.confusion(), names, drawn["confusion"])
    draw_reliability(answers, drawn["reliability"], "pictures")
    worst = answers.most_wrong(_MOST_WRONG)
    shown = (worst + answers.surest(_SHEET))[:_SHEET]
    _draw_sheet(answers, pictures[rows.numpy()[shown]], shown, names, drawn["mistakes"])
    tables = folder / "evaluation"
    write_classes(answers, names, tables / f"{splits}_classes.csv")
    header = ["right", "answered", "probability", "picture"]
    mistakes = [
        [
            names[int(answers.labels[index])],
            names[int(answers.chosen[index])],
            round(float(answers.probabilities[index].max()), 4),
            places[int(rows[index])],
        ]
        for index in worst
    ]
    write_csv(tables / f"{splits}_most_wrong.csv", header, mistakes)
    show(loggers, drawn, {"most_wrong": (header, mistakes)}, splits)
    return [f"{splits:<10} {drawn['mistakes']} shows the worst; {tables}/{splits}_most_wrong.csv, {splits}_classes.csv"]


def _draw_sheet(
    answers: Answers, pictures: np.ndarray, shown: Sequence[int], names: Sequence[str], picture: Path
) -> None:
    cells = []
    for pixels, index in zip(pictures, shown, strict=True):
        right, told = names[int(answers.labels[index])], names[int(answers.chosen[index])]
        cells.append((pixels, told, BLUE) if right == told else (pixels, f"{told}, not {right}", ORANGE))
    draw_beside(cells, _COLUMNS, 1.4, 0.35, picture, cmap="gray", vmin=0, vmax=255)
