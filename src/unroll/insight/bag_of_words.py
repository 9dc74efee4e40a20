"""The baseline that a text classifier has to beat: which words there are, whatever their order."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from unroll.insight.classification import Answers


def bag_of_words(
    texts: Sequence[str], labels: np.ndarray, scored: Mapping[str, tuple[Sequence[str], np.ndarray]], lowercase: bool
) -> dict[str, Answers]:
    """A logistic regression on the tf-idf weights of words (scikit-learn's, as it comes), and its answers.

    Args:
        texts: of train.
        labels: (count,) of int: their classes, 0 to classes - 1, each of them at least once.
        scored: for each split that is to be answered its texts and labels.
        lowercase: as the network reads them.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", lowercase=lowercase, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(max_iter=1000)).fit(texts, labels)
    return {
        split: Answers(torch.from_numpy(model.predict_proba(some)), torch.from_numpy(right))
        for split, (some, right) in scored.items()
    }
