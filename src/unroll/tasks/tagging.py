"""Tagging: named entities, parts of speech, or any other tag for each word."""

import argparse
import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from pydantic import PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.crf import LinearChainCRF
from unroll.data.base import Data
from unroll.data.tagged_batches import NO_TAG, TaggedBatch, TaggedBatches, encode_sentences
from unroll.data.tagged_spec import TaggedTextSpec
from unroll.data.tagged_text import TaggedText
from unroll.data.vectors import start_from
from unroll.entities import Entity, entities, may_begin, may_follow, single_words
from unroll.evaluating import evaluating
from unroll.insight.reading import Reading, enough
from unroll.insight.tags import TagAnswers, most_frequent_tags, report_tags
from unroll.models.tagger import Tagger
from unroll.predicting.tagging import add_marking_arguments, mark_stream
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation

_BATCH_WORDS = 16384  # of a batch that is only read


class Mark(NamedTuple):
    """What was found in a text: an entity, or, where tags are not of entities, a word.

    Attributes:
        start, end: where in the text; text[start:end] is it.
        label: its kind, or its tag.
        probability: that exactly these words are of exactly this kind.
    """

    start: int
    end: int
    label: str
    probability: float


class Tagging(Task):
    """A tag for each word: -log p(tags | words) a word; scored by entities as conlleval counts them, or by tags.

    Args:
        spec: words, characters and tags.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: on sentences, `horizon` is how far gradients go; bidirectional stacks read them whole.
        embedding_size, freeze_embedding, character_embedding_size, character_hidden_size, once_dropout, word_dropout,
            input_dropout, output_dropout: see `Tagger`.
        vectors: a file of word vectors, GloVe's or word2vec's text format, gzipped or not, that the embedding starts from.
        crf: score whole sequences of tags, see `LinearChainCRF`: of entities it gives none that breaks the rules of IOB2.
            If not, each word's tag is chosen by itself.
        baseline: whether giving each word its most frequent tag of train is put into the same table.

    Raises:
        UsageError: a truncation that only a stream can have.
    """

    unit = "words"
    asked = " --text TEXT"
    reads = TaggedText

    def __init__(
        self,
        spec: TaggedTextSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
        freeze_embedding: bool,
        vectors: str | None,
        character_embedding_size: PositiveInt,
        character_hidden_size: PositiveInt | None,
        crf: bool,
        once_dropout: Probability,
        word_dropout: Probability,
        input_dropout: Probability,
        output_dropout: Probability,
        baseline: bool,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        truncation.refuse_for_sequences_that_end("a sentence is read as a whole")
        self.ragged = truncation.horizon is not None
        self.spec = spec
        self.vectors = vectors
        self.baseline = baseline
        self.model = Tagger(
            spec.vocab_size,
            spec.character_count,
            len(spec.tags),
            recurrent,
            embedding_size,
            freeze_embedding,
            character_embedding_size,
            character_hidden_size,
            spec.once,
            once_dropout,
            word_dropout,
            input_dropout,
            output_dropout,
            truncation.horizon,
        )
        self.crf = None
        if crf:
            free = not spec.of_entities
            first = torch.tensor([free or may_begin(tag) for tag in spec.tags])
            follows = torch.tensor([[free or may_follow(before, tag) for tag in spec.tags] for before in spec.tags])
            self.crf = LinearChainCRF(len(spec.tags), first, follows)
        self._answered: list[tuple[int, list[int], list[int]]] = []
        self.answers: TagAnswers | None = None
        """What was answered in the last evaluation, in the order of the split."""

    def check(self, data: Data) -> list[str]:
        if self.truncation.horizon is None or self.model.horizon is not None:
            return []
        return ["note: a bidirectional stack reads each sentence as a whole: the truncation does not apply to it"]

    def begin(self, data: Data) -> list[str]:
        return [] if self.vectors is None else [self._load_vectors(self.vectors, cast(TaggedText, data))]

    def _load_vectors(self, file: str, data: TaggedText) -> str:
        found = start_from(self.model.embedding.weight, Path(file), self.spec.vocabulary)
        encoded = data.encoded("train")
        share = np.isin(encoded.tokens[encoded.words.tokens], found).mean()
        return (
            f"vectors: {len(found):,} of {len(self.spec.words):,} words found in {file}, {share:.1%} of the running "
            "text of train"
        )

    def _emissions(self, batch: TaggedBatch) -> Tensor:
        """(time, batch, tags), in float32 or more."""
        return _exact(self.model(batch.tokens, batch.lengths, batch.spellings, batch.places))

    def loss(self, batch: TaggedBatch, state: State | None) -> Loss:
        emissions = self._emissions(batch)
        if self.crf is None:
            value = F.cross_entropy(emissions.flatten(0, 1), batch.tags.flatten(), ignore_index=NO_TAG)
        else:
            with torch.autocast(emissions.device.type, enabled=False):
                log_Z = self.crf.log_partition(emissions, batch.lengths)
                value = (log_Z - self.crf.score(emissions, batch.tags, batch.lengths)).sum() / batch.token_count
        if not self.training and batch.share:
            self._observe(batch, emissions)
        return Loss(value, torch.full((), float(batch.token_count), device=value.device), None)

    def _observe(self, batch: TaggedBatch, emissions: Tensor) -> None:
        chosen, wanted = (tags.t().tolist() for tags in (self._choose(emissions, batch.lengths), batch.tags))
        for row, right, given in zip(batch.rows.tolist(), wanted, chosen, strict=True):
            right = [tag for tag in right if tag != NO_TAG]
            self._answered.append((row, right, given[: len(right)]))

    def _choose(self, emissions: Tensor, lengths: Tensor | None) -> Tensor:
        """(time, batch): the best tags."""
        return emissions.argmax(-1) if self.crf is None else self.crf.decode(emissions, lengths)

    def last_losses(self, batch: TaggedBatch) -> Tensor:
        """Of the last word, by what was read before it; with a bidirectional stack also of the first, by what was read behind
        it: there the reverse cells end."""
        y = self.model.read(batch.tokens, batch.lengths, batch.spellings, batch.places)
        ends = _exact(self.model.ends_apart(y, batch.lengths))
        last = batch.tags[-1] if batch.lengths is None else batch.tags.gather(0, batch.lengths[None] - 1)[0]
        wanted = torch.stack([last, batch.tags[0]])[: len(ends)]
        return F.cross_entropy(ends.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted).sum(0)

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first sentences of a split; and the letters of their different words."""
        data = cast(TaggedText, data)
        (name,) = data.named_splits(split)
        encoded, sentences = data.encoded(name), data.sentences[name]
        rows = enough(encoded.words.lengths, steps)
        batch = TaggedBatches(encoded, len(rows), 1, letters=()).collate(rows, rows)
        words = [sentences.words(row) for row in rows]
        different = dict.fromkeys(word for sentence in words for word in sentence)
        return Reading(
            self.transfer_batch_to_device(batch, self.device, 0),
            {"letters": [list(word) for word in different], "": [[f"{word} " for word in one] for one in words]},
        )

    def predictions(self, batch: TaggedBatch) -> list[tuple[str, Tensor]]:
        """The tag that is chosen for each word of the first sentence."""
        emissions = self._emissions(batch)
        scores = self._log_marginals(emissions, batch.lengths)
        chosen = self._choose(emissions, batch.lengths)[:, 0].tolist()
        return [
            (self.spec.tags[tag], scores[t, :, tag])
            for t, (tag, wanted) in enumerate(zip(chosen, batch.tags[:, 0].tolist(), strict=True))
            if wanted != NO_TAG
        ]

    def _log_marginals(self, emissions: Tensor, lengths: Tensor | None) -> Tensor:
        """log p(tag | words) of each word, (time, batch, tags)."""
        if self.crf is None:
            return F.log_softmax(emissions, -1)
        return self.crf.log_marginals(emissions, lengths)

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss}

    @property
    def evaluation_metrics(self) -> list[str]:
        return ["loss", "f1", *(["precision", "recall"] if self.spec.of_entities else []), "accuracy"]

    def start_observing(self) -> None:
        self._answered = []

    def observed(self) -> dict[str, float]:
        names = self.spec.tags
        ordered = self._of_all(self._answered)
        self.answers = TagAnswers(
            [[names[tag] for tag in right] for _, right, _ in ordered],
            [[names[tag] for tag in given] for *_, given in ordered],
            self.spec.of_entities,
        )
        return self.answers.scores()

    def definitions(self) -> dict[str, str]:
        if self.spec.of_entities:
            return {
                "f1": "of entities, all kinds together (micro), with exactly their words and kind, as conlleval counts"
            }
        return {"f1": "the mean over the tags (macro)"}

    def tokens(self, batch: TaggedBatch) -> int:
        return batch.token_count

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        if not self.baseline:
            return {}
        data = cast(TaggedText, data)
        found = {}
        for split in splits:
            wanted, answered = most_frequent_tags(data, split)
            found[split] = TagAnswers(wanted, answered, self.spec.of_entities).scores()
        return {"most frequent tags": found}

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        assert self.answers is not None
        return report_tags(self.answers, cast(TaggedText, data), splits, folder, loggers)

    def tag(self, texts: Sequence[str], pretokenized: bool = False) -> list[list[Mark]]:
        """Find the entities of texts, in any number, or tag their words; each as if it were alone.

        Args:
            texts: a sentence each, of any length. One without any word has no marks.
            pretokenized: their words, marks too, are apart by spaces already, as in a treebank.
        """
        spans = [self.spec.cut(text, pretokenized) for text in texts]
        found: list[list[Mark]] = [[] for _ in texts]
        worded = [row for row, words in enumerate(spans) if words]
        sentences = [[texts[row][start:end] for start, end in spans[row]] for row in worded]
        encoded = encode_sentences(self.spec, sentences, None)
        batches = TaggedBatches(encoded, 256, _BATCH_WORDS)
        with evaluating(self), torch.inference_mode():
            for batch in batches if worded else ():
                batch = self.transfer_batch_to_device(batch, self.device, 0)
                rows = batch.rows.tolist()
                marks = self._marks(batch, [len(sentences[row]) for row in rows])
                for row, some in zip(rows, marks, strict=True):
                    places = spans[worded[row]]
                    found[worded[row]] = [
                        Mark(places[entity.start][0], places[entity.end - 1][1], entity.kind, probability)
                        for entity, probability in some
                    ]
        return found

    def _marks(self, batch: TaggedBatch, words: list[int]) -> list[list[tuple[Entity, float]]]:
        emissions = self._emissions(batch)
        chosen = self._choose(emissions, batch.lengths)
        tags = [
            [self.spec.tags[tag] for tag in row[:count]] for row, count in zip(chosen.t().tolist(), words, strict=True)
        ]
        if not self.spec.of_entities:
            scores = self._log_marginals(emissions, batch.lengths).gather(2, chosen[..., None])[..., 0].exp()
            return [
                list(zip(single_words(row), each, strict=False))
                for row, each in zip(tags, scores.t().tolist(), strict=True)
            ]
        probability = self._of_chosen_alone if self.crf is None else self._of_sequences
        of = probability(emissions.cpu(), None if batch.lengths is None else batch.lengths.cpu())
        return [[(entity, of(column, entity, len(row))) for entity in entities(row)] for column, row in enumerate(tags)]

    def _of_sequences(self, emissions: Tensor, lengths: Tensor | None) -> Callable[[int, Entity, int], float]:
        """How probable an entity of a sentence of so many words is, by the field over its tags."""
        crf = cast(LinearChainCRF, copy.deepcopy(self.crf)).cpu()
        messages = crf.messages(emissions, lengths)

        def probability(column: int, entity: Entity, words: int) -> float:
            begins, goes_on = (self.spec.tags.index(f"{prefix}-{entity.kind}") for prefix in "BI")
            tags = [begins] + [goes_on] * (entity.end - entity.start - 1)
            found = crf.log_run(emissions, messages, column, entity.start, tags, entity.end == words)
            if entity.end < words:
                found[goes_on] = -math.inf
            return min(torch.logsumexp(found, 0).exp().item(), 1.0)

        return probability

    def _of_chosen_alone(self, emissions: Tensor, lengths: Tensor | None) -> Callable[[int, Entity, int], float]:
        """The same where each word's tag is chosen by itself: a name may then begin with an I that nothing goes before."""
        p = torch.softmax(emissions, -1)

        def probability(column: int, entity: Entity, words: int) -> float:
            begins, goes_on = (self.spec.tags.index(f"{prefix}-{entity.kind}") for prefix in "BI")
            start, end = entity.start, entity.end
            open_before = p[start - 1, column, begins] + p[start - 1, column, goes_on] if start else 0.0
            value = p[start, column, begins] + p[start, column, goes_on] * (1 - open_before)
            value = value * p[start + 1 : end, column, goes_on].prod()
            return float(value if end == words else value * (1 - p[end, column, goes_on]))

        return probability

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_marking_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        mark_stream(self, options)


def _exact(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))  # half precision ends here
