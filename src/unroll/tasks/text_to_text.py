"""A text becomes another one, of its own length: what translation and summarization share."""

import argparse
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.optim import Optimizer

from unroll.cross_entropy import perplexity
from unroll.data.base import Data
from unroll.data.buckets import Buckets
from unroll.data.parallel_batches import PairBatch, begun
from unroll.data.parallel_spec import ParallelTextSpec
from unroll.data.parallel_text import ParallelText
from unroll.data.subwords import BEGIN, END, UNWRITTEN, decode, words_of
from unroll.data.tokenizing import PAD, encode
from unroll.decoding import Hypothesis, beam_search, sample
from unroll.evaluating import evaluating
from unroll.insight.alignments import Alignment, by_words, draw_alignments
from unroll.insight.difficulty import draw_difficulty, group_by_difficulty, write_difficulty
from unroll.insight.reading import Reading, cut_by_tokens, enough
from unroll.insight.rewritten import Rewritten, examples, write_lines
from unroll.insight.showing import show
from unroll.models.encoder_decoder import EncoderDecoder
from unroll.predicting.text_to_text import add_rewriting_arguments, rewrite_stream
from unroll.schedule import Schedulers
from unroll.state import State
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation
from unroll.writing import write_csv

_EXAMPLES = 50  # of the best and of the worst
_DRAWN = 4  # texts whose alignment is drawn
_BATCH_TOKENS = 2048  # of sources that are rewritten together: all logits of a step stay near the processor


class Version(NamedTuple):
    """What was made of a text.

    Attributes:
        text: what was written.
        score: what it was ranked by: its log-probability, with the length penalty.
        log_probability: the model's, of its tokens and the end (in nats).
        tokens: without the end.
    """

    text: str
    score: float
    log_probability: float
    tokens: list[int]


class TextToText(Task):
    """Cross-entropy of the right next token; scored by what is really written. A subclass makes the model, and says how
    what is written is scored: `judged`.

    Args:
        spec: tokenizers and languages.
        optimizer, schedule: see `Task`.
        truncation: `horizon` is how far gradients go, on both sides; see `EncoderDecoder`.
        label_smoothing: share of the target that is spread over all tokens, in training.
        beam_size: hypotheses a text in the final scores; see `beam_search`.
        validation_beam_size: the same in the validations during training.
        length_penalty: see `beam_search`.
        max_output_ratio, max_output_extra: what is written has at most ratio * source tokens + extra tokens.

    Raises:
        UsageError: a truncation that only a stream can have.
    """

    unit = "target_tokens"
    asked = " --text TEXT"
    reads = ParallelText
    ragged = True
    model: EncoderDecoder
    versions: str
    """What it makes of a text, in the plural: translations, ..."""

    def __init__(
        self,
        spec: ParallelTextSpec,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        label_smoothing: float,
        beam_size: int,
        validation_beam_size: int,
        length_penalty: float,
        max_output_ratio: float,
        max_output_extra: int,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        truncation.refuse_for_sequences_that_end("a text is read as a whole")
        self.spec = spec
        self.label_smoothing = label_smoothing
        self.beam_size = beam_size
        self.validation_beam_size = validation_beam_size
        self.length_penalty = length_penalty
        self.max_output_ratio = max_output_ratio
        self.max_output_extra = max_output_extra
        self._written: list[tuple[int, str, str]] = []
        self.written: Rewritten | None = None
        """What was written in the last evaluation, in the order of the split."""

    @abstractmethod
    def judged(self, hypotheses: Sequence[str], references: Sequence[str]) -> Rewritten:
        """What was written beside what should have been, with its scores."""

    def check(self, data: Data) -> list[str]:
        told = []
        if self.truncation.horizon is not None and self.model.encoder_horizon is None:
            told.append(
                "note: a bidirectional encoder reads each text as a whole: the truncation applies to the decoder only"
            )
        if self.model.bridge.first is not None:
            told.append(
                "note: the encoder's last state does not fit the decoder, and of this cell it cannot be mapped: the decoder "
                "begins with an empty one, and has the attention; model.bidirectional=false hands it over"
            )
        return told

    def loss(self, batch: PairBatch, state: State | None) -> Loss:
        memory, first = self.model.encode(batch.source, batch.lengths)
        value = self._cost(batch, first, memory)
        if not self.training and batch.share:
            self._write(batch, first, memory)
        return Loss(value, torch.full((), float(batch.token_count), device=value.device), None)

    def _cost(self, batch: PairBatch, first: State, memory: State) -> Tensor:
        """The mean cross-entropy of a batch's targets, of what `encode` returned."""
        o, _ = self.model.decode(begun(batch.target), first, memory)
        smoothing = self.label_smoothing if self.training else 0.0
        return self.model.cross_entropy(batch.flat(o), batch.flat(batch.target), smoothing)

    def _logits(self, batch: PairBatch) -> Tensor:
        """(time, batch, vocab_size): log-probabilities of each next token, up to a constant."""
        return self.model.readout(self.model(batch.source, batch.lengths, begun(batch.target)))

    def _write(self, batch: PairBatch, first: State, memory: State) -> None:
        lengths = torch.full((batch.source.shape[1],), len(batch.source)) if batch.lengths is None else batch.lengths
        found = self._search(first, memory, lengths, self.validation_beam_size if self.briefly else self.beam_size, 1)
        texts = decode(self.spec.target_tokenizer, [best[0].tokens for best in found])
        self._written += zip(batch.rows.tolist(), texts, batch.references, strict=True)

    def _search(
        self, first: State, memory: State, lengths: Tensor, beam: int, n_best: int, length_penalty: float | None = None
    ) -> list[list[Hypothesis]]:
        return beam_search(
            self.model.advance,
            first,
            memory,
            self._max_lengths(lengths).to(self.device),
            beam,
            BEGIN,
            END,
            UNWRITTEN,
            self.length_penalty if length_penalty is None else length_penalty,
            n_best,
        )

    def _max_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths * self.max_output_ratio).long() + self.max_output_extra + 1

    def last_losses(self, batch: PairBatch) -> Tensor:
        last = (batch.target != PAD).sum(0) - 1
        rows = torch.arange(len(last), device=last.device)
        return F.cross_entropy(self._logits(batch)[last, rows], batch.target[last, rows], reduction="none")

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first pairs of a split, with the reference on the decoder's side."""
        data = cast(ParallelText, data)
        (name,) = data.named_splits(split)
        rows = enough(data.encoded(name)[0].lengths, steps)
        loader = data.eval_dataloader(name)
        sources = [cut_by_tokens(self.spec.source_tokenizer, data.pairs[name].sources[row]) for row in rows]
        targets = [cut_by_tokens(self.spec.target_tokenizer, data.pairs[name].targets[row]) for row in rows]
        return Reading(
            self.transfer_batch_to_device(loader.collate(rows, rows), self.device, 0),
            {"encoder": sources, "decoder": [["> ", *words] for words in targets]},
        )

    def predictions(self, batch: PairBatch) -> list[tuple[str, Tensor]]:
        """Each token of the reference."""
        scores = F.log_softmax(self._logits(batch), dim=-1)
        found = scores.gather(-1, batch.target[..., None])[..., 0]
        tokenizer = self.spec.target_tokenizer
        wanted = batch.target[:, 0].tolist()
        return [
            (decode(tokenizer, [[token]])[0] or "(end)", value)
            for token, value in zip(wanted, found, strict=True)
            if token != PAD
        ]

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "perplexity": perplexity(loss)}

    @property
    def evaluation_metrics(self) -> list[str]:
        return [*self.metrics(1.0), *self.judged(["a"], ["a"]).scores()]

    def start_observing(self) -> None:
        self._written = []

    def observed(self) -> dict[str, float]:
        ordered = self._of_all(self._written)
        self.written = self.judged([text for _, text, _ in ordered], [text for *_, text in ordered])
        return self.written.scores()

    def definitions(self) -> dict[str, str]:
        return self.judged(["a"], ["a"]).signatures()

    def tokens(self, batch: PairBatch) -> int:
        return batch.token_count

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        assert self.written is not None
        data, found = cast(ParallelText, data), self.written
        names = splits.split("+")
        sources = [text for split in names for text in data.pairs[split].sources]
        lengths = np.concatenate([data.encoded(split)[0].lengths for split in names])
        tables, figures = folder / "evaluation", folder / "figures"
        for name, lines in (("sources", sources), ("references", found.references), ("hypotheses", found.hypotheses)):
            write_lines(tables / f"{splits}_{name}.txt", lines)
        rows = examples(found, sources, _EXAMPLES)
        header = [found.each, "source", "reference", "hypothesis"]
        write_csv(tables / f"{splits}_examples.csv", header, rows)
        difficulty = group_by_difficulty(
            "length of the source (tokens)", found.of_all, found.most, None, lengths, found.score_of
        )
        write_difficulty(difficulty, tables / f"{splits}_difficulty.json")
        by_length = f"{found.of_all.lower()}_by_length"
        pictures = {by_length: figures / f"{by_length}_{splits}.png"}
        draw_difficulty({"this model": difficulty}, pictures[by_length])
        alignments = self.alignments(sources[:_DRAWN])
        if alignments:
            pictures["alignment"] = figures / f"alignment_{splits}.png"
            draw_alignments(alignments, pictures["alignment"])
        show(loggers, pictures, {"examples": (header, rows)}, splits)
        return [
            f"{splits:<10} {folder}/evaluation/{splits}_hypotheses.txt, {splits}_examples.csv (worst and best); figures/"
        ]

    def rewrite(
        self,
        texts: Sequence[str],
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: float | None = None,
        temperature: float | None = None,
        generator: torch.Generator | None = None,
    ) -> list[list[Version]]:
        """Rewrite texts, in any number; each as if it were alone.

        Args:
            texts: of any length. One without any word becomes the empty one.
            beam: hypotheses a text that are searched, at least `n_best`; None: the task's own.
            n_best: versions of each that are returned.
            length_penalty: see `beam_search`; None: the task's own.
            temperature: draw `n_best` versions at this temperature, in place of a search.
            generator: what is drawn from.

        Returns:
            For each text its versions, the best first.
        """
        beam = max(beam or self.beam_size, n_best)
        found: list[list[Version]] = [[Version("", 0.0, 0.0, [])] for _ in texts]
        worded = [row for row, text in enumerate(texts) if text.strip()]
        sequences = encode(self.spec.source_tokenizer, [texts[row] for row in worded])
        with evaluating(self), torch.inference_mode():
            for batch in Buckets(sequences, np.zeros(len(worded), np.int64), 256, _BATCH_TOKENS):
                lengths = None if batch.lengths is None else batch.lengths.to(self.device)
                memory, first = self.model.encode(batch.tokens.to(self.device), lengths)
                if lengths is None:
                    lengths = torch.full((batch.tokens.shape[1],), len(batch.tokens))
                if temperature is None:
                    best = self._search(first, memory, lengths, beam, n_best, length_penalty)
                else:
                    limits = self._max_lengths(lengths).to(self.device)
                    best = sample(
                        self.model.advance,
                        first,
                        memory,
                        limits,
                        n_best,
                        BEGIN,
                        END,
                        UNWRITTEN,
                        temperature,
                        generator=generator,
                    )
                for row, hypotheses in zip(batch.rows.tolist(), best, strict=True):
                    written = decode(self.spec.target_tokenizer, [item.tokens for item in hypotheses])
                    found[worded[row]] = [
                        Version(text, item.score, item.log_probability, item.tokens)
                        for text, item in zip(written, hypotheses, strict=True)
                    ]
        return found

    def alignments(self, sources: Sequence[str], targets: Sequence[list[int]] | None = None) -> list[Alignment]:
        """Where the model looks while it writes; without attention, an empty list.

        Args:
            sources: texts.
            targets: the tokens that it writes, without the end; None: those of its best versions.
        """
        if self.model.attention is None:
            return []
        sources = [text for text in sources if text.strip()]
        if targets is None:
            targets = [best[0].tokens for best in self.rewrite(sources)]
        return [self._alignment(*pair) for pair in zip(sources, targets, strict=True)]

    def _alignment(self, source: str, target: list[int]) -> Alignment:
        tokens = encode(self.spec.source_tokenizer, [source])[0].tolist()
        written = [*target, END]
        with evaluating(self), torch.inference_mode():
            memory, first = self.model.encode(torch.tensor(tokens, device=self.device)[:, None], None)
            reads = torch.tensor([BEGIN, *target], device=self.device)[:, None]
            _, weights = self.model.decode(reads, first, memory)
        assert weights is not None
        source_words, source_places = words_of(self.spec.source_tokenizer, tokens)
        target_words, target_places = words_of(self.spec.target_tokenizer, written)
        found = by_words(weights[:, 0].float().cpu().numpy(), target_places, source_places)
        return Alignment(source_words, target_words, found)

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_rewriting_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        rewrite_stream(self, options)
