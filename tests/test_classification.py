"""Scores of classes, and accuracy against how hard a text is."""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch

from unroll.insight.classification import Answers
from unroll.insight.difficulty import group_by_difficulty


def some_answers(classes: int, count: int = 500) -> Answers:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.where(
        torch.rand(count, generator=generator) < 0.6,
        logits.argmax(-1),
        torch.randint(classes, (count,), generator=generator),
    )
    return Answers(torch.softmax(logits, -1), labels)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn(classes):
    answers = some_answers(classes)
    y, p, chosen = answers.labels.numpy(), answers.probabilities.numpy(), answers.chosen.numpy()
    scores = answers.scores()
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, chosen))
    assert scores["f1"] == pytest.approx(sklearn.metrics.f1_score(y, chosen, average="macro"))
    assert ("auroc" in scores) == (classes == 2)
    if classes == 2:
        assert scores["auroc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, p[:, 1]))
    assert np.array_equal(answers.confusion(), sklearn.metrics.confusion_matrix(y, chosen))
    expected = sklearn.metrics.precision_recall_fscore_support(y, chosen)
    np.testing.assert_allclose(np.array(answers.by_class()).T, np.array(expected))


def test_the_calibration_error_by_hand():
    """Two answers at 0.95, one of them right; two at 0.65, both right: (|0.5 - 0.95| + |1 - 0.65|) / 2."""
    p = torch.tensor([0.95, 0.95, 0.65, 0.65], dtype=torch.float64)
    answers = Answers(torch.stack([p, 1 - p], 1), torch.tensor([0, 1, 0, 0]))
    assert answers.scores()["calibration_error"] == pytest.approx((0.45 + 0.35) / 2, abs=1e-6)


def test_one_class_alone_in_a_split_has_no_auroc_and_no_crash():
    answers = Answers(torch.tensor([[0.6, 0.4], [0.3, 0.7]]), torch.tensor([0, 0]))
    assert answers.scores()["accuracy"] == 0.5
    assert math.isnan(answers.scores()["auroc"])


def test_the_most_wrong_come_first():
    p = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    answers = Answers(p, torch.tensor([1, 1, 1, 0]))
    assert answers.most_wrong(5) == [1, 0]
    assert answers.surest(5) == [2, 3]


def by_length(values, right):
    return group_by_difficulty("length", "accuracy", 1.0, 0.5, values, lambda some: float(right[some].mean()))


def test_accuracy_by_difficulty():
    values = np.repeat([1.0, 2.0, 3.0], 100)
    line = by_length(values, values != 2.0)
    assert (line.values, line.scores, line.counts) == ([1.0, 2.0, 3.0], [1.0, 0.0, 1.0], [100, 100, 100])
    many = by_length(np.arange(1000.0), np.arange(1000) < 100)
    assert many.counts == [100] * 10
    assert many.scores == [1.0, *[0.0] * 9]
    few_at_the_end = by_length(np.repeat([0.0, 7.0, 9.0], [60, 38, 2]), np.ones(100, bool))
    assert few_at_the_end.counts == [60, 40]
