"""naive_bayes and logistic learn, and learn from the right rows only."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from pipeline.classifiers import logistic, naive_bayes
from pipeline.classifiers.counts import CountsParams, terms
from pipeline.classifiers.cross_fit import cross_fit, mean_log_odds, training_rows
from pipeline.contracts import Prepared, read_params


@dataclass
class Twin:
    module: ModuleType
    fit: Callable[[pd.DataFrame, np.ndarray], Any]

    def predict(self, model: Any, texts: list[str], keyword: str | None = None) -> np.ndarray:
        return self.module.predict(model, pd.DataFrame({"text": texts, "keyword": keyword}))


@pytest.fixture(
    scope="module",
    params=[(naive_bayes, "NaiveBayesParams"), (logistic, "LogisticParams")],
    ids=["naive_bayes", "logistic"],
)
def twin(request: pytest.FixtureRequest) -> Twin:
    module, params_name = request.param
    params = read_params(module.NAME, getattr(module, params_name), ROOT / "params.yaml")
    counts = read_params("counts", CountsParams, ROOT / "params.yaml")
    return Twin(module, lambda tweets, labels: module.fit(tweets, labels, params, counts))


@pytest.fixture(scope="module")
def fitted(twin: Twin, sample: Prepared) -> Any:
    return twin.fit(*training_rows(sample.train, held_out=0))


def out_of_fold(twin: Twin, prepared: Prepared) -> np.ndarray:
    return cross_fit(
        "test", prepared, lambda _, tweets, labels: twin.fit(tweets, labels), twin.module.predict, type
    ).train


def test_it_beats_a_dummy(twin: Twin, sample: Prepared) -> None:
    right = (out_of_fold(twin, sample) > 0.5) == sample.train["target"]
    assert right.mean() > 1 - sample.train["target"].mean() + 0.1


def test_it_overfits_ten_rows(twin: Twin) -> None:
    words = ["quake", "flood", "blast", "crash", "blaze", "cake", "song", "game", "shoes", "beach"]
    texts = [f"{word} {word}s today" for word in words]
    tweets = pd.DataFrame({"text": texts * 6, "keyword": None, "group": np.arange(60)})
    labels = np.tile([1] * 5 + [0] * 5, 6)
    model = twin.fit(tweets, labels)
    assert ((twin.predict(model, texts) > 0.5) == labels[:10]).all()


def test_case_and_links_do_not_matter(twin: Twin, fitted: Any) -> None:
    a, b = twin.predict(fitted, ["Huge EARTHQUAKE in the city http", "huge earthquake in the city http"])
    assert a == b


def test_disaster_words_raise_the_score(twin: Twin, fitted: Any) -> None:
    plain, hurt = twin.predict(fitted, ["people in the street", "people killed and injured in the street"])
    assert hurt > plain


def test_unknown_words_leave_a_probability(twin: Twin, fitted: Any) -> None:
    scores = twin.predict(fitted, ["qwertyuiop", "…"], keyword="zxcvb")
    assert ((scores > 0.1) & (scores < 0.9)).all()


def test_the_keyword_counts(twin: Twin, fitted: Any) -> None:
    assert any(term.startswith("keyword__") for term in terms(fitted))


def test_held_out_labels_have_no_influence(twin: Twin, sample: Prepared) -> None:
    """Not through training, nor through the choice of hyperparameters: flip a fold's labels, and its scores stay."""
    train = sample.train.copy()
    fold = train["fold"] == 2
    train.loc[fold, ["target", "train_target"]] = 1 - train.loc[fold, ["target", "train_target"]]
    flipped = Prepared(train, sample.test, sample.digest)
    assert (out_of_fold(twin, sample)[fold] == out_of_fold(twin, flipped)[fold]).all()
    assert (out_of_fold(twin, sample)[~fold] != out_of_fold(twin, flipped)[~fold]).any()


def test_rows_left_out_of_training_are_still_scored(twin: Twin, sample: Prepared) -> None:
    train = sample.train.copy()
    train.loc[train.index[::7], "train_target"] = pd.NA
    assert not np.isnan(out_of_fold(twin, Prepared(train, sample.test, sample.digest))).any()


def test_naive_bayes_is_bayes_rule(sample: Prepared) -> None:
    """log p(y) + Σ log p(w | y), counted by hand for one tweet."""
    params = naive_bayes.NaiveBayesParams(alpha=[1.0])
    tweets, labels = training_rows(sample.train, held_out=0)
    model = naive_bayes.fit(tweets, labels, params, CountsParams(ngrams=[1], min_count=1, inner_folds=2))
    position = {term: i for i, term in enumerate(terms(model))}
    presence = model["counts"].transform(tweets[["text", "keyword"]].fillna({"keyword": ""})).toarray()
    used = ("word__fire", "word__in", "keyword__(none)")
    joint = []
    for label in (0, 1):
        counts = presence[labels == label].sum(axis=0) + 1.0
        joint.append(np.log((labels == label).mean()) + sum(np.log(counts[position[w]] / counts.sum()) for w in used))
    expected = 1 / (1 + np.exp(joint[0] - joint[1]))
    assert naive_bayes.predict(model, pd.DataFrame({"text": ["Fire in"], "keyword": [None]}))[0] == pytest.approx(
        expected
    )


def test_mean_log_odds() -> None:
    assert mean_log_odds(np.array([[0.5, 0.2, 1.0], [0.5, 0.8, 1.0]])) == pytest.approx([0.5, 0.5, 1.0], abs=1e-5)
