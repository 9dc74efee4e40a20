"""Summarization: a text becomes a short one that says what counts, in words of its own or copied."""

from collections.abc import Callable, Sequence
from typing import Annotated, cast

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.data.base import Data
from unroll.data.parallel_batches import PairBatch, begun
from unroll.data.parallel_spec import ParallelTextSpec
from unroll.data.parallel_text import ParallelText
from unroll.errors import UsageError
from unroll.insight.summaries import Summaries, lead
from unroll.models.pointer_generator import PointerGenerator
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.text_to_text import TextToText
from unroll.truncation import Truncation


class Summarization(TextToText):
    """Cross-entropy of the right next token; scored by ROUGE of what is really written, beside the text's first sentence.

    Args:
        spec: tokenizer and the names of both sides.
        recurrent: makes the stacks of cells.
        optimizer, schedule: see `Task`.
        truncation: on texts, `horizon` is how far gradients go, on both sides; see `EncoderDecoder`.
        embedding_size, encoder_hidden_size, input_feeding, copy, coverage, input_dropout, output_dropout: see
            `PointerGenerator`.
        coverage_weight: of the coverage loss in training: how much of what the attention looks at it has looked at before.
        beam_size, validation_beam_size, length_penalty, max_output_ratio, max_output_extra: see `TextToText`.
        max_output: tokens of a summary at most, however long its text is.
        baseline: whether the first sentence is put into the same table.

    Raises:
        UsageError: sides with a vocabulary each; see `TextToText`.
    """

    versions = "summaries"
    model: PointerGenerator

    def __init__(
        self,
        spec: ParallelTextSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
        encoder_hidden_size: PositiveInt | None,
        input_feeding: bool,
        copy: bool,
        coverage: bool,
        coverage_weight: Annotated[float, Field(ge=0)],
        input_dropout: Probability,
        output_dropout: Probability,
        beam_size: PositiveInt,
        validation_beam_size: PositiveInt,
        length_penalty: Annotated[float, Field(ge=0, le=10)],
        max_output_ratio: Annotated[float, Field(ge=0, le=100)],
        max_output_extra: NonNegativeInt,
        max_output: PositiveInt,
        baseline: bool,
    ) -> None:
        super().__init__(
            spec,
            optimizer,
            schedule,
            truncation,
            0.0,
            beam_size,
            validation_beam_size,
            length_penalty,
            max_output_ratio,
            max_output_extra,
        )
        if not spec.joint:
            raise UsageError("data.joint=false: both sides share an embedding, and what is copied; take true")
        self.max_output = max_output
        self.coverage_weight = coverage_weight if coverage else 0.0
        self.baseline = baseline
        self.model = PointerGenerator(
            spec.source_tokenizer.get_vocab_size(),
            recurrent,
            embedding_size,
            encoder_hidden_size,
            input_feeding,
            copy,
            coverage,
            input_dropout,
            output_dropout,
            truncation.horizon,
        )

    def check(self, data: Data) -> list[str]:
        told = super().check(data)
        if self.model.copies and cast(ParallelText, data).unit == "words":
            told.append("note: an unknown word has no token that could be copied; data.unit=bpe has pieces of any word")
        return told

    def _max_lengths(self, lengths: Tensor) -> Tensor:
        return super()._max_lengths(lengths).clamp(max=self.max_output + 1)

    def judged(self, hypotheses: Sequence[str], references: Sequence[str]) -> Summaries:
        return Summaries(hypotheses, references)

    def _cost(self, batch: PairBatch, first: State, memory: State) -> Tensor:
        found = self.model.steps(begun(batch.target), first, memory)
        source = memory[-1].index_select(0, batch.within % len(memory[-1]))  # of each word's own text
        log_p = self.model.log_probability(
            batch.flat(found.o), batch.flat(found.a), batch.flat(found.g), source, batch.flat(batch.target)
        )
        cost = -log_p.mean()
        if self.training and self.coverage_weight:
            cost = cost + self.coverage_weight * batch.flat(found.repeated).mean()
        return cost

    def _logits(self, batch: PairBatch) -> Tensor:
        memory, first = self.model.encode(batch.source, batch.lengths)
        found = self.model.steps(begun(batch.target), first, memory)
        return self.model.log_probabilities(found.o, found.a, found.g, memory[-1][None])

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        if not self.baseline:
            return {}
        data = cast(ParallelText, data)
        found = {}
        for split in splits:
            pairs = [data.pairs[name] for name in split.split("+")]
            leads = [lead(text) for part in pairs for text in part.sources]
            found[split] = Summaries(leads, [text for part in pairs for text in part.targets]).scores()
        return {"first sentence": found}

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """The best summary of each text."""
        return [versions[0].text for versions in self.rewrite(texts)]
