"""From texts to tokens, by the `tokenizers` library: words, byte-level BPE, or characters."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from unroll.errors import UserError

Unit = Literal["words", "bpe", "characters"]
Boundaries = Literal["punctuation", "spaces"]

PAD, UNKNOWN = 0, 1
"""Tokens that no text has: what fills a batch up, and what stands for all that the training texts do not contain."""

_SPECIAL = ["[PAD]", "[UNK]"]
_TEXTS_AT_ONCE = 1000


def fit_tokenizer(
    texts: Iterable[str], unit: Unit, vocab_size: int, min_count: int, lowercase: bool, boundaries: Boundaries
) -> Tokenizer:
    """A tokenizer with the most frequent tokens of these texts.

    Args:
        texts: the training texts, and no others.
        unit: `words`; `bpe`, pieces of words down to bytes, so that nothing is unknown (Sennrich et al. 2016); or
            `characters`.
        vocab_size: tokens at most, the two special ones among them.
        min_count: how often a token (for BPE a pair) must occur.
        lowercase: whether capitals are read as small letters.
        boundaries: where words end: at `punctuation`, marks being words of their own (an apostrophe within letters is
            part of the word), or at `spaces` only, for text that is already tokenized.
    """
    common: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": _SPECIAL, "show_progress": False}
    trainer: trainers.Trainer
    if unit == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=min_count, **common)
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        if unit == "characters":
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        elif boundaries == "spaces":
            tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        else:
            word = Regex(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
            tokenizer.pre_tokenizer = pre_tokenizers.Split(word, behavior="removed", invert=True)
        trainer = trainers.WordLevelTrainer(min_frequency=min_count, **common)
    return train_tokenizer(tokenizer, map(in_pieces, texts) if unit == "bpe" else texts, trainer, unit, lowercase)


def train_tokenizer(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    trainer: trainers.Trainer,
    unit: str,
    lowercase: bool,
    *spaces: normalizers.Normalizer,
) -> Tokenizer:
    """The tokenizer, fitted to texts in NFC.

    Args:
        tokenizer, trainer: see the `tokenizers` library.
        texts: the training texts, and no others; those of `bpe` and `unigram` by `in_pieces`.
        unit: what it is called in `data.unit`, for messages.
        lowercase: whether capitals are read as small letters.
        spaces: what else is made alike.

    Raises:
        UserError: the library cannot make one, of too few tokens say.
    """
    steps = [normalizers.NFC(), *spaces, *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except (UserError, OSError, MemoryError):  # of reading the texts
        raise
    except Exception as error:  # the library raises no narrower one
        raise UserError(f"data.unit={unit}: no tokenizer can be fitted: {error}") from None
    return tokenizer


def in_pieces(text: str) -> str:
    """A text to fit a tokenizer on: what has no space for a thousand characters gets one, since a word costs its square."""
    return _ENDLESS.sub(r"\g<0> ", text)


_ENDLESS = re.compile(r"\S{1000}")


class Sequences:
    """Token sequences of many lengths, one after the other in one array.

    Attributes:
        tokens: (total,) of int32.
        offsets: (count + 1,): sequence i is tokens[offsets[i] : offsets[i + 1]].
    """

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray) -> None:
        self.tokens = tokens
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """(count,): how many tokens each has."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Some of the sequences side by side.

        Returns:
            tokens (time, batch) of int64, `PAD` past a sequence's end, and lengths (batch,) of int64: None where all are as
            long as time.
        """
        lengths = self.lengths[rows]
        tokens = np.full((lengths.max(), len(rows)), PAD, np.int64)
        for column, row in enumerate(rows):
            tokens[: lengths[column], column] = self[row]
        return torch.from_numpy(tokens), None if lengths.min() == lengths.max() else torch.from_numpy(lengths)

    def take(self, rows: np.ndarray) -> "Sequences":
        """Some of them."""
        if len(rows) == len(self):
            return self
        return Sequences(np.concatenate([self[row] for row in rows]), _offsets(self.lengths[rows]))

    @classmethod
    def of(cls, found: "Sequence[np.ndarray]") -> "Sequences":
        """These, each (length,) of int32."""
        lengths = np.array([len(tokens) for tokens in found], np.int64)
        return cls(np.concatenate(found) if found else np.zeros(0, np.int32), _offsets(lengths))

    @classmethod
    def joined(cls, parts: "Sequence[Sequences]") -> "Sequences":
        """The sequences of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.tokens for part in parts]), _offsets(lengths))


def load_tokenizer(written: str) -> Tokenizer:
    """A tokenizer from the JSON of the `tokenizers` library. "[PAD]" in a text is a text to it."""
    tokenizer = Tokenizer.from_str(written)
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_tokenizer(path: Path) -> str:
    """The JSON of a tokenizer in a run's folder.

    Raises:
        UserError: it is not there, or no tokenizer.
    """
    try:
        written = path.read_text(encoding="utf-8")
        load_tokenizer(written)
    except Exception as error:  # the library raises no narrower one
        raise UserError(f"{path}: is no tokenizer ({error})") from None
    return written


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Sequences:
    """Texts as tokens. One in which there is no token at all is read as one unknown one: every sequence has a step."""
    found = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        encodings = tokenizer.encode_batch_fast(texts[start : start + _TEXTS_AT_ONCE], add_special_tokens=False)
        found += [np.array(encoding.ids or [UNKNOWN], np.int32) for encoding in encodings]
    return Sequences.of(found)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])
