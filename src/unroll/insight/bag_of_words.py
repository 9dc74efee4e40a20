"""The baseline that a text classifier has to beat: which words there are, whatever their order."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from unroll.insight.classification import Answers


def bag_of_words(
    texts: Sequence[str],
    labels: np.ndarray,
    scored: Mapping[str, tuple[Sequence[str], np.ndarray]],
    classes: int,
    lowercase: bool,
) -> dict[str, Answers]:
    """A logistic regression on the tf-idf weights of words (scikit-learn's, as it comes), and its answers.

    Args:
        texts: of train.
        labels: (count,) of int: their classes, of which two at least occur.
        scored: for each split that is to be answered its texts and labels.
        classes: how many there are.
        lowercase: as the network reads them.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", lowercase=lowercase, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(max_iter=1000)).fit(texts, labels)
    answers = {}
    for split, (some, right) in scored.items():
        probabilities = np.zeros((len(some), classes))
        probabilities[:, model.classes_] = model.predict_proba(some)  # of those that train has
        answers[split] = Answers(torch.from_numpy(probabilities), torch.from_numpy(right))
    return answers
