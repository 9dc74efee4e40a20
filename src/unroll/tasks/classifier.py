"""One class for a whole sequence: how the answers of an evaluation are kept, and scored."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import CatMetric

from unroll.insight.classification import Answers
from unroll.schedule import Schedulers
from unroll.tasks.base import Task
from unroll.truncation import Truncation


class Prediction(NamedTuple):
    """An answer.

    Attributes:
        label: the name of the most probable class.
        probabilities: of each class, in the order of the spec's labels.
        unknown: whether nothing of the sequence is known to the model: then it says nothing of it.
    """

    label: str
    probabilities: list[float]
    unknown: bool = False


class _Labelled(Protocol):
    @property
    def rows(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def share(self) -> float: ...


class Classifier(Task):
    """What tasks share that answer with a class; scored by accuracy, F1, calibration, and AUROC of two classes.

    Args:
        spec: has `labels`, the names of the classes.
        optimizer, schedule, truncation: see `Task`.
    """

    def __init__(
        self,
        spec: Any,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        self.spec = spec
        self._answers = CatMetric(nan_strategy="disable")
        self.answers: tuple[Answers, Tensor] | None = None
        """What was answered in the last evaluation, and which row of the split each answer is for."""

    def _observe(self, batch: _Labelled, logits: Tensor) -> None:
        kind = torch.float32 if logits.device.type == "mps" else torch.float64  # which holds any row's number
        # A process that had nothing left to do gives a row too, which is known by its number: all must give some.
        rows = batch.rows if batch.share else batch.rows.new_full((1,), -1)
        found = torch.stack([rows, batch.labels], dim=1).to(kind)
        self._answers.update(torch.cat([found, torch.softmax(logits, -1).to(kind)], dim=1))

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss}

    @property
    def evaluation_metrics(self) -> list[str]:
        return ["loss", "accuracy", "f1", "calibration_error", *(["auroc"] if len(self.spec.labels) == 2 else [])]

    def start_observing(self) -> None:
        if self.device.type != "mps":  # which has no float64
            self._answers.set_dtype(torch.float64)
        self._answers.reset()

    def observed(self) -> dict[str, float]:
        found = self._answers.compute().cpu()
        found = found[found[:, 0] >= 0]
        found = found[found[:, 0].argsort()]  # the order of the split, however many processes there were
        answers = Answers(found[:, 2:].double(), found[:, 1].long())
        self.answers = answers, found[:, 0].long()
        return answers.scores()
