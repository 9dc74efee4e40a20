"""What a classifier answered on a split: pictures, tables, and its mistakes with the words that made them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor

from unroll.data.labelled_text import LabelledText
from unroll.insight.classification import Answers, draw_confusion, draw_reliability, write_classes
from unroll.insight.difficulty import draw_difficulty, group_by_difficulty, write_difficulty
from unroll.insight.showing import show
from unroll.insight.words import Explanation, page
from unroll.writing import write_csv, written_whole

_MOST_WRONG = 100  # rows of the table of mistakes
_EXPLAINED = 12  # of them, those whose words are coloured
_PRINTED = 3  # of these, those on the terminal


def report_answers(
    answers: Answers,
    rows: Tensor,
    data: LabelledText,
    splits: str,
    explain: Callable[[str], Explanation],
    folder: Path,
    loggers: Sequence[Logger],
) -> list[str]:
    """Put all of it into a run's folder, and the worst on the terminal.

    Args:
        answers: of the evaluation.
        rows: (count,): which text of the splits each answer is for.
        data: has the texts.
        splits: a split, or several joined by +.
        explain: tells which words of a text decided.
        folder: the run's.
        loggers: they get what they can show.

    Returns:
        Lines that tell where what is.
    """
    names = data.spec.labels
    texts = [text for split in splits.split("+") for text in data.examples[split].texts]
    hardness = [data.difficulty(split) for split in splits.split("+")]
    label, values = hardness[0][0], np.concatenate([values for _, values in hardness])
    chance = float(answers.labels.bincount().max() / len(answers.labels))
    hits = answers.right.numpy()
    difficulty = group_by_difficulty(
        label, "accuracy", 1.0, chance, values[rows.numpy()], lambda some: float(hits[some].mean())
    )
    pictures = {
        name: folder / "figures" / f"{name}_{splits}.png" for name in ("confusion", "reliability", "difficulty")
    }
    draw_confusion(answers.confusion(), names, pictures["confusion"])
    draw_reliability(answers, pictures["reliability"], "texts")
    draw_difficulty({"this model": difficulty}, pictures["difficulty"])
    tables = folder / "evaluation"
    write_classes(answers, names, tables / f"{splits}_classes.csv")
    write_difficulty(difficulty, tables / f"{splits}_difficulty.json")
    header = ["right", "answered", "probability", "text"]
    mistakes = []
    shown: list[tuple[str, Explanation]] = []
    for index in answers.most_wrong(_MOST_WRONG):
        right, said = names[answers.labels[index]], names[answers.chosen[index]]
        sure, text = float(answers.probabilities[index].max()), texts[rows[index]]
        mistakes.append([right, said, round(sure, 4), text])
        if len(shown) < _EXPLAINED:
            shown.append((f"{right}, answered {said} ({sure:.0%})", explain(text)))
    worst = shown[:_PRINTED]
    write_csv(tables / f"{splits}_most_wrong.csv", header, mistakes)
    for index in answers.surest(_EXPLAINED // 2):
        sure = float(answers.probabilities[index].max())
        head = f"{names[answers.labels[index]]}, answered right ({sure:.0%})"
        shown.append((head, explain(texts[rows[index]])))
    with written_whole(tables / f"{splits}_words.html") as unfinished:
        unfinished.write_text(page(f"Words that decided: {splits}", shown), encoding="utf-8")
    counts = [[name, *map(int, row)] for name, row in zip(names, answers.confusion(), strict=True)]
    shown_online = {"most_wrong": (header, mistakes), "confusion_matrix": (["right", *names], counts)}
    show(loggers, pictures, shown_online, splits)
    if worst:
        console = Console()
        console.print(f"\nthe worst mistakes of {splits}, and the words that made them:")
        for head, explanation in worst:
            console.print(f"  {head}", markup=False, highlight=False)
            console.print(explanation.rich(), highlight=False)
    return [
        f"{splits:<10} {folder}/evaluation/{splits}_most_wrong.csv, {splits}_words.html, {splits}_classes.csv; figures/"
    ]
