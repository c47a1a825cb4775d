"""ngram_lm is the language model it says it is, tells tweets by it, and learns from the right rows only."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from pipeline.contracts import Prepared, read_params
from pipeline.counts import ngram_lm
from pipeline.counts.ngram_lm import END, KEYWORD, START, UNKNOWN, NgramLm, NgramLmOnWords, NgramLmParams
from pipeline.fit.bayes_rule import BayesRule
from pipeline.fit.cross_fit import training_rows

NO_KEYWORD = KEYWORD.format("(none)")


@pytest.fixture(scope="module")
def family() -> NgramLmOnWords:
    return NgramLmOnWords(read_params("ngram_lm", NgramLmParams, ROOT / "params.yaml"))


def of_texts(texts: list[str], labels: list[int], order: int, discount: float) -> NgramLm:
    tweets = ngram_lm.tokens(pd.DataFrame({"text": texts, "keyword": None}))
    return NgramLm(*ngram_lm.count_classes(tweets, np.array(labels), order), order, discount, BayesRule(0.0))


@pytest.fixture
def small() -> NgramLm:
    """Its vocabulary: the missing keyword, fire, here, there, cake, the end, and the unknown word."""
    return of_texts(["Fire here", "fire there", "cake here"], [1, 1, 0], order=2, discount=0.5)


def test_a_case_by_hand(small: NgramLm) -> None:
    # without history class 1 saw 8 words of 5 kinds: no keyword 2, fire 2, here 1, there 1, the end 2
    kept, unseen = 0.5, 0.5 * 5 / 7
    here, cake, end = (kept + unseen) / 8, unseen / 8, (1.5 + unseen) / 8
    assert small.probabilities(1, ["here", "cake", UNKNOWN], ()) == pytest.approx([here, cake, cake])
    # after fire it saw two words, each once
    after_fire = [(0.5 + 0.5 * 2 * here) / 2, (0.5 * 2 * cake) / 2]
    assert small.probabilities(1, ["here", "cake"], ("fire",)) == pytest.approx(after_fire)
    assert small.probabilities(1, ["here"], ("cake",)) == pytest.approx([here]), "never seen: the shorter history holds"
    assert small.probabilities(1, ["here"], ("cake", "fire")) == pytest.approx(after_fire[:1]), "no further back than 1"
    # the whole tweet: its keyword, fire, here, the end
    keyword, fire = (1.5 + 0.5 * (1.5 + unseen) / 8) / 2, (1.5 + 0.5 * (1.5 + unseen) / 8) / 2
    expected = math.log(keyword * fire * after_fire[0] * (0.5 + 0.5 * end))
    tweet = ngram_lm.tokens(pd.DataFrame({"text": ["Fire, HERE!"], "keyword": [None]}))
    assert ngram_lm.log_densities(small.of_class, tweet, 7, [(2, 0.5)])[0, 0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one_after_any_history(sample: Prepared, order: int) -> None:
    tweets, labels = training_rows(sample.train, held_out=0)
    model = of_texts(tweets["text"].tolist(), labels.tolist(), order, 0.75)
    histories = [(), (START,), (START, NO_KEYWORD), ("in", "the"), ("the",), ("qwerty", "the"), ("the", "qwerty")]
    for history in histories:
        for label in (0, 1):
            p = model.probabilities(label, [*model.vocabulary, UNKNOWN], history)
            assert p.sum() == pytest.approx(1.0)
            assert (p > 0).all()


@pytest.mark.parametrize("history", [(START,), (START, "fire"), ("cake",)])
def test_words_are_told_as_often_as_they_are_probable(small: NgramLm, history: tuple[str, ...]) -> None:
    next_word = ngram_lm.teller(small, 1, np.random.default_rng(0))
    told = Counter(next_word(history) for _ in range(20_000))
    # the share of the unknown word, which has no spelling, goes to all others alike
    found = [told[word] / 20_000 for word in small.vocabulary]
    p = small.probabilities(1, small.vocabulary, history)
    assert found == pytest.approx(p + (1 - p.sum()) / len(p), abs=0.012)


def test_samples_are_new_texts_of_their_class(sample: Prepared, family: NgramLmOnWords) -> None:
    tweets, labels = training_rows(sample.train, held_out=0)
    model = family.fit(tweets, labels)
    samples = {label: family.sample(model, label, 300, seed=1) for label in (0, 1)}
    assert samples[1] == family.sample(model, 1, 300, seed=1)
    assert samples[1] != family.sample(model, 1, 300, seed=2)
    for label, texts in samples.items():
        assert not any("<" in text for text in texts)
        assert len(set(texts)) > 200
        scores = family.predict(model, pd.DataFrame({"text": texts, "keyword": None}))
        assert ((scores > 0.5) == label).mean() > 0.7
    lengths = [np.mean([len(text.split()) for text in texts]) for texts in samples.values()]
    real = [np.mean([len(tweet) - 2 for tweet in ngram_lm.tokens(tweets[labels == label])]) for label in (0, 1)]
    assert lengths == pytest.approx(real, rel=0.4), "smoothing ends a text early: what often ends one can come anywhere"


def test_it_hears_the_order_of_words(family: NgramLmOnWords) -> None:
    """The same words in both classes, in another order: the twins without runs of words could not tell them apart."""
    rng = np.random.default_rng(0)
    names = [f"name{i}" for i in rng.integers(0, 30, 80)]
    texts = [f"{name} on fire today" if i % 2 else f"on fire {name} today" for i, name in enumerate(names)]
    tweets = pd.DataFrame({"text": texts, "keyword": None, "group": np.arange(80)})
    labels = np.arange(80) % 2
    model = family.fit(tweets.iloc[:60], labels[:60])
    assert model.order > 1
    assert ((family.predict(model, tweets.iloc[60:]) > 0.5) == labels[60:]).all()


def test_what_a_word_tells_alone(family: NgramLmOnWords, small: NgramLm) -> None:
    ratios = family.weights(small)
    assert set(ratios.index) == {"word__fire", "word__here", "word__there", "word__cake"}
    found = [small.probabilities(label, ["cake"], ())[0] for label in (0, 1)]
    assert ratios["word__cake"] == pytest.approx(math.log(found[1] / found[0]))
    assert ratios["word__fire"] > 0 > ratios["word__cake"]
    assert END not in "".join(ratios.index)
