"""Texts with a class each: the format behind every text classification."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt
from tokenizers import Tokenizer

from unroll.data.base import DAMAGED
from unroll.data.buckets import Buckets
from unroll.data.rows import RowData, Rows
from unroll.data.tokenizing import (
    PAD,
    UNKNOWN,
    Boundaries,
    Sequences,
    Unit,
    encode,
    fit_tokenizer,
    load_tokenizer,
    read_tokenizer,
)
from unroll.errors import UserError
from unroll.truncation import Truncation

_LISTED = 20  # classes that an error line names


class Examples(Rows):
    """A split of texts with the names of their classes; "" where one is missing."""

    @property
    def texts(self) -> list[str]:
        """What is classified."""
        return self.given

    @property
    def labels(self) -> list[str]:
        """The name of each one's class."""
        return self.wanted


@dataclass(frozen=True)
class LabelledTextSpec:
    """What a model must know of labelled texts.

    Attributes:
        tokenizer_json: the tokenizer, as the `tokenizers` library writes it.
        labels: names of the classes; class i is labels[i].
        counts: how many training texts each class has.
    """

    tokenizer_json: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself."""
        return load_tokenizer(self.tokenizer_json)

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return "\0".join([self.tokenizer_json, *self.labels])

    @property
    def vocab_size(self) -> int:
        """Number of tokens, padding and the unknown one among them."""
        return int(self.tokenizer.get_vocab_size())


class LabelledText(RowData[Examples]):
    """Texts and their classes, tokenized, in length buckets. A subclass says where they come from: `read`.

    Args:
        batch_size: texts a batch, over all devices.
        batch_tokens: tokens a batch at most, padding included: where texts are long, fewer make a batch.
        eval_batch_size: texts a batch in validation and test; speed only.
        truncation: not needed here: every batch holds whole texts.
        unit, vocab_size, min_count, lowercase, boundaries: see `fit_tokenizer`.
        max_length: tokens that a text may have; a longer one is an error.
        **splits: see `RowData`; of every class the same share is drawn.

    Raises:
        UserError: see `prepare_data`.
    """

    def __init__(
        self,
        batch_size: PositiveInt,
        batch_tokens: PositiveInt,
        eval_batch_size: PositiveInt,
        truncation: Truncation,
        unit: Unit,
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
        self.unit: Unit = unit
        self.vocab_size = vocab_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.boundaries: Boundaries = boundaries
        self.max_length = max_length

    @property
    def examples(self) -> dict[str, Examples]:
        """The splits as texts and names of classes, checked.

        Raises:
            UserError: an empty split, an empty text, a missing label, labels that are no classes, one class only, a class
                that train lacks.
        """
        return self.rows

    def check(self, split: str, rows: Examples) -> None:
        if not rows.texts:
            raise UserError(f"{rows.source}: the {split} split has no texts")
        for index, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
            if not text.strip():
                raise UserError(f"{rows.place(index)}: the text is empty: take the row out")
            if not label:
                raise UserError(f"{rows.place(index)}: the label is missing: fill it in, or take the row out")
        counts = Counter(rows.labels)
        numbers = {label: _number(label) for label in counts}
        if all(number is not None for number in numbers.values()):
            for index, label in enumerate(rows.labels):
                if not label.lstrip("+-").isdigit():
                    raise UserError(
                        f"{rows.place(index)}: the label {label} is no class but a measure: write whole numbers or names, "
                        "each its own class"
                    )
        if split == "train" and len(counts) > 50 and len(counts) > len(rows.labels) / 2:
            raise UserError(
                f"{rows.source}: {len(counts):,} different labels for {len(rows.labels):,} texts are no classes: "
                "is it the right column?"
            )

    def draw(self, rows: Examples, split: str, share: float) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.model_selection import train_test_split

        for label, count in Counter(rows.labels).items():
            if count < 2:
                raise UserError(
                    f"{rows.source}: the class {label} has one text only: none can be drawn for {split}; take the class "
                    f"out, or give a file of its own for {split}"
                )
        numbers = np.arange(len(rows.texts))
        try:
            left, drawn = train_test_split(numbers, test_size=share, random_state=self.split_seed, stratify=rows.labels)
        except ValueError as error:
            raise UserError(f"{rows.source}: too few texts to draw {share:.0%} for {split}: {error}") from None
        return left, drawn

    @cached_property
    def spec(self) -> LabelledTextSpec:
        train = self.examples["train"]
        counts = Counter(train.labels)
        labels = _in_order(counts)
        if len(labels) < 2:
            raise UserError(f"{train.source}: every text of train has the label {labels[0]}: two classes are needed")
        tokenizer = fit_tokenizer(
            train.texts, self.unit, self.vocab_size, self.min_count, self.lowercase, self.boundaries
        )
        if tokenizer.get_vocab_size() <= len((PAD, UNKNOWN)):
            raise UserError(f"{train.source}: no token of train occurs data.min_count={self.min_count} times: lower it")
        return LabelledTextSpec(tokenizer.to_str(), labels, tuple(counts[label] for label in labels))

    def save_spec(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self.spec.tokenizer_json, encoding="utf-8")
        labels = {"labels": self.spec.labels, "counts": self.spec.counts}
        (folder / "labels.json").write_text(json.dumps(labels, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load_spec(folder: Path) -> LabelledTextSpec:
        try:
            stored = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
            tokenizer_json = read_tokenizer(folder / "tokenizer.json")
            labels = tuple(str(label) for label in stored["labels"])
            spec = LabelledTextSpec(tokenizer_json, labels, tuple(int(count) for count in stored["counts"]))
        except DAMAGED as error:
            raise UserError(f"{folder / 'labels.json'}: is not whole ({error!r})") from None
        return spec

    def adopt(self, spec: LabelledTextSpec) -> None:
        for examples in self.examples.values():
            for index, label in enumerate(examples.labels):
                if label not in spec.labels:
                    raise UserError(
                        f"{examples.place(index)}: the run was not trained with the label {label!r}; "
                        f"it knows: {_listed(spec.labels)}"
                    )
        counts = Counter(self.examples["train"].labels)
        self.__dict__["spec"] = replace(spec, counts=tuple(counts[label] for label in spec.labels))

    def encoded(self, split: str) -> tuple[Sequences, np.ndarray]:
        """The tokens of a split's texts and their classes."""
        cache = self.__dict__.setdefault("_encoded", {})
        if split not in cache:
            examples = self.examples[split]
            class_of = {label: index for index, label in enumerate(self.spec.labels)}
            for index, label in enumerate(examples.labels):
                if label not in class_of:
                    raise UserError(
                        f"{examples.place(index)}: no text of train has the label {label!r} that this one of {split} has; "
                        f"train has: {_listed(self.spec.labels)}"
                    )
            sequences = encode(self.spec.tokenizer, examples.texts)
            longest = int(sequences.lengths.argmax())
            if sequences.lengths[longest] > self.max_length:
                raise UserError(
                    f"{examples.place(longest)}: the text has {sequences.lengths[longest]:,} tokens, and "
                    f"data.max_length={self.max_length} are allowed: raise it, or take the text out"
                )
            cache[split] = sequences, np.array([class_of[label] for label in examples.labels], np.int64)
        return cache[split]

    def token_counts(self) -> np.ndarray:
        """(vocab_size,): how often each token stands in the training texts."""
        return np.bincount(self.encoded("train")[0].tokens, minlength=self.spec.vocab_size)

    def lengths(self, split: str) -> np.ndarray:
        """(count,): tokens of each text."""
        return self.encoded(split)[0].lengths

    def labels(self, split: str) -> np.ndarray:
        """(count,) of int64: the class of each text."""
        return self.encoded(split)[1]

    def difficulty(self, split: str) -> tuple[str, np.ndarray]:
        """What makes its texts hard, to draw the score against: a label with its unit, and a value for each text."""
        return "length of the text (tokens)", self.lengths(split)

    def describe(self) -> list[str]:
        spec = self.spec
        lines = [
            ", ".join(f"{split} {len(examples.texts):,}" for split, examples in self.examples.items())
            + f" texts; {len(spec.labels)} classes: {_listed(spec.labels)}",
            f"{spec.vocab_size:,} tokens ({self.unit}); a training text has {int(np.median(self.lengths('train'))):,} "
            f"(median) to {self.lengths('train').max():,}",
            *alike(spec.labels),
            *self._notes,
        ]
        seen = set(self.examples["train"].texts)
        for split in self.splits[1:]:
            tokens = self.encoded(split)[0].tokens
            unknown = (tokens == UNKNOWN).mean()
            if unknown:
                lines.append(f"{unknown:.1%} of the tokens of {split} are not in the vocabulary: unknown to the model")
            known = sum(text in seen for text in self.examples[split].texts)
            if known:
                lines.append(f"note: {known:,} texts of {split} stand in train too: scores will look too good by them")
        return lines

    def train_dataloader(self) -> Buckets:
        sequences, labels = self.encoded("train")
        return Buckets(
            sequences,
            labels,
            self.batch_size,
            self.batch_tokens,
            self._seed,
            rank=self.rank,
            world_size=self.world_size,
        )

    def eval_dataloader(self, splits: str) -> Buckets:
        """Several splits are scored together."""
        parts = [self.encoded(name) for name in self.named_splits(splits)]
        sequences = Sequences.joined([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        return Buckets(
            sequences,
            labels,
            self.eval_batch_size,
            self.batch_tokens,
            rank=self.rank,
            world_size=self.world_size,
        )


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _in_order(labels: Counter[str]) -> tuple[str, ...]:
    """By number if all are numbers, else by alphabet."""
    if all(_number(label) is not None for label in labels):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))


def alike(labels: tuple[str, ...]) -> list[str]:
    """A note where labels differ in nothing but capitals: they are classes of their own, and may not be meant so."""
    written: dict[str, list[str]] = {}
    for label in labels:
        written.setdefault(label.casefold(), []).append(label)
    several = [" and ".join(group) for group in written.values() if len(group) > 1]
    return [f"note: {several[0]} are labels of their own; if they mean one, write them alike"] if several else []


def _listed(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:_LISTED])
    return shown if len(labels) <= _LISTED else f"{shown}, ... ({len(labels)} in all)"
