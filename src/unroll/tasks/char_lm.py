"""Character language model: the next character, from all that came before."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch.optim import Optimizer

from unroll.cross_entropy import perplexity
from unroll.data.encoding import Vocabulary
from unroll.data.text_stream import Window
from unroll.errors import UsageError
from unroll.models.seq_to_seq import SeqToSeq
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.base import Loss
from unroll.tasks.language_model import LanguageModel
from unroll.truncation import Truncation


class CharLM(LanguageModel):
    """Cross-entropy of the next character; reported in nats (loss), bits (bpc), and as perplexity.

    Args:
        spec: the vocabulary.
        recurrent: makes the stack of cells.
        optimizer, schedule, truncation: see `Task`.
        loss_on: `all` steps of a window, or its `last` one alone: the next character after a fixed window. Evaluation
            scores every character all the same, unless truncation.carry_state is off too: then windows are all there is.
        embedding_size: width of the characters' embedding; None feeds one-hot vectors.
        freeze_embedding, tie_weights, input_dropout, output_dropout: see `SeqToSeq`.

    Raises:
        UsageError: a text by words; see `LanguageModel`, too.
    """

    def __init__(
        self,
        spec: Vocabulary,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        loss_on: Literal["all", "last"],
        embedding_size: PositiveInt | None,
        freeze_embedding: bool,
        tie_weights: bool,
        input_dropout: Probability,
        output_dropout: Probability,
    ) -> None:
        if spec.unit not in ("characters", "bytes"):
            raise UsageError(f"data.unit={spec.unit}: task=char_lm reads characters or bytes; task=word_lm reads words")
        model = SeqToSeq(
            spec.size, recurrent, embedding_size, freeze_embedding, tie_weights, input_dropout, output_dropout
        )
        super().__init__(spec, model, optimizer, schedule, truncation)
        self.loss_on = loss_on

    def loss(self, batch: Window, state: State | None) -> Loss:
        y, carried = self.model.hidden_of_window(batch.tokens, state, batch.advance)
        targets = batch.targets
        if self.loss_on == "last" and (self.training or not self.truncation.carry_state):
            targets = targets[-1:]
        logits = self.model.readout(y[-len(targets) :])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision ends here
        count = (targets >= 0).sum()
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
        return Loss(total / count.clamp(min=1), count, carried)

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "bpc": loss / math.log(2), "perplexity": perplexity(loss)}
