"""Sentences with a tag for each word: the format behind named entities and parts of speech."""

import json
import unicodedata
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from unroll.data.base import DAMAGED
from unroll.data.labelled_text import alike
from unroll.data.rows import RowData, Rows
from unroll.data.tagged_batches import Encoded, TaggedBatches, encode_sentences
from unroll.data.tagged_spec import RESERVED, WORDS, TaggedTextSpec, normal
from unroll.data.tokenizing import UNKNOWN, Boundaries
from unroll.entities import OUTSIDE, are_of_entities, as_tags, entities, odd_among_entities
from unroll.errors import UserError
from unroll.truncation import Truncation

_TOLD = 3  # tags of a note


class Sentences(Rows):
    """A split of sentences: in `given` the words of each, in `wanted` their tags, a tab between each two."""

    def words(self, index: int) -> list[str]:
        """Of a sentence."""
        return self.given[index].split("\t")

    def tags(self, index: int) -> list[str]:
        """The tags of its words."""
        return self.wanted[index].split("\t")


class TaggedText(RowData[Sentences]):
    """Sentences and the tags of their words, in length buckets. A subclass says where they come from: `read`.

    Entities may be tagged in any of the schemes IOB1, IOB2 and IOBES; they are read into IOB2.

    Args:
        batch_size: sentences a batch, over all devices.
        batch_tokens: words a batch at most, padding included: where sentences are long, fewer make a batch.
        eval_batch_size: sentences a batch in validation and test; speed only.
        truncation: not needed here: every batch holds whole sentences.
        vocab_size: most frequent words of the training sentences that are known, at most, with two reserved tokens.
        min_count: how often a word must stand there to be known.
        lowercase: whether words are known in small letters only.
        boundaries: where words end when a text is tagged that is no list of words: see `cut`.
        max_length: words that a sentence may have; a longer one is an error.
        **splits: see `RowData`.

    Raises:
        UserError: see `prepare_data`.
    """

    things = "sentences"

    def __init__(
        self,
        batch_size: PositiveInt,
        batch_tokens: PositiveInt,
        eval_batch_size: PositiveInt,
        truncation: Truncation,
        vocab_size: Annotated[int, Field(ge=3)],
        min_count: PositiveInt,
        lowercase: bool,
        boundaries: Boundaries,
        max_length: PositiveInt,
        **splits: Any,
    ) -> None:
        super().__init__(**splits)
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.eval_batch_size = eval_batch_size
        self.vocab_size = vocab_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.boundaries: Boundaries = boundaries
        self.max_length = max_length

    @property
    def sentences(self) -> dict[str, Sentences]:
        """The splits as words and tags, checked.

        Raises:
            UserError: an empty split, an empty word or tag, as many tags as words are not there, a sentence that is too long.
        """
        return self.rows

    @cached_property
    def rows(self) -> dict[str, Sentences]:
        found = super().rows
        tags = {tag for sentences in found.values() for row in set(sentences.wanted) for tag in row.split("\t")}
        if odd := odd_among_entities(tags):
            self._notes.append(
                f"words are scored, not entities: the tags {', '.join(odd[:_TOLD])}{', ...' if odd[_TOLD:] else ''} are not "
                "written as B-KIND and I-KIND, as most are"
            )
        if not are_of_entities(tags):
            return found
        rewritten = 0
        for sentences in found.values():
            for index, written in enumerate(sentences.wanted):
                given = written.split("\t")
                tagged = as_tags(entities(given), len(given))
                rewritten += sum(one != other for one, other in zip(given, tagged, strict=True))
                sentences.wanted[index] = "\t".join(tagged)
        if rewritten:
            self._notes.append(
                f"{rewritten:,} tags of entities are read as IOB2 has them: the entities stay what they are"
            )
        return found

    def check(self, split: str, rows: Sentences) -> None:
        if not rows.given:
            raise UserError(f"{rows.source}: the {split} split has no sentences")
        for index in range(len(rows.given)):
            words, tags = rows.words(index), rows.tags(index)
            if len(words) != len(tags):
                raise UserError(f"{rows.place(index)}: {len(words)} words have {len(tags)} tags")
            for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1):
                if not word.strip() or not tag.strip():
                    what = "word" if not word.strip() else "tag"
                    raise UserError(f"{rows.place(index)}: the {what} at place {number} of the sentence is empty")
            if len(words) > self.max_length:
                raise UserError(
                    f"{rows.place(index)}: the sentence has {len(words):,} words, and data.max_length={self.max_length} "
                    "are allowed: raise it, or take the sentence out (is there an empty line after each sentence?)"
                )

    @cached_property
    def spec(self) -> TaggedTextSpec:
        train = self.sentences["train"]
        counts: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        tags: set[str] = set()
        for index in range(len(train.given)):
            words = train.words(index)
            counts.update(normal(word, self.lowercase) for word in words)
            characters.update("".join(unicodedata.normalize("NFC", word) for word in words))
            tags.update(train.tags(index))
        if len(tags) < 2:
            raise UserError(f"{train.source}: every word of train has the tag {tags.pop()}: two tags are needed")
        if are_of_entities(tags):
            # A kind of which train has names of one word only may have longer ones elsewhere.
            tags |= {OUTSIDE} | {f"I-{tag[2:]}" for tag in tags if tag != OUTSIDE}
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        known = [word for word, count in ranked if count >= self.min_count][: self.vocab_size - RESERVED]
        if not known:
            raise UserError(
                f"{train.source}: no word of train stands there data.min_count={self.min_count} times: lower it"
            )
        return TaggedTextSpec(
            tuple(known),
            sum(counts[word] == 1 for word in known),
            tuple(sorted(characters)),
            tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag[2:] if tag[1:2] == "-" else tag, tag))),
            self.lowercase,
            self.boundaries,
        )

    def save_spec(self, folder: Path) -> None:
        (folder / "vocabulary.json").write_text(json.dumps(asdict(self.spec), ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load_spec(folder: Path) -> TaggedTextSpec:
        path = folder / "vocabulary.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            words, characters, tags = (
                tuple(str(item) for item in stored[key]) for key in ("words", "characters", "tags")
            )
            boundaries = stored["boundaries"]
            if boundaries not in WORDS:
                raise ValueError(f"boundaries {boundaries}")
            return TaggedTextSpec(words, int(stored["once"]), characters, tags, bool(stored["lowercase"]), boundaries)
        except DAMAGED as error:
            raise UserError(f"{path}: is not whole ({error!r})") from None

    def adopt(self, spec: TaggedTextSpec) -> None:
        self.__dict__["spec"] = spec
        for split in self.splits:
            self._check_tags(split)

    def _check_tags(self, split: str) -> None:
        sentences, known = self.sentences[split], set(self.spec.tags)
        for index, written in enumerate(sentences.wanted):
            for word, tag in zip(sentences.words(index), written.split("\t"), strict=True):
                if tag not in known:
                    raise UserError(
                        f"{sentences.place(index)}: the word {word!r} has the tag {tag}, which no sentence of train has; "
                        f"train has: {', '.join(self.spec.tags)}"
                    )

    def encoded(self, split: str) -> Encoded:
        """The sentences of a split, or of several joined by +, as numbers."""
        cache = self.__dict__.setdefault("_encoded", {})
        if split not in cache:
            names = self.named_splits(split)
            for name in names:
                self._check_tags(name)
            number = {tag: index for index, tag in enumerate(self.spec.tags)}
            rows = [(self.sentences[name], index) for name in names for index in range(len(self.sentences[name].given))]
            tags = np.array([number[tag] for sentences, index in rows for tag in sentences.tags(index)], np.int64)
            cache[split] = encode_sentences(self.spec, [sentences.words(index) for sentences, index in rows], tags)
        return cache[split]

    def describe(self) -> list[str]:
        spec = self.spec
        sizes = ", ".join(f"{split} {len(sentences.given):,}" for split, sentences in self.sentences.items())
        if spec.of_entities:
            kinds = sorted({tag[2:] for tag in spec.tags if tag != OUTSIDE})
            told = f"entities of {len(kinds)} kinds: {', '.join(kinds)}"
        else:
            told = f"{len(spec.tags)} tags: {', '.join(spec.tags)}"
        lengths = self.encoded("train").words.lengths
        lines = [
            f"{sizes} sentences; {told}",
            f"{len(spec.words):,} words, {len(spec.characters):,} characters; a training sentence has "
            f"{int(np.median(lengths)):,} words (median) to {lengths.max():,}",
            *alike(spec.tags),
            *self._notes,
        ]
        seen = set(self.sentences["train"].given)
        for split in self.splits[1:]:
            encoded = self.encoded(split)
            unknown = (encoded.tokens[encoded.words.tokens] == UNKNOWN).mean()
            if unknown:
                lines.append(f"{unknown:.1%} of the words of {split} are not in the vocabulary")
            known = sum(sentence in seen for sentence in self.sentences[split].given)
            if known:
                lines.append(f"note: {known:,} sentences of {split} stand in train too")
        return lines

    def train_dataloader(self) -> TaggedBatches:
        return TaggedBatches(
            self.encoded("train"), self.batch_size, self.batch_tokens, self._seed, self.rank, self.world_size
        )

    def eval_dataloader(self, splits: str) -> TaggedBatches:
        """Several splits are scored together."""
        return TaggedBatches(
            self.encoded(splits), self.eval_batch_size, self.batch_tokens, rank=self.rank, world_size=self.world_size
        )
