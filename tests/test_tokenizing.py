"""From texts to tokens."""

import random

import pytest

from unroll.data.tokenizing import PAD, UNKNOWN, encode, fit_tokenizer
from unroll.errors import UserError


def test_words_and_marks():
    tokenizer = fit_tokenizer(["Don't STOP, it\u2019s 3.5 stars!"], "words", 100, 1, True, "punctuation")
    assert tokenizer.encode("Don't STOP, it\u2019s 3.5 stars!").tokens == [
        "don't", "stop", ",", "it\u2019s", "3", ".", "5", "stars", "!",
    ]  # fmt: skip
    spaces = fit_tokenizer(["isn't -lrb- good ."], "words", 100, 1, True, "spaces")
    assert spaces.encode("isn't -lrb- good .").tokens == ["isn't", "-lrb-", "good", "."]


def test_the_most_frequent_are_kept():
    tokenizer = fit_tokenizer(["a a a b b c"], "words", 4, 1, True, "spaces")
    assert tokenizer.get_vocab() == {"[PAD]": PAD, "[UNK]": UNKNOWN, "a": 2, "b": 3}
    assert fit_tokenizer(["a a a b b c"], "words", 9, 3, True, "spaces").get_vocab_size() == 3


def test_bytes_leave_nothing_unknown_and_characters_are_characters():
    bpe = fit_tokenizer(["the film the film the fil"] * 3, "bpe", 300, 2, False, "punctuation")
    found = encode(bpe, ["the film", "никогда 🎬"])
    assert UNKNOWN not in found.tokens
    assert len(found[0]) == 2
    characters = fit_tokenizer(["ab c\n"], "characters", 100, 1, False, "punctuation")
    assert characters.encode("a c\nz").tokens == ["a", " ", "c", "\n", "[UNK]"]


def test_pieces_of_a_text_without_spaces_are_those_of_its_parts():
    """A word costs its square: unbroken, this one would take minutes."""
    text = "".join(random.Random(1).choices("acgt", k=200_000))
    found = fit_tokenizer([text], "bpe", 300, 2, False, "punctuation")
    parts = " ".join(text[start : start + 1000] for start in range(0, len(text), 1000))
    assert found.to_str() == fit_tokenizer([f"{parts} "], "bpe", 300, 2, False, "punctuation").to_str()


@pytest.mark.parametrize("error", [UserError("a.txt: byte 0xe9 is not utf-8"), OSError(28, "No space left on device")])
def test_what_is_wrong_with_the_texts_is_not_the_tokenizers(error):
    def texts():
        yield "the film"
        raise error

    with pytest.raises(type(error)) as found:
        fit_tokenizer(texts(), "words", 100, 1, True, "spaces")
    assert found.value is error


def test_a_text_without_any_token_is_one_unknown_one():
    tokenizer = fit_tokenizer(["good"], "words", 10, 1, True, "spaces")
    assert [encode(tokenizer, ["  ", "zzz"])[row].tolist() for row in range(2)] == [[UNKNOWN], [UNKNOWN]]
