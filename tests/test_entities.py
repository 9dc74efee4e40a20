"""Entities in tags, and their scores, beside seqeval's."""

import random

import pytest
from seqeval.metrics import f1_score, precision_score, recall_score

from unroll.entities import Entity, are_of_entities, as_tags, count, entities, odd_among_entities
from unroll.insight.tags import TagAnswers


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-a I-a O", [(1, 3, "a")]),
        ("B-a B-a I-a", [(0, 1, "a"), (1, 3, "a")]),
        ("I-a I-a O I-b", [(0, 2, "a"), (3, 4, "b")]),  # IOB1
        ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
        ("S-a B-a E-a S-b O E-b", [(0, 1, "a"), (1, 3, "a"), (3, 4, "b"), (5, 6, "b")]),  # IOBES
        ("B-a E-a I-a", [(0, 2, "a"), (2, 3, "a")]),
        ("B-creative-work I-creative-work", [(0, 2, "creative-work")]),
        ("O O", []),
    ],
)
def test_entities_of_every_scheme(tags, expected):
    assert entities(tags.split()) == [Entity(*one) for one in expected]


def test_what_is_read_into_iob2_names_the_same_entities():
    draw = random.Random(1)
    for _ in range(300):
        tags = [draw.choice(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in "ab")]) for _ in range(9)]
        found = entities(tags)
        assert entities(as_tags(found, 9)) == found
    assert are_of_entities({"O", "B-x"})
    assert not are_of_entities({"NOUN", "O"})
    assert not are_of_entities({"O"})
    assert odd_among_entities({"O", "B-x", "I-x", "B-y", "person"}) == ["person"]
    assert odd_among_entities({"O", "B-x"}) == odd_among_entities({"NOUN", "VERB", "O"}) == []


def test_scores_are_those_of_seqeval():
    draw = random.Random(2)
    kinds = ["O", "O", "B-a", "I-a", "B-b", "I-b"]
    wanted = [[draw.choice(kinds) for _ in range(draw.randint(1, 12))] for _ in range(200)]
    answered = [[tag if draw.random() < 0.8 else draw.choice(kinds) for tag in tags] for tags in wanted]
    scores = TagAnswers(wanted, answered, True).scores()
    assert scores["f1"] == pytest.approx(f1_score(wanted, answered))
    assert scores["precision"] == pytest.approx(precision_score(wanted, answered))
    assert scores["recall"] == pytest.approx(recall_score(wanted, answered))
    by_kind = f1_score(wanted, answered, average=None)
    found = count(map(entities, wanted), map(entities, answered))
    assert [found[kind].f1 for kind in "ab"] == pytest.approx(by_kind.tolist())


def test_scores_of_plain_tags():
    answers = TagAnswers([["N", "V"], ["N"]], [["N", "N"], ["N"]], False)
    matrix, names = answers.confusion(9)
    assert names == ["N", "V"] and matrix.tolist() == [[2, 0], [1, 0]]
    assert answers.confusion(1)[1] == ["N"]
    scores = answers.scores()
    assert scores == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx((0.8 + 0) / 2)}
