"""Words sum to what a classifier said; the model that explains a tweet has not seen it; tweets stay as they were written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import prepared_folder
from made import on_counts
from scipy.special import expit, logit

from pipeline.contracts import InputError, Predictions, Prepared, predictions_frame, read_prepared, write_predictions
from pipeline.counts import counts, logistic, naive_bayes
from pipeline.counts.counts import CountsParams, predict
from pipeline.errors import explanations
from pipeline.errors.explanations import count_explainer, explained, load_explainer, reply
from pipeline.errors.telling import markup, telling_tweets
from pipeline.errors.words import Explained, credited, explain_counts, weights_of_spans
from pipeline.fit.cross_fit import CrossFit, cross_fit, training_rows
from pipeline.fit.tuning import Tuned

COUNTS = CountsParams(ngrams=[2], min_count=[1], inner_folds=2)


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


@pytest.mark.parametrize("family", ["multinomial", "bernoulli", "complement", "logistic"])
def test_words_and_the_base_sum_to_the_log_odds(family: str, sample: Prepared) -> None:
    tweets, labels = sample.train.head(200), sample.train["target"].head(200).to_numpy()
    if family == "logistic":
        own = on_counts(logistic, COUNTS, C=[1.0])
    else:
        own = on_counts(naive_bayes, COUNTS, event_model=[family], alpha=[1.0])
    model = own.fit(tweets, labels)
    weights = own.weights(model)
    asked = sample.train.iloc[200:230]
    asked = pd.concat([asked, asked.head(2).assign(text=["İstanbul fire FIRE, fire! don't", "…"], keyword=None)])
    for row, score in enumerate(predict(model, asked)):
        found = explain_counts(model, weights, asked.iloc[[row]])
        assert found.log_odds == pytest.approx(logit(score), abs=1e-9)
        shown = " ".join(word for word, _ in found.words[1:])
        assert shown.lower() == asked["text"].iloc[row].lower()


def test_a_word_of_disasters_speaks_for_one() -> None:
    texts = ["fire burns hills", "fire near town", "cake tastes good", "cake for lunch"] * 5
    tweets = pd.DataFrame({"text": texts, "keyword": None, "group": range(20)})
    labels = np.array([1, 1, 0, 0] * 5)
    own = on_counts(naive_bayes, COUNTS, event_model=["multinomial"], alpha=[1.0])
    model = own.fit(tweets, labels)
    asked = tweets.head(1).assign(text="Fire and cake, unheard")
    found = dict(explain_counts(model, own.weights(model), asked).words)
    assert found["Fire"] > 0 > found["cake,"]
    assert found["unheard"] == found["and"] == 0


# --- who explains -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("naive_bayes", on_counts(naive_bayes, COUNTS, event_model=["bernoulli"], alpha=[1.0])),
        ("logistic", on_counts(logistic, COUNTS, C=[1.0])),
    ],
)
def test_a_tweet_is_explained_by_the_saved_model_of_its_fold_and_none_is_fitted(
    name: str, own: Any, sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digit for digit as by the model itself, and each is read once."""
    monkeypatch.chdir(tmp_path)
    models = {fold: own.fit(*training_rows(sample.train, fold)) for fold in (0, 3)}
    for fold, model in models.items():
        own.save(model, Path(f"models/{name}/fold-{fold}"))
    read: list[Path] = []

    def load(folder: Path) -> Tuned:
        read.append(folder)
        return counts.load(folder)

    def nothing_to_fit(*_: object) -> Tuned:
        raise AssertionError

    monkeypatch.setattr(own, "fit", nothing_to_fit)
    monkeypatch.setattr(own, "load", load)
    explain = count_explainer(name, own)
    for fold in (0, 3, 0):
        tweet = sample.train[sample.train["fold"] == fold].head(1)
        assert explain(tweet) == explain_counts(models[fold], own.weights(models[fold]), tweet)
    assert [folder.name for folder in read] == ["fold-0", "fold-3"]
    with pytest.raises(InputError, match=f"models/{name}/fold-1: no such folder; run `dvc repro`"):
        explain(sample.train[sample.train["fold"] == 1].head(1))


def test_a_model_that_says_otherwise_than_the_predictions_is_refused(sample: Prepared) -> None:
    train = sample.train.head(3)
    one = Predictions(
        "a", "generative", "none", predictions_frame(train, "train", np.array([0.5, 0.9, 0.5])), train.iloc[:0]
    )
    ids = train["id"].tolist()
    assert len(explained(lambda _: Explained(0.0, []), one, train, [ids[0], ids[2]])) == 2
    with pytest.raises(InputError, match=f"tweet {ids[1]} has a score of 0.900"):
        explained(lambda _: Explained(0.0, []), one, train, ids)


def test_only_some_classifiers_can_be_explained() -> None:
    with pytest.raises(
        InputError, match="gaussian_minilm: only classifiers on counts, and lora_<preset>, can be explained"
    ):
        load_explainer("gaussian_minilm", 8)


# --- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"replies": ["Yes, it is."]}], "Yes, it is."),
        ([{"replies": ["Yes", "No", "Yes"]}], "Yes | No | Yes"),
        (
            [{"replies": ["No"], "top_logprobs": [["No", -0.5], ["Yes", -1.0], ["Y", -5.0], ["A", -9.0]]}],
            "No (first token: 'No' 61%, 'Yes' 37%, 'Y' 1%)",
        ),
        (
            [{"text_logprob": -41.27}, {"text_logprob": -39.0}],
            "log-probability of the text -41.3\nlog-probability of the text -39.0",
        ),
        ([{}], ""),
    ],
)
def test_a_reply_is_shown_as_it_was_scored(answers: list[dict[str, object]], expected: str) -> None:
    assert reply([{"request": {}, "answer": answer} for answer in answers]) == expected


# --- which tweets -----------------------------------------------------------------------------------------------------


def test_the_worst_markup_is_recognised() -> None:
    assert [markup(text) for text in ("<b>x", "a </p>", "&lt;b", "a &amp; b", "1 < 2", "me & you", "plain")] == [
        0,
        0,
        1,
        2,
        2,
        3,
        3,
    ]


def telling(raw_text: list[str], number: int, pool: list[int] | None = None) -> list[int]:
    """Of nine tweets: 0-2 the twins disagree on, 3-5 both get wrong, 6-8 both get right; 8 is a near-duplicate of 6."""
    train = pd.DataFrame({"id": range(9), "target": [1, 0, 1, 1, 0, 1, 1, 0, 1], "raw_text": raw_text})
    train = train.assign(group=[0, 1, 2, 3, 4, 5, 6, 7, 6], fold=0, keyword=None)
    generative = [0.9, 0.8, 0.7, 0.1, 0.8, 0.3, 0.8, 0.1, 0.9]
    discriminative = [0.1, 0.1, 0.1, 0.1, 0.7, 0.4, 0.9, 0.2, 0.9]
    made = [
        Predictions(name, school, "none", predictions_frame(train, "train", np.array(scores)), train.iloc[:0])
        for name, school, scores in (("a", "generative", generative), ("b", "discriminative", discriminative))
    ]
    return telling_tweets(train, made, [("a", "b"), ("a", "not there")], pd.Index(pool or train["id"]), number)


def test_tweets_are_chosen_of_each_kind_the_most_telling_first() -> None:
    plain = ["plain"] * 9
    assert telling(plain, 3) == [0, 3, 8]
    assert telling(plain, 6) == [0, 1, 3, 4, 8, 7]
    assert telling(plain, 8) == [0, 1, 3, 4, 8, 7, 2, 5], (
        "what a kind lacks, others make up for; 6 is a near-duplicate of 8"
    )
    assert telling(plain, 3, pool=[2, 5, 7]) == [2, 5, 7]


def test_one_tweet_with_markup_is_always_among_them() -> None:
    texts = ["plain", "&amp;", "plain", "plain", "plain", "<script>", "plain", "plain", "plain"]
    assert telling(texts, 3) == [0, 3, 5]
    assert telling(texts, 3, pool=[0, 1, 3, 8]) == [0, 3, 5], "if need be, from outside the pool"
    assert telling(["<i>", *["<b>"] * 8], 3) == [0, 3, 8], "there is one already"


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, sample: Prepared, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the prepared sample, one tweet of which has markup, naive Bayes' predictions, and a prompt's replies."""
    raw = sample.train["raw_text"].mask(
        sample.train["id"] == sample.train["id"].iloc[5], "<img src=x onerror=alert(1)> \n|"
    )
    train = sample.train.assign(raw_text=raw)
    takes_part: dict[str, object] = {"counts": ["naive_bayes", "other"], "prompts": ["x"]}
    prepared = prepared_folder(
        tmp_path, monkeypatch, train, sample.test, explanations={"tweets": 6}, classifiers=takes_part
    )
    own = naive_bayes.FAMILY.read()
    fitted: CrossFit[None] = cross_fit(
        "naive_bayes", prepared, own.fit_fold, own.predict, lambda _: None, save=own.save
    )
    for name, school, scores in (
        ("naive_bayes", "generative", fitted.train),
        ("other", "discriminative", 1 - fitted.train),
    ):
        frames = [
            predictions_frame(prepared.train, "train", scores),
            predictions_frame(prepared.test, "test", fitted.test),
        ]
        write_predictions(name, frames, prepared, school, "mean log-odds")
    asked = prepared.train.head(8)
    write_predictions("prompt_x", [predictions_frame(asked, "train", np.full(8, 0.7))], prepared, "prompted", "none")
    lines = [
        {"id": None, "asked": []},
        *({"id": number, "asked": [{"answer": {"replies": ["Yes"]}}]} for number in asked["id"].tolist()),
    ]
    Path("transcripts").mkdir()
    Path("transcripts/prompt_x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_the_stage_tells_what_each_classifier_saw(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explanations.main()
    lines = [json.loads(line) for line in (folder / "explanations/explanations.jsonl").read_text().splitlines()]
    prepared = read_prepared()
    train, scores = (
        prepared.train.set_index("id"),
        pd.read_parquet("predictions/naive_bayes.parquet").set_index("id")["score"],
    )
    assert len({line["id"] for line in lines}) == len(lines) == 6
    assert {line["id"] for line in lines} <= set(train.index[:8]), "among those that the LLM was asked about"
    for line in lines:
        assert line["raw_text"] == train.loc[line["id"], "raw_text"]
        assert line["target"] == train.loc[line["id"], "target"]
        words, said = line["seen"]
        assert (words["classifier"], words["kind"], words["score"]) == ("naive_bayes", "words", scores[line["id"]])
        total = words["base"] + sum(weight for _, weight in words["words"])
        assert expit(total) == pytest.approx(words["score"], abs=1e-3)
        assert said == {"classifier": "prompt_x", "score": 0.7, "kind": "reply", "reply": "Yes"}
    assert any("<img" in line["raw_text"] for line in lines)
    assert "passed over lora_minilm" in capsys.readouterr().out
