"""Memory tasks: what is asked at the end of a sequence stood there a known number of steps before."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from pydantic import PositiveInt
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import SumMetric

from unroll.data.base import Data
from unroll.data.memory import EXACT, Drawn, MemoryBatch, MemoryBatches, MemoryData, MemorySpec, side_by_side
from unroll.evaluating import evaluating
from unroll.insight.difficulty import Difficulty, draw_difficulty, write_difficulty
from unroll.insight.reading import Reading, enough
from unroll.insight.showing import show
from unroll.models.seq_to_end import SeqToEnd
from unroll.predicting.memory import add_answering_arguments, answer_stream
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.state import State
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation

_OTHER_LAGS = (0.25, 0.5, 1, 2, 4)  # times the one that it was trained with


class Memory(Task):
    """Cross-entropy of the right symbols, or squared error of the right number; scored by the share that is right, beside
    what chance and a perfect memory would score.

    Args:
        spec: symbols, answers, and how many are asked for.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: `horizon` is how far gradients go; `carry_state`, whether more than that is seen; see `SeqToEnd`.
        embedding_size: see `SeqToEnd`.

    Raises:
        UsageError: a truncation that only a stream can have; see `SeqToEnd`, too.
    """

    unit = "steps"
    asked = " --text SEQUENCE"
    reads = MemoryData

    def __init__(
        self,
        spec: MemorySpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        truncation.refuse_for_sequences_that_end("these sequences end", carry_state=False)
        self.spec = spec
        self.model = SeqToEnd(
            len(spec.symbols),
            spec.features,
            spec.outputs,
            recurrent,
            embedding_size,
            truncation.horizon,
            truncation.carry_state,
        )
        self._right = SumMetric(nan_strategy="disable")
        self._asked = SumMetric(nan_strategy="disable")

    def loss(self, batch: MemoryBatch, state: State | None) -> Loss:
        answers = self._answers(batch.steps)
        if not self.training and batch.share:
            self._right.update(self._are_right(answers, batch.answers).sum())
            self._asked.update(batch.answers.numel())
        scored = torch.tensor(batch.answers.numel(), device=self.device)
        return Loss(self._costs(answers, batch.answers).mean(), scored, None)

    def _answers(self, steps: Tensor) -> Tensor:
        answers = self.model(steps, self.spec.asked)
        return answers.to(torch.promote_types(answers.dtype, torch.float32))  # half precision ends here

    def _costs(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """(asked, batch)."""
        if self.spec.answers:
            return F.cross_entropy(answers.movedim(-1, 1), wanted, reduction="none")
        return (answers.squeeze(-1) - wanted) ** 2

    def _are_right(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """(asked, batch) of bool."""
        if self.spec.answers:
            return answers.argmax(-1) == wanted
        return (answers.squeeze(-1) - wanted).abs() < EXACT

    def last_losses(self, batch: MemoryBatch) -> Tensor:
        return self._costs(self._answers(batch.steps), batch.answers)[-1]

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        data = cast(MemoryData, data)
        (name,) = data.named_splits(split)
        drawn = data.drawn(name)
        drawn = drawn.take(enough(np.full(len(drawn.steps), drawn.steps.shape[1]), steps))
        words = [[f"{word} " for word in self.spec.write(steps).split()] for steps in drawn.steps]
        batch = self.transfer_batch_to_device(side_by_side(drawn), self.device, 0)
        if not self.spec.answers:
            return Reading(batch, {"": words})
        return Reading(
            batch, {"": words}, {"first answer": [self.spec.answers[first] for first in drawn.answers[:, 0]]}
        )

    def predictions(self, batch: MemoryBatch) -> list[tuple[str, Tensor]]:
        """Each answer."""
        answers = self._answers(batch.steps)
        if not self.spec.answers:
            return [(f"{value[0].item():.3f}", value) for value in answers.squeeze(-1)]
        best, numbers = F.log_softmax(answers, dim=-1).max(-1)
        return [(self.spec.answers[row[0]], value) for row, value in zip(numbers.tolist(), best, strict=True)]

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss" if self.spec.answers else "mse": loss}

    @property
    def evaluation_metrics(self) -> list[str]:
        return [*self.metrics(1.0), "accuracy"]

    def start_observing(self) -> None:
        self._right.reset()
        self._asked.reset()

    def observed(self) -> dict[str, float]:
        return {"accuracy": (self._right.compute() / self._asked.compute()).item()}

    def definitions(self) -> dict[str, str]:
        if self.spec.answers:
            return {"accuracy": "share of the answers that are right"}
        return {"accuracy": f"share of the answers that are off by less than {EXACT} (Hochreiter & Schmidhuber 1997)"}

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        data = cast(MemoryData, data)
        return {
            "chance": dict.fromkeys(splits, data.guessing),
            "optimum": dict.fromkeys(splits, data.knowing),
        }

    def tokens(self, batch: MemoryBatch) -> int:
        return batch.steps.shape[0] * batch.steps.shape[1]

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        data = cast(MemoryData, data)
        lags = sorted({max(data.shortest, round(share * data.lag)) for share in _OTHER_LAGS})
        loader = data.eval_dataloader(splits)
        drawn = [loader.drawn if lag == data.lag else data.drawn_at(lag, splits) for lag in lags]
        scores = [self.accuracy(some, loader.batch_size) for some in drawn]
        chance = data.guessing["accuracy"]
        line = Difficulty(
            "lag (steps)",
            "accuracy",
            1.0,
            chance,
            [float(lag) for lag in lags],
            scores,
            [len(some.steps) for some in drawn],
        )
        picture = folder / "figures" / f"lags_{splits}.png"
        draw_difficulty({f"trained at {data.lag}": line}, picture)
        write_difficulty(line, folder / "evaluation" / f"{splits}_difficulty.json")
        show(loggers, {"lags": picture}, under=splits)
        told = ", ".join(f"{score:.3f} at {lag}" for lag, score in zip(lags, scores, strict=True))
        return [f"{splits:<10} accuracy by lag: {told}; {picture}"]

    @torch.inference_mode()
    def accuracy(self, drawn: Drawn, batch_size: int = 1000) -> float:
        """The share of the answers that are right."""
        right = 0
        with evaluating(self):
            for batch in MemoryBatches(drawn, batch_size):
                batch = self.transfer_batch_to_device(batch, self.device, 0)
                right += int(self._are_right(self._answers(batch.steps), batch.answers).sum())
        return right / drawn.answers.size

    @torch.inference_mode()
    def answer(self, text: str) -> str:
        """The answer to a sequence of any length, as it is written; its end says what is asked.

        Raises:
            UserError: a step that there cannot be.
        """
        steps = self.spec.read(text)
        batch = side_by_side(Drawn(steps[None], np.zeros((1, self.spec.asked), np.int8)))
        with evaluating(self):
            answers = self._answers(batch.steps.to(self.device))[:, 0]
        if not self.spec.answers:
            return " ".join(f"{value:.4f}" for value in answers.flatten().tolist())
        return " ".join(self.spec.answers[number] for number in answers.argmax(-1).tolist())

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_answering_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        answer_stream(self, options)
