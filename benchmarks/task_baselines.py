"""What fine-tuned models are compared with: the majority class, and TF-IDF with a linear model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ogpt.evaluation.task_scores import measures
from ogpt.notices import collecting
from ogpt.tasks.example import Example
from ogpt.tasks.labels import label_array
from ogpt.tasks.task_data import TaskData


def majority(data: TaskData) -> float:
    """Score of always predicting the most frequent training label; a constant correlates with 0."""
    if data.spec.problem == "regression":
        return 0.0
    gold, labels = _labels(data)
    most = Counter(gold.tolist()).most_common(1)[0][0]
    return _score(data, np.full(len(labels), most), labels)


def tfidf(data: TaskData) -> float:
    """Score of a linear model on TF-IDF of words and pairs of words.

    A pair of texts is described by both, by the products of their features and by their cosine;
    each choice of a multiple choice is such a pair, and right or wrong.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    valid = next(iter(data.valid.values()))
    gold, labels = _labels(data)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    words.fit([text for example in data.train for text in example.texts])

    def features(pairs: Sequence[tuple[str, str]]) -> Any:
        first, second = (words.transform(side) for side in zip(*pairs, strict=True))
        both = first.multiply(second)
        return hstack([first, second, both, 10 * both.sum(1)]).tocsr()

    if data.spec.family == "classification":
        model = LogisticRegression(C=4.0, max_iter=2_000)
        model.fit(words.transform([one.texts[0] for one in data.train]), gold)
        return _score(data, model.predict(words.transform([o.texts[0] for o in valid])), labels)
    if data.spec.family == "multiple-choice":
        model = LogisticRegression(C=1.0, max_iter=2_000)
        right = [int(k == y) for one, y in zip(data.train, gold, strict=True) for k in _range(one)]
        model.fit(features([pair for one in data.train for pair in _choices(one)]), right)
        found = [int(model.decision_function(features(_choices(one))).argmax()) for one in valid]
        return _score(data, np.array(found), labels)
    train = features([one.texts for one in data.train])  # type: ignore[misc]  # pairs
    held = features([one.texts for one in valid])  # type: ignore[misc]  # pairs
    if data.spec.problem == "regression":
        found = Ridge(alpha=1.0).fit(train, gold).predict(held)
        with collecting():
            name = data.spec.metrics[0]
            return measures(replace(data.spec, metrics=(name,)), found[:, None], labels)[name]
    model = LogisticRegression(C=4.0, max_iter=2_000).fit(train, gold)
    return _score(data, model.predict(held), labels)


def _range(example: Example) -> range:
    return range(len(example.texts) - 2)


def _choices(example: Example) -> list[tuple[str, str]]:
    prompt = f"{example.texts[0]} {example.texts[1]}"
    return [(prompt, choice) for choice in example.texts[2:]]


def _labels(data: TaskData) -> tuple[Any, Any]:
    valid = next(iter(data.valid.values()))
    return label_array(data.train, data.spec), label_array(valid, data.spec)


def _score(data: TaskData, found: Any, labels: Any) -> float:
    """The task's first measure of decided classes."""
    width = int(max(found.max(), labels.max())) + 1
    name = data.spec.metrics[0]
    logits = np.eye(width)[found]
    return measures(replace(data.spec, metrics=(name,)), logits, labels)[name]
