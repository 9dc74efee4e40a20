"""From texts to tokens and back again, by the `tokenizers` library: byte-level BPE, unigram pieces, or words."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from unroll.data.tokenizing import PAD, UNKNOWN, in_pieces, train_tokenizer

Subword = Literal["bpe", "unigram", "words"]

BEGIN, END = 2, 3
"""Tokens that no text has, beside `PAD` and `UNKNOWN`: what a decoder reads first, and what it writes last."""

UNWRITTEN = (PAD, UNKNOWN, BEGIN)
"""What a decoder never writes."""

# With spaces, which no piece of a text has: a unigram model would take "[END]" in a text for its own.
_SPECIAL = ["[ PAD ]", "[ UNK ]", "[ BEGIN ]", "[ END ]"]
_SPACE = ("Ġ", "▁")  # how byte-level and other pieces write the space before them


def fit_subwords(texts: Iterable[str], unit: Subword, vocab_size: int, min_count: int, lowercase: bool) -> Tokenizer:
    """A tokenizer whose `decode` gives the text back, but for unknown tokens, runs of spaces and, if asked for, capitals.

    Args:
        texts: the training texts, and no others.
        unit: `bpe`, pieces of words down to bytes, so that nothing is unknown (Sennrich et al. 2016); `unigram`, pieces
            by a unigram language model (Kudo 2018); `words`, punctuation marks being tokens of their own.
        vocab_size: tokens at most, the four special ones among them.
        min_count: how often a pair of `bpe` or a word must occur.
        lowercase: whether capitals become small letters.

    Raises:
        UserError: the library cannot make one, of too few tokens say.
    """
    common: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": _SPECIAL, "show_progress": False}
    trainer: trainers.Trainer
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="always")
    if unit == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=min_count, **common)
    else:
        tokenizer = Tokenizer(models.Unigram() if unit == "unigram" else models.WordLevel(unk_token="[ UNK ]"))
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
        if unit == "unigram":
            tokenizer.pre_tokenizer = metaspace
            trainer = trainers.UnigramTrainer(unk_token="[ UNK ]", **common)
        else:
            marks = pre_tokenizers.Split(Regex(r"[^\w\s▁]"), behavior="isolated")
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([metaspace, marks])
            trainer = trainers.WordLevelTrainer(min_frequency=min_count, **common)
    spaces = (normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip())
    train_tokenizer(tokenizer, map(in_pieces, texts), trainer, unit, lowercase, *spaces)
    return _in_order(tokenizer) if unit == "unigram" else tokenizer


def _in_order(tokenizer: Tokenizer) -> Tokenizer:
    """The same unigram pieces, by score and then by alphabet: the library numbers them differently in every process."""
    written = json.loads(tokenizer.to_str())
    model = written["model"]
    special, pieces = model["vocab"][: len(_SPECIAL)], model["vocab"][len(_SPECIAL) :]
    rounded = [[piece, round(score, 4)] for piece, score in pieces]
    model["vocab"] = [*special, *sorted(rounded, key=lambda entry: (-entry[1], entry[0]))]
    return Tokenizer.from_str(json.dumps(written))


def decode(tokenizer: Tokenizer, sequences: Sequence[Sequence[int]]) -> list[str]:
    """Tokens as texts of one line; the special ones are left out."""
    return [" ".join(text.split()) for text in tokenizer.decode_batch(sequences, skip_special_tokens=True)]


_WORDS = {UNKNOWN: "<unk>", END: "</s>"}  # special tokens that are words of their own


def words_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[list[str], list[int]]:
    """The words that tokens make up, and for each token which of them it belongs to; the end and what is
    unknown are words of their own."""
    groups: list[list[int]] = []
    places = []
    for token in tokens:
        piece = tokenizer.id_to_token(token) or ""
        if not groups or token in _WORDS or groups[-1][-1] in _WORDS or piece.startswith(_SPACE):
            groups.append([])
        groups[-1].append(token)
        places.append(len(groups) - 1)
    words = decode(tokenizer, groups)
    return [_WORDS.get(group[0], word) for group, word in zip(groups, words, strict=True)], places
