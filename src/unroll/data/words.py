"""Words, or pieces of words, as the tokens of a long text."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from unroll.data.encoding import UNKNOWN_SYMBOL, Chunk
from unroll.data.tokenizing import Boundaries, in_pieces, load_tokenizer, train_tokenizer
from unroll.errors import UserError

_UNKNOWN = "[UNK]"
_AT_ONCE = 2**20  # characters that are cut and encoded together
_WORDS = {"spaces": r"\n|[^\s]+", "punctuation": r"\n|\w+(?:['\u2019]\w+)*|[^\w\s]"}
_CLOSING, _OPENING = ".,;:!?)]}%\u201d\u2019", "([{\u201c\u2018"


@dataclass(frozen=True)
class WordVocabulary:
    """What tokens stand for; used as `unroll.data.encoding.Vocabulary` is.

    Attributes:
        unit: `words`, the end of a line being one too, or `bpe`, pieces of words down to bytes.
        boundaries: of words; see `fit_words`.
        tokenizer_json: the tokenizer, as the `tokenizers` library writes it; its token 0 is the unknown one.
    """

    unit: str
    boundaries: Boundaries
    tokenizer_json: str

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself. "[UNK]" in a text is a text to it."""
        return load_tokenizer(self.tokenizer_json)

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one among them."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return f"{self.unit} {self.boundaries} {self.tokenizer_json}"

    @cached_property
    def words(self) -> list[str]:
        """What each token is in writing."""
        tokens = self.tokenizer.get_vocab()
        return sorted(tokens, key=tokens.__getitem__)

    def pieces(self, chunks: Iterable[Chunk]) -> Iterator[str]:
        """The same text in chunks that can be encoded by themselves: no word lies in two."""
        return whole_lines(chunks)

    def encode(self, chunk: Chunk) -> np.ndarray:
        """Text -> tokens, (length,) of uint32. Each line is cut by itself: chunks of whole lines give what the text gives."""
        assert isinstance(chunk, str)
        found = self.tokenizer.encode_batch_fast(chunk.splitlines(keepends=True), add_special_tokens=False)
        return np.array([token for encoding in found for token in encoding.ids], np.uint32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Tokens -> text, with spaces where they are usual: words do not tell theirs."""
        decoder = self.decoder()
        return "".join(decoder(int(token)) for token in tokens) + decoder(None)

    def decoder(self) -> Callable[[int | None], str]:
        """A function that is given token after token and returns the text that is complete by then; None ends it."""
        if self.unit == "bpe":
            stream = decoders.DecodeStream(skip_special_tokens=False)
            return lambda token: "" if token is None else stream.step(self.tokenizer, token) or ""
        before = "\n"

        def decode(token: int | None) -> str:
            nonlocal before
            if token is None:
                return ""
            word = self.words[token] if token != UNKNOWN_SYMBOL else "\ufffd"
            marks = self.boundaries == "punctuation"
            apart = word != "\n" and before != "\n"
            if marks and (word in _CLOSING or before in _OPENING):
                apart = False
            before = word
            return f" {word}" if apart else word

        return decode

    def unknown(self, text: str) -> list[str]:
        """The words of `text` that have no token, each once."""
        if self.unit == "bpe":
            return []
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return sorted({text[a:b] for token, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if not token})

    def last_word(self, text: str) -> tuple[str, bool]:
        """The word that a text ends with, "" where it ends with a space; and whether nothing has to follow to make it whole:
        it has a token, or is in pieces."""
        if not text or text[-1].isspace():
            return "", True
        line = text.splitlines()[-1]
        if self.unit == "bpe":
            return line.split()[-1], True
        encoding = self.tokenizer.encode(line, add_special_tokens=False)
        begin, end = encoding.offsets[-1]
        return line[begin:end], encoding.ids[-1] != UNKNOWN_SYMBOL

    def save(self, path: Path) -> None:
        """Write as JSON."""
        stored = {"unit": self.unit, "boundaries": self.boundaries, "tokenizer": self.tokenizer_json}
        path.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def of(cls, stored: dict[str, Any], path: Path) -> "WordVocabulary":
        """From what `save` wrote.

        Raises:
            UserError: it is something else.
        """
        try:
            found = cls(str(stored["unit"]), stored["boundaries"], str(stored["tokenizer"]))
            _ = found.tokenizer
        except Exception as error:  # the library raises no narrower one
            raise UserError(f"{path}: not a vocabulary ({error!r}): is the run's folder whole?") from None
        return found


def fit_words(
    chunks: Iterable[Chunk], unit: str, vocab_size: int, min_count: int, lowercase: bool, boundaries: Boundaries
) -> WordVocabulary:
    """The most frequent words of a text, or pieces of words: of the training text, so that no other split is looked at.

    Args:
        chunks: the text.
        unit: `words`; or `bpe`, pieces of words down to bytes, so that nothing is unknown (Sennrich et al. 2016).
        vocab_size: tokens at most, the unknown one and the end of a line among them.
        min_count: how often a token (for BPE a pair) must occur.
        lowercase: whether capitals are read as small letters.
        boundaries: where words end: at `punctuation`, marks being words of their own (an apostrophe within letters is
            part of the word), or at `spaces` only, for text that is already tokenized.
    """
    common: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": [_UNKNOWN], "show_progress": False}
    trainer: trainers.Trainer
    if unit == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=min_count, **common
        )
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS[boundaries]), behavior="removed", invert=True)
        trainer = trainers.WordLevelTrainer(min_frequency=min_count, **common)
    lines = (line for piece in whole_lines(chunks) for line in piece.splitlines(keepends=True))
    train_tokenizer(tokenizer, map(in_pieces, lines) if unit == "bpe" else lines, trainer, unit, lowercase)
    return WordVocabulary(unit, boundaries, tokenizer.to_str())


def whole_lines(chunks: Iterable[Chunk]) -> Iterator[str]:
    """A text in pieces of whole lines; where a line is very long, of whole words."""
    left = ""
    for chunk in chunks:
        assert isinstance(chunk, str)
        left += chunk
        if len(left) < _AT_ONCE:
            continue
        end = left.rfind("\n") + 1 or left.rfind(" ")  # a space belongs to the word after it
        if end > 0:
            yield left[:end]
            left = left[end:]
    if left:
        yield left
