"""Words sum to what a classifier said; the model that explains a tweet has not seen it; tweets stay as they were written."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made import on_counts, predicted
from scipy.special import logit

from pipeline.contracts import InputError, Prepared
from pipeline.counts import logistic, naive_bayes, ngram_lm
from pipeline.counts.counts import CountsParams
from pipeline.errors.explanations import count_explainer, explained, load_explainer, reply
from pipeline.errors.telling_tweets import markup, telling_tweets
from pipeline.errors.word_weights import Explained, credited, explain_counts, weights_of_spans
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.model_store import write_description

COUNTS = CountsParams(ngrams=[2], min_count=[1], inner_folds=2)
FAMILIES = {
    **{
        event_model: on_counts(naive_bayes, COUNTS, event_model=[event_model], alpha=[1.0])
        for event_model in ("multinomial", "bernoulli")
    },
    "logistic": on_counts(logistic, COUNTS, C=[1.0]),
}


# --- words on counts --------------------------------------------------------------------------------------------------


def test_pieces_are_credited_to_the_words_they_lie_in() -> None:
    text = "Big #wild-fires!  now"
    spans = [(0, 3), (5, 9), (10, 15), (17, 21)]  # the last as byte-level tokens have it, from the space on
    assert credited(text, spans, [1.0, 2.0, 0.5, 4.0]) == [("Big", 1.0), ("#wild-fires!", 2.5), ("now", 4.0)]


def test_a_run_of_words_is_shared_by_them_and_a_repeated_word_by_its_places() -> None:
    text, spans = "fire fire now", [(0, 4), (5, 9), (10, 13)]
    weights = {"word__fire": 1.0, "word__fire fire": 0.4, "word__fire now": -0.6, "word__now": 2.0, "word__cake": 9.0}
    assert weights_of_spans(text, spans, weights, 2) == pytest.approx([0.5 + 0.2, 0.5 + 0.2 - 0.3, 2.0 - 0.3])
    assert weights_of_spans(text, spans, weights, 1) == pytest.approx([0.5, 0.5, 2.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_words_and_the_base_sum_to_the_log_odds(family: str, sample: Prepared) -> None:
    own, tweets = FAMILIES[family], sample.train.head(200)
    model = own.fit(tweets, tweets["target"].to_numpy())
    asked = sample.train.iloc[200:230]
    asked = pd.concat([asked, asked.head(2).assign(text=["İstanbul fire FIRE, fire! don't", "…"], keyword=None)])
    for row, score in enumerate(own.predict(model, asked)):
        found = explain_counts(model, own.weights(model), asked.iloc[[row]])
        assert found.log_odds == pytest.approx(logit(score), abs=1e-9)
        assert " ".join(word for word, _ in found.words[1:]).lower() == asked["text"].iloc[row].lower()


# --- who explains -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bernoulli", "logistic"])
def test_a_tweet_is_explained_by_the_saved_model_of_its_fold_and_none_is_fitted(
    family: str, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digit for digit as by the model itself, and each is read once."""
    monkeypatch.chdir(tmp_path)
    own: Any = FAMILIES[family]
    models = {fold: own.fit(*training_rows(sample.train, fold)) for fold in (0, 3)}
    for fold, model in models.items():
        own.save(model, Path(f"models/a/fold-{fold}"))
    read: list[str] = []
    load = own.load
    monkeypatch.setattr(own, "fit", None)
    monkeypatch.setattr(own, "load", lambda folder: read.append(folder.name) or load(folder))
    explain = count_explainer("a", own)
    for fold in (0, 3, 0):
        tweet = sample.train[sample.train["fold"] == fold].head(1)
        assert explain(tweet) == explain_counts(models[fold], own.weights(models[fold]), tweet)
    assert read == ["fold-0", "fold-3"]
    with pytest.raises(InputError, match="models/a/fold-1: no such folder; run `dvc repro`"):
        explain(sample.train[sample.train["fold"] == 1].head(1))


def test_a_model_that_says_otherwise_than_the_predictions_is_refused(sample: Prepared) -> None:
    train = sample.train.head(3)
    one, ids = predicted("a", "generative", train, [0.5, 0.9, 0.5]), train["id"].tolist()
    assert set(explained(lambda _: Explained(0.0, []), one, train, ids[::2])) == {*ids[::2]}
    with pytest.raises(InputError, match=f"tweet {ids[1]} has a score of 0.900"):
        explained(lambda _: Explained(0.0, []), one, train, ids)


def test_only_some_classifiers_can_be_explained_by_the_params_of_their_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, own in (
        ("counted", FAMILIES["logistic"]),
        ("model_of_words", ngram_lm.FAMILY(ngram_lm.FAMILY.params_type())),
    ):
        write_description(name, own, "mean log-odds", ["fold-0"], "")
    load_explainer("counted", 8)
    with pytest.raises(InputError, match="model_of_words: only those on counts, and lora_<preset>, can be"):
        load_explainer("model_of_words", 8)
    with pytest.raises(InputError, match=r"models/bert: no such model \(there: counted, model_of_words\)"):
        load_explainer("bert", 8)


def test_a_reply_is_shown_as_it_was_scored() -> None:
    answers: list[dict[str, object]] = [
        {"replies": ["Yes", "No", "Yes"]},
        {"replies": ["No"], "top_logprobs": [["No", -0.5], ["Yes", -1.0], ["Y", -5.0], ["A", -9.0]]},
        {"text_logprob": -41.27},
        {},
    ]
    shown = ["Yes | No | Yes", "No (first token: 'No' 61%, 'Yes' 37%, 'Y' 1%)", "log-probability of the text -41.3", ""]
    assert reply([{"request": {}, "answer": answer} for answer in answers]).split("\n") == shown


# --- which tweets -----------------------------------------------------------------------------------------------------


def test_the_worst_markup_is_recognised() -> None:
    texts = {"<b>x": 0, "a </p>": 0, "&lt;b": 1, "a &amp; b": 2, "1 < 2": 2, "me & you": 3, "plain": 3}
    assert {text: markup(text) for text in texts} == texts


def telling(raw_text: list[str], number: int, pool: list[int] | None = None) -> list[int]:
    """Of nine tweets: 0-2 the twins disagree on, 3-5 both get wrong, 6-8 both get right; 8 is a near-duplicate of 6."""
    train = pd.DataFrame({"id": range(9), "target": [1, 0, 1, 1, 0, 1, 1, 0, 1], "raw_text": raw_text})
    train = train.assign(group=[0, 1, 2, 3, 4, 5, 6, 7, 6], fold=0, keyword=None)
    made = [
        predicted("a", "generative", train, [0.9, 0.8, 0.7, 0.1, 0.8, 0.3, 0.8, 0.1, 0.9]),
        predicted("b", "discriminative", train, [0.1, 0.1, 0.1, 0.1, 0.7, 0.4, 0.9, 0.2, 0.9]),
    ]
    return telling_tweets(train, made, [("a", "b"), ("a", "not there")], pd.Index(pool or train["id"]), number)


def test_tweets_are_chosen_of_each_kind_the_most_telling_first() -> None:
    plain = ["plain"] * 9
    assert telling(plain, 3) == [0, 3, 8]
    assert telling(plain, 6) == [0, 1, 3, 4, 8, 7]
    assert telling(plain, 8) == [0, 1, 3, 4, 8, 7, 2, 5], "others make up for what a kind lacks; 6 is as good as 8"
    assert telling(plain, 3, pool=[2, 5, 7]) == [2, 5, 7]


def test_one_tweet_with_markup_is_always_among_them() -> None:
    texts = ["plain", "&amp;", "plain", "plain", "plain", "<script>", "plain", "plain", "plain"]
    assert telling(texts, 3) == [0, 3, 5]
    assert telling(texts, 3, pool=[0, 1, 3, 8]) == [0, 3, 5], "if need be, from outside the pool"
    assert telling(["<i>", *["<b>"] * 8], 3) == [0, 3, 8], "there is one already"
