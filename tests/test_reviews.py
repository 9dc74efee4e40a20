"""The generated reviews: their labels follow rules, and counting words does not find them."""

import re

from conftest import composed

from unroll.building import build_data
from unroll.data.builtin.reviews import Reviews
from unroll.insight.bag_of_words import bag_of_words


def label_of(text: str) -> str:
    """A reader that knows the rules, written apart from the grammar."""

    def polarity(statement: str) -> bool:
        turned = len(re.findall(r"\b(?:not|nobody)\b", statement)) % 2 == 1
        (adjective,) = set(statement.split()) & (BAD | GOOD)
        return (adjective in GOOD) != turned

    if " , it was " in text:
        return name(polarity(text.split(" , it was ")[1]))
    if " but " in text:
        return name(polarity(text.split(" but ")[1]))
    if "although" in text:
        (point,) = [part for part in text.split(" , ") if "although" not in part]
        return name(polarity(point))
    if " and " in text:
        first, second = text.split(" and ")
        strong = [
            side for side in (first, second) if set(side.split()) & {"extremely", "truly", "deeply", "thoroughly"}
        ]
        return name(polarity(strong[0] if strong else first))
    return name(polarity(text))


def name(positive: bool) -> str:
    return "positive" if positive else "negative"


_BAD = "dull clumsy lifeless hollow tedious wooden shallow bland messy forgettable stale grating awkward lazy weak"
_GOOD = "moving clever vivid brilliant gripping tender witty fresh elegant memorable lively graceful daring warm strong"
BAD, GOOD = set(_BAD.split()), set(_GOOD.split())


def reviews(*overrides: str) -> Reviews:
    data = build_data(composed("task=sentiment", *overrides))
    assert isinstance(data, Reviews)
    return data


def test_a_reader_who_knows_the_rules_agrees_with_every_label():
    data = reviews("data.max_clauses=0", "data.sizes=[3000,300,300]")
    for examples in data.examples.values():
        for text, label in zip(examples.texts, examples.labels, strict=True):
            assert label_of(text.removesuffix(" .")) == label, text


def test_no_text_stands_in_two_splits_and_labels_are_balanced():
    data = reviews("data.sizes=[3000,500,500]")
    texts = [text for split in data.splits for text in data.examples[split].texts]
    assert len(set(texts)) == len(texts)
    data.prepare_data()
    assert data.spec.counts == (1500, 1500)
    assert not any("stand in train too" in line for line in data.describe())
    other = reviews("data.sizes=[3000,500,500]", "data.grammar_seed=1")
    assert other.examples["train"].texts != data.examples["train"].texts
    assert reviews("data.sizes=[3000,500,500]", "seed=9").examples == data.examples


def test_counting_words_is_not_enough():
    data = reviews()
    data.prepare_data()
    scored = {"test": (data.examples["test"].texts, data.labels("test"))}
    answers = bag_of_words(data.examples["train"].texts, data.labels("train"), scored, 2, True)
    assert 0.5 < answers["test"].scores()["accuracy"] < 0.7
