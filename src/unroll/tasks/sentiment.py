"""Sentiment, or any other class of a text: one answer for a whole sequence."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.data.base import Data
from unroll.data.buckets import Buckets, LabelledBatch
from unroll.data.labelled_text import LabelledText, LabelledTextSpec
from unroll.data.tokenizing import UNKNOWN, encode
from unroll.data.vectors import start_from
from unroll.errors import UsageError
from unroll.evaluating import evaluating
from unroll.insight.bag_of_words import bag_of_words
from unroll.insight.mistakes import report_answers
from unroll.insight.reading import Reading, cut_by_tokens, enough
from unroll.insight.words import Explanation, explain
from unroll.models.pooling import Pooling
from unroll.models.seq_to_vec import SeqToVec
from unroll.predicting.sentiment import add_labelling_arguments, label_stream
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.base import Loss
from unroll.tasks.classifier import Classifier, Prediction
from unroll.truncation import Truncation

_BATCH_TOKENS = 65536  # of a batch that is only read


class Sentiment(Classifier):
    """Cross-entropy of the right class; scored by accuracy, F1, AUROC and calibration, beside a bag of words.

    Args:
        spec: tokenizer and classes.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: on texts, `horizon` is how far gradients go; see `SeqToVec`.
        embedding_size, freeze_embedding, pooling, word_dropout, input_dropout, output_dropout: see `SeqToVec`.
        vectors: a file of word vectors, GloVe's or word2vec's text format, gzipped or not, that the embedding starts from.
        output: `softmax`, a score for each class; `sigmoid`, one score, for two classes only.
        class_weights: weights of the classes in the training loss; `balanced`: inverse to how frequent they are, one on
            average; None: all alike.
        label_smoothing: share of the target that is spread over all classes, in training.
        baseline: whether a bag of words is trained on the same split and put into the same table.

    Raises:
        UsageError: sigmoid for more than two classes, another number of weights than classes, vectors for another unit
            than words, a truncation that only a stream can have.
    """

    unit = "tokens"
    asked = " --text TEXT"
    reads = LabelledText
    spec: LabelledTextSpec

    def __init__(
        self,
        spec: LabelledTextSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
        freeze_embedding: bool,
        vectors: str | None,
        pooling: Pooling,
        output: Literal["softmax", "sigmoid"],
        class_weights: list[Annotated[float, Field(ge=0)]] | Literal["balanced"] | None,
        label_smoothing: Probability,
        word_dropout: Probability,
        input_dropout: Probability,
        output_dropout: Probability,
        baseline: bool,
    ) -> None:
        super().__init__(spec, optimizer, schedule, truncation)
        classes = len(spec.labels)
        if output == "sigmoid" and classes != 2:
            raise UsageError(f"task.output=sigmoid is for two classes, and there are {classes}: take softmax")
        if isinstance(class_weights, list) and len(class_weights) != classes:
            raise UsageError(
                f"task.class_weights has {len(class_weights)} numbers for {classes} classes: {', '.join(spec.labels)}"
            )
        truncation.refuse_for_sequences_that_end("a text is read as a whole")
        self.ragged = truncation.horizon is not None
        self.label_smoothing = label_smoothing
        self.vectors = vectors
        self.baseline = baseline
        self.model = SeqToVec(
            spec.vocab_size,
            1 if output == "sigmoid" else classes,
            recurrent,
            embedding_size,
            freeze_embedding,
            pooling,
            word_dropout,
            input_dropout,
            output_dropout,
            truncation.horizon,
        )
        weights = torch.tensor(class_weights if isinstance(class_weights, list) else [1.0] * classes)
        if class_weights == "balanced":
            counts = torch.tensor(spec.counts, dtype=torch.float32)
            weights = counts.sum() / (classes * counts)
        self.register_buffer("class_weights", weights, persistent=False)

    def check(self, data: Data) -> list[str]:
        if self.truncation.horizon is None or self.model.horizon is not None:
            return []
        return ["note: a bidirectional stack reads each text as a whole: the truncation does not apply to it"]

    def begin(self, data: Data) -> list[str]:
        return [] if self.vectors is None else [self._load_vectors(self.vectors, cast(LabelledText, data))]

    def _load_vectors(self, file: str, data: LabelledText) -> str:
        if data.unit != "words":
            raise UsageError(f"task.vectors are of words: data.unit={data.unit} has none; take data.unit=words")
        vocabulary = self.spec.tokenizer.get_vocab()
        found = start_from(self.model.embedding.weight, Path(file), vocabulary)
        counts = data.token_counts()
        share = counts[found].sum() / counts.sum()
        return (
            f"vectors: {len(found):,} of {len(vocabulary) - 2:,} words found in {file}, "
            f"{share:.1%} of the running text of train"
        )

    def loss(self, batch: LabelledBatch, state: State | None) -> Loss:
        logits = self._logits(batch.tokens, batch.lengths)
        if self.training:
            each = F.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=self.label_smoothing)
            value = (each * cast(Tensor, self.class_weights)[batch.labels]).mean()
        else:
            value = F.cross_entropy(logits, batch.labels)
            self._observe(batch, logits)
        return Loss(value, torch.full((), float(len(batch.labels)), device=value.device), None)

    def _logits(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, classes), in float32 or more."""
        return self._of_all_classes(self.model(tokens, lengths))

    @staticmethod
    def _of_all_classes(logits: Tensor) -> Tensor:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision ends here
        # softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): with one score, that of the first class stands at 0.
        return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits

    def last_losses(self, batch: LabelledBatch) -> Tensor:
        return F.cross_entropy(self._logits(batch.tokens, batch.lengths), batch.labels, reduction="none")

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first texts of a split."""
        data = cast(LabelledText, data)
        (name,) = data.named_splits(split)
        sequences, labels = data.encoded(name)
        rows = enough(sequences.lengths, steps)
        batch = Buckets(sequences, labels, len(rows), 1).collate(rows, rows)
        words = [cut_by_tokens(self.spec.tokenizer, data.examples[name].texts[row]) for row in rows]
        return Reading(
            self.transfer_batch_to_device(batch, self.device, 0),
            {"": words},
            {"class": [self.spec.labels[label] for label in labels[rows]]},
        )

    def predictions(self, batch: LabelledBatch) -> list[tuple[str, Tensor]]:
        """The class that is chosen for the first text."""
        scores = F.log_softmax(self._logits(batch.tokens, batch.lengths), dim=-1)
        chosen = int(scores[0].argmax())
        return [(self.spec.labels[chosen], scores[:, chosen])]

    def tokens(self, batch: LabelledBatch) -> int:
        return batch.token_count

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        data = cast(LabelledText, data)
        if not self.baseline or len(set(data.labels("train"))) < 2:
            return {}
        scored = {}
        for split in splits:
            names = split.split("+")
            texts = [text for name in names for text in data.examples[name].texts]
            scored[split] = texts, np.concatenate([data.labels(name) for name in names])
        answers = bag_of_words(
            data.examples["train"].texts, data.labels("train"), scored, len(self.spec.labels), data.lowercase
        )
        return {"bag of words": {split: answers[split].scores() for split in splits}}

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        assert self.answers is not None
        return report_answers(*self.answers, cast(LabelledText, data), splits, self.explain, folder, loggers)

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify texts, in any number; each as if it were alone.

        Args:
            texts: of any length. One without a word that the model knows is answered all the same; `unknown` says so.
        """
        sequences = encode(self.spec.tokenizer, texts)
        batches = Buckets(sequences, np.zeros(len(texts), np.int64), 256, _BATCH_TOKENS)
        probabilities = torch.empty(len(texts), len(self.spec.labels), dtype=torch.float64)
        with evaluating(self), torch.inference_mode():
            for batch in batches:
                lengths = None if batch.lengths is None else batch.lengths.to(self.device)
                logits = self._logits(batch.tokens.to(self.device), lengths)
                probabilities[batch.rows] = torch.softmax(logits, -1).to("cpu", torch.float64)
        chosen = probabilities.argmax(-1).tolist()
        return [
            Prediction(
                self.spec.labels[chosen[row]], probabilities[row].tolist(), bool((sequences[row] == UNKNOWN).all())
            )
            for row in range(len(texts))
        ]

    def explain(self, text: str) -> Explanation:
        """Which words of a text decided for the class that is chosen; see `unroll.insight.words`."""
        with evaluating(self), torch.enable_grad():
            return explain(self.spec.tokenizer, self.model.embedding, self._margin, text)

    def _margin(self, x: Tensor) -> Tensor:
        """Score of the chosen class over the mean of the others: what all have in common decides nothing."""
        scores = self._of_all_classes(self.model.from_embedded(x))[0]
        best = scores.max()
        return best - (scores.sum() - best) / (len(scores) - 1)

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_labelling_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        label_stream(self, options)
