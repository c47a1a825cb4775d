"""Garbling changes as many words as it says; nobody scores a tweet whose keyword it has seen."""

import numpy as np
import pandas as pd
import pytest
from made import Made

from pipeline.contracts import Prepared
from pipeline.curves import robustness
from pipeline.curves.robustness import RobustnessParams, deal_keywords, garble, interval, under_noise, under_shift

PARAMS = RobustnessParams(classifiers=["a"], rates=[0.3], draws=200, seed=0)


def test_so_many_words_are_dropped_or_replaced() -> None:
    texts = pd.Series([" ".join(f"w{n}" for n in range(50))] * 200)
    vocabulary = np.array(["new"], dtype=object)
    dropped = garble(texts, "drop", 0.3, vocabulary, 0)
    assert np.mean([len(text.split()) for text in dropped]) == pytest.approx(35, abs=1)
    replaced = [text.split() for text in garble(texts, "substitute", 0.3, vocabulary, 0)]
    assert np.mean([words.count("new") for words in replaced]) == pytest.approx(15, abs=1)
    assert {len(words) for words in replaced} == {50}
    assert garble(pd.Series(["one word", "", "word"]), "drop", 1.0, vocabulary, 0)[1:] == ["", "word"]
    assert garble(texts, "drop", 0.3, vocabulary, 1) != dropped
    assert garble(texts, "drop", 0.3, vocabulary, 0) == dropped


def knows(words: list[frozenset[str]]) -> Made:
    """Says 1 for tweets with a word that stood in a training tweet with label 1; notes the keywords it was given."""

    def fit(tweets: pd.DataFrame, labels: np.ndarray, _: int) -> set[str]:
        words.append(frozenset(tweets["keyword"].fillna("")))
        return set(" ".join(tweets["text"][labels == 1]).split())

    def predict(known: set[str], tweets: pd.DataFrame) -> np.ndarray:
        return np.array([0.9 if known & set(text.split()) else 0.1 for text in tweets["text"]])

    return Made(fit, predict, {})


def test_no_tweet_is_scored_by_a_model_that_saw_its_keyword(sample: Prepared) -> None:
    seen: list[frozenset[str]] = []
    right = under_shift(knows(seen), sample, PARAMS)
    hands = [one for one, _ in deal_keywords(sample.train, PARAMS.seed)]
    assert sorted(right.index) == sorted(sample.train["id"]) == sorted(pd.concat(hands)["id"])
    assert len(hands) == len(seen) == 5
    for hand, keywords in zip(hands, seen, strict=True):
        assert not keywords & set(hand["keyword"].fillna(""))


def test_noise_hurts_who_reads_words(sample: Prepared) -> None:
    train = sample.train.assign(text=np.where(sample.train["target"] == 1, "fire burns now", "cake tastes good"))
    right = under_noise(knows([]), Prepared(train, sample.test, sample.digest), PARAMS)
    assert right["none", 0.0].all()
    assert 0.5 < right["substitute", 0.3].mean() < 1
    assert list(right.columns) == [("none", 0.0), ("drop", 0.3), ("substitute", 0.3)]


def test_the_page_shows_what_was_found() -> None:
    groups = pd.Series(range(40), index=range(40))
    found = interval(pd.Series([True, False] * 20, index=range(40)), groups, PARAMS)
    assert found["low"] < found["value"] == 0.5 < found["high"]
    noise = pd.DataFrame(
        [{"classifier": "a", "kind": kind, "rate": rate} | found for kind, rate in (("none", 0.0), ("drop", 0.05))]
    )
    shift = pd.DataFrame([{"classifier": "a", "what": what} | found for what in ("seen", "unseen", "lost")])
    page = robustness.render(noise, shift)
    assert "drop 5%" in page
    assert f"0.500 [{found['low']:.3f}, {found['high']:.3f}]" in page
    assert "50.00 [" in page
