"""Pictures read a pixel a step, and their class at the end: sequential and permuted MNIST."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.optim import Optimizer

from unroll.data.base import Data
from unroll.data.pixels import PixelBatch, PixelData, PixelSpec
from unroll.errors import UsageError
from unroll.evaluating import evaluating
from unroll.insight.pixels import linear_model, report_pixels
from unroll.insight.reading import Reading, enough
from unroll.models.seq_to_end import SeqToEnd
from unroll.predicting.pixels import add_classifying_arguments, classify_stream
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.state import State
from unroll.tasks.base import Loss
from unroll.tasks.classifier import Classifier, Prediction
from unroll.truncation import Truncation

_SHADES = " ░▒▓█"
_AT_ONCE = 256  # pictures that are classified together


class Pixels(Classifier):
    """Cross-entropy of the class, told from the last step's output; scored beside a linear model, which sees all pixels at
    once.

    Args:
        spec: size, classes, and the order of the pixels.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: `horizon` is how far gradients go; `carry_state`, whether more than that is seen; see `SeqToEnd`.
        baseline: whether the linear model is put into the same table.

    Raises:
        UsageError: a truncation that only a stream can have, or a bidirectional stack; see `SeqToEnd`.
    """

    unit = "steps"
    asked = " --image FILE"
    reads = PixelData
    spec: PixelSpec

    def __init__(
        self,
        spec: PixelSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        baseline: bool,
    ) -> None:
        super().__init__(spec, optimizer, schedule, truncation)
        truncation.refuse_for_sequences_that_end("a picture is read as a whole", carry_state=False)
        self.baseline = baseline
        self.model = SeqToEnd(0, 1, len(spec.labels), recurrent, 1, truncation.horizon, truncation.carry_state)

    def loss(self, batch: PixelBatch, state: State | None) -> Loss:
        logits = self._logits(batch.steps)
        value = F.cross_entropy(logits, batch.labels)
        if not self.training:
            self._observe(batch, logits)
        return Loss(value, torch.full((), float(len(batch.labels)), device=value.device), None)

    def _logits(self, steps: Tensor) -> Tensor:
        """(batch, classes), in float32 or more."""
        logits = self.model(steps, 1)[0]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision ends here

    def last_losses(self, batch: PixelBatch) -> Tensor:
        return F.cross_entropy(self._logits(batch.steps), batch.labels, reduction="none")

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first pictures of a split, a shade a step."""
        data = cast(PixelData, data)
        (name,) = data.named_splits(split)
        loader = data.eval_dataloader(name)
        size = self.spec.size
        rows = enough(np.full(len(loader.labels), size * size), steps)
        batch = loader.collate(rows, rows)
        shades = (batch.steps[..., 0].T * (len(_SHADES) - 1)).round().long().tolist()
        ends = ["\n" if self.spec.permutation is None and (step + 1) % size == 0 else "" for step in range(size * size)]
        words = [[_SHADES[shade] + end for shade, end in zip(picture, ends, strict=True)] for picture in shades]
        return Reading(
            self.transfer_batch_to_device(batch, self.device, 0),
            {"": words},
            {"class": [self.spec.labels[label] for label in loader.labels[rows]]},
        )

    def predictions(self, batch: PixelBatch) -> list[tuple[str, Tensor]]:
        """The class that is chosen for the first picture."""
        scores = F.log_softmax(self._logits(batch.steps), dim=-1)
        chosen = int(scores[0].argmax())
        return [(self.spec.labels[chosen], scores[:, chosen])]

    def tokens(self, batch: PixelBatch) -> int:
        return batch.steps.shape[0] * batch.steps.shape[1]

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        if not self.baseline:
            return {}
        data = cast(PixelData, data)
        loaders = {split: data.eval_dataloader(split) for split in splits}
        scored = {split: (loader.pictures, loader.labels) for split, loader in loaders.items()}
        answers = linear_model(data.encoded("train"), data.labels("train"), scored, len(self.spec.labels))
        return {"linear": {split: found.scores() for split, found in answers.items()}} if answers else {}

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        assert self.answers is not None
        data = cast(PixelData, data)
        pictures = data.eval_dataloader(splits).pictures
        several = [data.rows[name] for name in splits.split("+")]
        places = [rows.place(index) for rows in several for index in range(len(rows.given))]
        return report_pixels(*self.answers, pictures, places, self.spec.labels, splits, folder, loggers)

    @torch.inference_mode()
    def classify(self, pictures: np.ndarray) -> list[Prediction]:
        """Classify pictures, in any number.

        Args:
            pictures: (count, size, size) of uint8, of the spec's size.

        Raises:
            UsageError: of another size.
        """
        if pictures.shape[1:] != (self.spec.size, self.spec.size):
            raise UsageError(
                f"pictures of {self.spec.size} x {self.spec.size} are read, and these are {pictures.shape[1:]}"
            )
        if not len(pictures):
            return []
        with evaluating(self):
            found = [
                torch.softmax(self._logits(self.spec.read(pictures[start : start + _AT_ONCE]).to(self.device)), -1)
                for start in range(0, len(pictures), _AT_ONCE)
            ]
        return [Prediction(self.spec.labels[int(row.argmax())], row.tolist()) for row in torch.cat(found).cpu()]

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_classifying_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        classify_stream(self, options)
