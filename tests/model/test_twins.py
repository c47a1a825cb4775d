"""Families on words learn, and learn from the right rows only; the twins see the same counts."""

import contextlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made import on_counts

from pipeline.contracts import Prepared, read_params
from pipeline.counts import logistic, naive_bayes, nb_svm, ngram_lm, transductive_naive_bayes
from pipeline.counts.counts import Counted, CountsParams, count_all, features, terms, vectorizer
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import cross_fit, mean_log_odds, training_rows
from pipeline.fit.subsets import first_rows
from pipeline.fit.tuning import log_odds

WORDS = CountsParams(ngrams=[1], min_count=[1], inner_folds=2)


ALL = {module.FAMILY.name(): module for module in (naive_bayes, logistic, nb_svm, ngram_lm)}


@pytest.fixture(scope="module", params=ALL)
def twin(request: pytest.FixtureRequest) -> Classifier:
    with contextlib.chdir(ROOT):
        return ALL[request.param].FAMILY.read()


@pytest.mark.parametrize("ngrams", [1, 2])
@pytest.mark.parametrize("min_count", [1, 3])
def test_counts_read_once_are_those_of_a_vectorizer_fitted_anew(ngrams: int, min_count: int, sample: Prepared) -> None:
    """To the last digit and in the same order, for the rows that it was fitted to and for others."""
    learnt, held_out = np.flatnonzero(sample.train["fold"] > 0), np.flatnonzero(sample.train["fold"] == 0)
    counts, lengths = count_all(sample.train, 2, 1, keywords=True)
    counted = Counted(lengths, ngrams, min_count).fit(counts[learnt])
    tweets = features(sample.train)
    anew = vectorizer(ngrams, min_count, keywords=True).fit(tweets.iloc[learnt])
    for rows in (learnt, held_out):
        found, expected = counted.transform(counts[rows]), anew.transform(tweets.iloc[rows]).tocsr()
        assert found.shape == expected.shape
        for part in ("data", "indices", "indptr"):
            assert (getattr(found, part) == getattr(expected, part)).all(), part


@pytest.mark.parametrize("labels", [32, 128, None])
def test_twins_see_the_same_counts(labels: int | None, sample: Prepared) -> None:
    """Of any training rows: what is counted is chosen once, before the hyperparameters of either."""
    counts = read_params("counts", CountsParams, ROOT / "params.yaml")
    for fold in range(5):
        rows = first_rows(*training_rows(sample.train, fold), labels)
        seen = [set(terms(on_counts(module, counts).fit(*rows).pipeline)) for module in (naive_bayes, logistic, nb_svm)]
        assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("twin", [name for name in ALL if name != "ngram_lm"], indirect=True)
def test_what_is_deployed_is_what_was_chosen_by(twin: Classifier, sample: Prepared) -> None:
    """Probabilities are decided as Bayes' rule decides, at few labels, too: the temperature moves no decision."""
    for fold, labels in ((0, 32), (1, 64), (2, None)):
        model = twin.fit(*first_rows(*training_rows(sample.train, fold), labels))
        held_out = sample.train[sample.train["fold"] == fold]
        bare = log_odds(model.pipeline, features(held_out))
        assert ((twin.predict(model, held_out) > 0.5) == (bare > 0))[np.abs(bare) > 1e-9].all()


def test_it_beats_a_dummy_and_scores_rows_left_out_of_training(twin: Classifier, sample: Prepared) -> None:
    train = sample.train.copy()
    train.loc[train.index[::7], "train_target"] = pd.NA
    prepared = Prepared(train, sample.test, sample.digest)
    scores = cross_fit("test", prepared, twin.fit_fold, twin.predict, type).train
    assert ((scores > 0) & (scores < 1)).all()
    assert ((scores > 0.5) == train["target"]).mean() > 1 - train["target"].mean() + 0.1


def test_it_overfits_ten_rows(twin: Classifier) -> None:
    words = ["quake", "flood", "blast", "crash", "blaze", "cake", "song", "game", "shoes", "beach"]
    texts = [f"{word} {word}s today" for word in words]
    tweets = pd.DataFrame({"text": texts * 6, "keyword": None, "group": np.arange(60)})
    labels = np.tile([1] * 5 + [0] * 5, 6)
    model = twin.fit(tweets, labels)
    assert ((twin.predict(model, tweets.head(10)) > 0.5) == labels[:10]).all()


def test_case_does_not_matter_disaster_words_do_and_unknown_ones_leave_a_probability(
    twin: Classifier, sample: Prepared
) -> None:
    model = twin.fit(*training_rows(sample.train, held_out=0))
    texts = [
        "Huge EARTHQUAKE in the city http",
        "huge earthquake in the city http",
        "in the street",
        "evacuated in the street",
    ]
    shouted, said, plain, hurt = twin.predict(model, pd.DataFrame({"text": texts, "keyword": None}))
    assert shouted == said
    assert plain < hurt
    scores = twin.predict(model, pd.DataFrame({"text": ["qwertyuiop", "…"], "keyword": "zxcvb"}))
    assert ((scores > 0.05) & (scores < 0.95)).all()
    assert any(term.startswith("keyword__") for term in twin.weights(model).index)  # type: ignore[attr-defined]


def test_held_out_labels_have_no_influence(twin: Classifier, sample: Prepared) -> None:
    """Not through training, nor through the choice of hyperparameters: flip a fold's labels, and its scores stay."""
    train = sample.train.copy()
    fold = train["fold"] == 2
    train.loc[fold, ["target", "train_target"]] = 1 - train.loc[fold, ["target", "train_target"]]
    for held_out, same in ((2, True), (3, False)):
        models = [twin.fit_fold(held_out, *training_rows(rows, held_out)) for rows in (sample.train, train)]
        one, other = (twin.predict(model, sample.train[sample.train["fold"] == held_out]) for model in models)
        assert (one == other).all() == same


@pytest.mark.parametrize("event_model", ["multinomial", "bernoulli"])
def test_naive_bayes_is_bayes_rule(sample: Prepared, event_model: str) -> None:
    """log p(y) + Σ log p(w | y), counted by hand for one tweet."""
    tweets, labels = training_rows(sample.train, held_out=0)
    family = on_counts(naive_bayes, WORDS, event_model=[event_model], alpha=[1.0])
    model = family.fit(tweets, labels)
    used = np.isin(terms(model.pipeline), ("word__fire", "word__in", "keyword__(none)"))
    presence = model.pipeline["features"].transform(features(tweets)).toarray()
    joint = []
    for label in (0, 1):
        counts = presence[labels == label].sum(axis=0) + 1.0
        p = counts / (counts.sum() if event_model == "multinomial" else (labels == label).sum() + 2)
        absent = np.log(1 - p[~used]).sum() if event_model == "bernoulli" else 0.0
        joint.append(np.log((labels == label).mean()) + np.log(p[used]).sum() + absent)
    tweet = pd.DataFrame({"text": ["Fire in"], "keyword": [None]})
    assert log_odds(model.pipeline, features(tweet))[0] == pytest.approx(joint[1] - joint[0])
    weights = family.weights(model)
    nothing = pd.DataFrame({"text": [""], "keyword": [None]})
    told = log_odds(model.pipeline, features(tweet))[0] - log_odds(model.pipeline, features(nothing))[0]
    assert weights[["word__fire", "word__in"]].sum() == pytest.approx(told)


def test_nb_svm_with_equal_weights_is_naive_bayes(sample: Prepared) -> None:
    tweets, labels = training_rows(sample.train, held_out=0)
    twin = on_counts(naive_bayes, WORDS, event_model=["multinomial"], alpha=[1.0])
    between = on_counts(nb_svm, WORDS, alpha=1.0, C=[1.0])
    naive, bridge = twin.fit(tweets, labels), between.fit(tweets, labels)
    bridge.pipeline["classifier"].logistic_.coef_[:] = 1.0
    assert between.weights(bridge).to_numpy() == pytest.approx(twin.weights(naive).to_numpy())


def transductive(tweets: pd.DataFrame, labels: np.ndarray, unlabelled: pd.DataFrame, weight: float) -> Any:
    params = transductive_naive_bayes.TransductiveNaiveBayesParams(alpha=1.0, weights=[weight], rounds=50)
    return transductive_naive_bayes.fit(tweets, labels, unlabelled, params, WORDS)


def test_what_stands_beside_a_known_word_is_learnt_without_labels() -> None:
    tweets = pd.DataFrame({"text": ["quake", "cake"] * 4, "keyword": None, "group": range(8)})
    beside = ["quake rubble", "quake rubble", "rubble", "cake cream", "cake cream", "cream"] * 5
    unlabelled = pd.DataFrame({"text": beside, "keyword": None, "group": range(100, 130)})
    labels, new = np.array([1, 0] * 4), pd.DataFrame({"text": ["rubble", "cream"], "keyword": None})
    without, with_them = (transductive(tweets, labels, unlabelled, weight) for weight in (0.0, 1.0))
    assert without.predict(features(new)) == pytest.approx([0.5, 0.5])
    high, low = with_them.predict(features(new))
    assert high > 0.9
    assert low < 0.1


def test_without_unlabelled_tweets_it_is_naive_bayes(sample: Prepared) -> None:
    tweets, labels = training_rows(sample.train, held_out=0)
    naive = on_counts(naive_bayes, WORDS, event_model=["multinomial"], alpha=[1.0]).fit(tweets, labels)
    same = transductive(tweets, labels, sample.test.head(0), 1.0)
    expected = log_odds(naive.pipeline, features(sample.test))
    assert log_odds(same.pipeline, features(sample.test)) == pytest.approx(expected)


def test_no_near_duplicate_of_the_scored_fold_is_among_the_unlabelled(sample: Prepared) -> None:
    held_out = sample.train[sample.train["fold"] == 1]
    test = sample.test.copy()
    test.loc[test.index[:5], "group"] = held_out["group"].iloc[0]
    pool = transductive_naive_bayes.unlabelled(Prepared(sample.train, test, sample.digest), 1)
    assert not set(pool["group"]) & set(held_out["group"])
    assert set(test["group"]) - set(held_out["group"]) == set(pool["group"])


def test_mean_log_odds() -> None:
    assert mean_log_odds(np.array([[0.5, 0.2, 1.0], [0.5, 0.8, 1.0]])) == pytest.approx([0.5, 0.5, 1.0], abs=1e-5)
