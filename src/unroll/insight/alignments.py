"""Where a model looks while it writes, drawn: source words on one axis, what was written on the other."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from pydantic import PositiveInt

from unroll.insight.pictures import new_figure, save_figure
from unroll.insight.showing import show

_WORDS, _LETTERS = 40, 20  # of a sentence and of a word that are drawn


class Alignment(NamedTuple):
    """Which source words each written word was made from.

    Attributes:
        source: the source's words.
        target: the written ones; the last is the end.
        weights: (target words, source words); each row sums to 1.
    """

    source: list[str]
    target: list[str]
    weights: np.ndarray


def by_words(weights: np.ndarray, target_places: list[int], source_places: list[int]) -> np.ndarray:
    """Weights (target tokens, source tokens) as weights of words: summed over a source word's tokens, averaged over a
    target word's."""
    summed = np.zeros((len(weights), max(source_places) + 1))
    np.add.at(summed.T, source_places, weights.T)
    total = np.zeros((max(target_places) + 1, summed.shape[1]))
    np.add.at(total, target_places, summed)
    return total / np.bincount(target_places)[:, None]


def draw_alignments(alignments: list[Alignment], picture: Path) -> None:
    """Each in a field of its own, of a long one the beginning; the darker, the more weight. The rest of a long source has a
    last column, with all its weight."""
    alignments = [_shortened(found) for found in alignments]
    sizes = [(len(found.target), len(found.source)) for found in alignments]
    height = sum(1.3 + 0.26 * rows for rows, _ in sizes)
    width = 2.2 + 0.34 * max(columns for _, columns in sizes)
    ratios = [1.3 + 0.26 * rows for rows, _ in sizes]
    figure, fields = new_figure(max(width, 5), height, nrows=len(alignments), height_ratios=ratios)
    for axes, found in zip(np.atleast_1d(fields), alignments, strict=True):
        axes.pcolormesh(found.weights, cmap="Blues", vmin=0, vmax=1, edgecolors="#EEEEEE", linewidth=0.5)
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        middles = np.arange(max(found.weights.shape)) + 0.5
        source, target = (middles[: len(words)] for words in (found.source, found.target))
        axes.set_xticks(source, found.source, rotation=60, ha="left", fontsize=9, parse_math=False)
        axes.set_yticks(target, found.target, fontsize=9, parse_math=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    save_figure(figure, picture)


def _shortened(found: Alignment) -> Alignment:
    source, weights = [_cut(word) for word in found.source[:_WORDS]], found.weights[:_WORDS]
    if len(found.source) > _WORDS:
        source.append(f"… {len(found.source) - _WORDS} more")
        weights = np.column_stack([weights[:, :_WORDS], weights[:, _WORDS:].sum(1)])
    return Alignment(source, [_cut(word) for word in found.target[:_WORDS]], weights)


def _cut(word: str) -> str:
    return word if len(word) <= _LETTERS else f"{word[: _LETTERS - 1]}…"


class Alignments(Callback):
    """After each validation, a picture of where the model looks, for the same sentences every time:
    figures/alignments/step_N.png, and in W&B. For tasks that have a method `alignments`, and attention.

    Args:
        sentences: of the validation split, from its beginning on.
    """

    def __init__(self, sentences: PositiveInt) -> None:
        self.sentences = sentences

    @rank_zero_only
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        align: Any = getattr(pl_module, "alignments", None)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
        picture = Path(trainer.default_root_dir) / "figures" / "alignments" / f"step_{trainer.global_step:07d}.png"
        if align is None or trainer.state.fn != "fit" or data is None:
            return
        found = align(data.pairs["validation"].sources[: self.sentences])
        if not found:
            return
        draw_alignments(found, picture)
        show(trainer.loggers, {"alignments": picture}, step=trainer.global_step)
