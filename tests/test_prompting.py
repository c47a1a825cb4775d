"""Prompt files are strict, scores are never guessed, answers are never paid for twice."""

import math
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from pipeline.contracts import InputError, Prepared
from pipeline.llm.answers import Answer, AnswerStore, request_key
from pipeline.llm.prompt import Prices, all_questions, sample_rows
from pipeline.llm.prompt_file import read_prompt
from pipeline.llm.scoring import label_of, score_logprobs

GOOD = """\
version: 1
system: Say Yes or No.
user: "Tweet ({keyword}): {text}"
label_words: ["No", "Yes"]
examples: {count: 4, seed: 0}
"""


@pytest.fixture
def prompt_path(tmp_path: Path) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_prompts_are_valid(path: Path) -> None:
    read_prompt(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1\n", "", r"version: Field required"),
        ("version: 1", "version: one", r"version: .*integer"),
        ("system:", "sistem:", r"some\.yaml\.(system|sistem)"),
        ("{keyword}", "{keywrd}", r"no variable 'keywrd'; there are keyword, location, text"),
        ("{text}", "the tweet", r"must contain \{text\}"),
        ("{text}", "{text", r"expected '}'"),
        ('"Yes"', '"Nope"', r"neither the beginning of the other"),
        ('"No", "Yes"', '"No"', r"label_words: .*at least 2"),
        ("count: 4", "count: 3", r"examples\.count: .*multiple of 2"),
    ],
)
def test_bad_prompt_files_are_one_clear_line(prompt_path: Path, old: str, new: str, message: str) -> None:
    prompt_path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        read_prompt(prompt_path)
    assert "\n" not in str(error.value)


def test_examples_come_from_other_folds_and_groups(sample: Prepared, prompt_path: Path) -> None:
    prompt = read_prompt(prompt_path)
    asked = all_questions(prompt, sample.train, sample.test, sample)
    tweets = pd.concat([sample.train, sample.test], ignore_index=True)
    by_text = sample.train.groupby("text")
    folds, groups = by_text["fold"].agg(set), by_text["group"].agg(set)
    assert len(asked) == len(tweets)
    for (_, tweet), messages in zip(tweets.iterrows(), asked, strict=True):
        assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 4 + ["user"]
        assert [message["content"] for message in messages[2:-1:2]] == ["No", "Yes"] * 2
        assert messages[-1]["content"].endswith(f"): {tweet['text']}")
        for shown in messages[1:-1:2]:
            text = shown["content"].split("): ", 1)[1]
            assert tweet["group"] not in groups[text]
            assert tweet.get("fold") not in folds[text]


def test_a_tweets_braces_stay_text(sample: Prepared, prompt_path: Path) -> None:
    train = sample.train.copy()
    train.loc[0, "text"] = "{system} {0} {text.__class__}"
    asked = all_questions(read_prompt(prompt_path), train.head(1), sample.test.iloc[:0], sample)
    assert asked[0][-1]["content"].endswith("): {system} {0} {text.__class__}")


@pytest.mark.parametrize(
    ("token", "label"),
    [
        ("Yes", 1),
        (" yes", 1),
        ("YES", 1),
        ("▁Yes", 1),
        ("Ye", 1),
        ("Yes.", 1),
        ("No", 0),
        (" no,", 0),
        ("N", None),
        ("Not", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_label_of(token: str, label: int | None) -> None:
    assert label_of(token, ["No", "Yes"]) == label


@pytest.mark.parametrize(
    ("top", "score"),
    [
        ([("Yes", 0.6), ("No", 0.2), ("The", 0.1)], 0.75),
        ([("Yes", 0.3), (" yes", 0.2), ("YES", 0.1), ("No", 0.2)], 0.75),
        ([("No", 0.8), ("The", 0.1)], 0.1 / 0.9),
        ([("No", 0.8), ("The", 0.15)], 0.05 / 0.85),
        ([("Yes", 0.99)], 0.99),
        ([("I", 0.5), ("The", 0.4)], None),
        ([], None),
    ],
)
def test_score_logprobs(top: list[tuple[str, float]], score: float | None) -> None:
    found = score_logprobs([(token, math.log(p)) for token, p in top], ["No", "Yes"])
    assert found == (None if score is None else pytest.approx(score))


ANSWER = Answer(
    text="No", top_logprobs=[("No", -0.1)], prompt_tokens=50, cached_tokens=20, completion_tokens=1, seconds=0.2
)


def test_the_store_keeps_answers_across_processes(tmp_path: Path) -> None:
    request = {"messages": [{"role": "user", "content": "ä?"}], "temperature": 0.0}
    key = request_key("model", request)
    one, other = AnswerStore(tmp_path / "a.sqlite"), AnswerStore(tmp_path / "a.sqlite")
    assert other.get(key) is None
    one.put(key, "model", request, ANSWER)
    other.put(key, "model", request, ANSWER.model_copy(update={"text": "Yes"}))
    assert other.get(key) == ANSWER, "the first answer stands"


def test_all_that_determines_an_answer_is_in_its_key() -> None:
    request = {"messages": [{"role": "user", "content": "a"}], "temperature": 0.0}
    keys = {
        request_key("model", request),
        request_key("other model", request),
        request_key("model", request | {"temperature": 1.0}),
        request_key("model", request | {"messages": [{"role": "user", "content": "b"}]}),
    }
    assert len(keys) == 4
    assert request_key("model", dict(reversed(request.items()))) in keys


def test_money_counts_cached_tokens_at_their_own_price() -> None:
    prices = Prices(prompt=2.0, cached=0.5, completion=10.0)
    assert prices.of([ANSWER] * 2) == pytest.approx(2 * (30 * 2.0 + 20 * 0.5 + 10.0) / 1e6)


def test_a_sample_of_rows_is_stratified_and_keeps_groups_whole(sample: Prepared) -> None:
    rows = sample_rows(sample.train, 120)
    assert 100 <= len(rows) <= 120
    assert rows["target"].mean() == pytest.approx(sample.train["target"].mean(), abs=0.04)
    assert not set(rows["group"]) & set(sample.train.drop(rows.index)["group"])
    assert rows["id"].tolist() == [i for i in sample.train["id"] if i in set(rows["id"])]
    assert len(sample_rows(sample.train, None)) == len(sample.train)
