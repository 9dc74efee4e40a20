"""Translation: a text in another language."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.attention import Score
from unroll.data.parallel_batches import PairBatch, begun
from unroll.data.parallel_spec import ParallelTextSpec
from unroll.errors import UsageError
from unroll.insight.translations import Translations
from unroll.models.encoder_decoder import EncoderDecoder, Tie
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.text_to_text import TextToText
from unroll.truncation import Truncation


class Translation(TextToText):
    """Cross-entropy of the right next token; scored by BLEU, chrF and exact matches of what is really written.

    Args:
        spec: tokenizers and languages.
        recurrent: makes the stacks of cells.
        optimizer, schedule: see `Task`.
        truncation: on sentences, `horizon` is how far gradients go, on both sides; see `EncoderDecoder`.
        embedding_size, encoder_hidden_size, attention, input_feeding, tie_embeddings, input_dropout, output_dropout: see
            `EncoderDecoder`.
        sampling: scheduled sampling (Bengio et al. 2015): how the probability that the decoder reads the right token and
            not its own falls with the step i: `linear`, 1 - i / sampling_steps; `exponential`, exp(-i / sampling_steps);
            `inverse_sigmoid`, k / (k + exp(i / k)) with k = sampling_steps; `none`: it always reads the right one.
        sampling_steps: see above.
        sampling_floor: what it does not fall below.
        sampling_feed: what the decoder reads of its own: a `token`, drawn, or the mean embedding under its `distribution`.
        label_smoothing, beam_size, validation_beam_size, length_penalty, max_output_ratio, max_output_extra: see
            `TextToText`.

    Raises:
        UsageError: a truncation that only a stream can have; sizes that do not fit each other.
    """

    versions = "translations"

    def __init__(
        self,
        spec: ParallelTextSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
        encoder_hidden_size: PositiveInt | None,
        attention: Score | Literal["none"],
        input_feeding: bool,
        tie_embeddings: Tie,
        input_dropout: Probability,
        output_dropout: Probability,
        label_smoothing: Probability,
        sampling: Literal["none", "linear", "exponential", "inverse_sigmoid"],
        sampling_steps: PositiveFloat,
        sampling_floor: Annotated[float, Field(ge=0, le=1)],
        sampling_feed: Literal["token", "distribution"],
        beam_size: PositiveInt,
        validation_beam_size: PositiveInt,
        length_penalty: Annotated[float, Field(ge=0, le=10)],
        max_output_ratio: Annotated[float, Field(ge=0, le=100)],
        max_output_extra: NonNegativeInt,
    ) -> None:
        super().__init__(
            spec,
            optimizer,
            schedule,
            truncation,
            label_smoothing,
            beam_size,
            validation_beam_size,
            length_penalty,
            max_output_ratio,
            max_output_extra,
        )
        if tie_embeddings == "all" and not spec.joint:
            raise UsageError(
                "task.tie_embeddings=all needs one vocabulary for both sides: data.joint=true, or take target"
            )
        self.sampling = sampling
        self.sampling_steps = sampling_steps
        self.sampling_floor = sampling_floor
        self.sampling_feed: Literal["token", "distribution"] = sampling_feed
        self.model = EncoderDecoder(
            spec.source_tokenizer.get_vocab_size(),
            spec.target_tokenizer.get_vocab_size(),
            recurrent,
            embedding_size,
            encoder_hidden_size,
            attention,
            input_feeding,
            tie_embeddings,
            input_dropout,
            output_dropout,
            truncation.horizon,
        )

    def judged(self, hypotheses: Sequence[str], references: Sequence[str]) -> Translations:
        return Translations(hypotheses, references)

    def _cost(self, batch: PairBatch, first: State, memory: State) -> Tensor:
        truth = self.truth
        if not self.training or truth == 1:
            return super()._cost(batch, first, memory)
        o = self.model.decode_sampled(begun(batch.target), first, memory, truth, self.sampling_feed)
        return self.model.cross_entropy(batch.flat(o), batch.flat(batch.target), self.label_smoothing)

    @property
    def truth(self) -> float:
        """The probability that the decoder reads the right token in training, at this step."""
        if self.sampling == "none":
            return 1.0
        i, k = self.global_step, self.sampling_steps
        if self.sampling == "linear":
            falling = 1 - i / k
        elif self.sampling == "exponential":
            falling = math.exp(-i / k)
        else:
            falling = k / (k + math.exp(min(i / k, 700)))
        return max(self.sampling_floor, falling)
