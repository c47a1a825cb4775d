"""Other texts than tweets, by params alone: the shipped messages, prompts for any labels, and nothing said about keywords."""

import itertools
import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, QUICK, ROOT, Command, in_order, run_stages, said, set_param
from fake_endpoint import KEY, completion, serving
from made import on_counts

from pipeline.compare.submission import written
from pipeline.contracts import InputError, Prepared, read_params, read_yaml
from pipeline.counts import naive_bayes
from pipeline.counts.counts import CountsParams
from pipeline.counts.ngram_lm import NgramLmOnWords, NgramLmParams
from pipeline.curves import robustness
from pipeline.data.prepare import PrepareParams, prepare
from pipeline.data.source import DataParams, read_source
from pipeline.errors.word_weights import explain_counts
from pipeline.fit.cross_fit import inner_splits
from pipeline.fit.subsets import nested_order, split_by_group
from pipeline.prompting.classify import contexts, rows_to_ask, sample_rows
from pipeline.prompting.prompt_file import read_prompt, render
from pipeline.prompting.sanitize import sanitized

SPAM = ROOT / "data/spam"
EXAMPLE: Any = read_yaml(ROOT / "examples/spam.yaml")
PROMPTS = [*EXAMPLE["classifiers"]["prompts"], *EXAMPLE["study"]["classifiers"]["prompts"]]
COUNTS = CountsParams(ngrams=[1], min_count=[1], inner_folds=2)


def multinomial(counts: CountsParams) -> naive_bayes.NaiveBayesOnCounts:
    return on_counts(naive_bayes, counts, event_model=["multinomial"], alpha=[1.0])


@pytest.fixture(scope="module")
def spam_params() -> DataParams:
    return DataParams.model_validate(EXAMPLE["data"] | {"source": str(SPAM)})


@pytest.fixture(scope="module")
def spam(spam_params: DataParams) -> Prepared:
    prepared = prepare(*read_source(spam_params), read_params("prepare", PrepareParams, ROOT / "params.yaml"))
    return Prepared(*prepared, "digest of the messages")


def test_the_messages_are_as_their_readme_says() -> None:
    readme = " ".join((SPAM / "README.md").read_text(encoding="utf-8").split())
    train, test = (pd.read_csv(SPAM / f"{name}.csv") for name in ("train", "test"))
    assert f"{len(train) + len(test)} short messages" in readme
    assert f"{len(train)} in `train.csv`, {len(test)} in `test.csv`" in readme
    assert set(train["kind"]) == {"ham", "spam"}
    assert "kind" not in test
    assert pd.concat([train, test])["message_id"].is_unique
    assert 0.1 < test["sender"].isin(train["sender"].dropna()).mean() < 0.5, "most test messages are of new senders"
    hosts = pd.concat([train, test])["body"].str.extractall(r"https?://([^/\s]+)")[0].str.rstrip(".:")
    assert hosts.str.endswith(".example").all(), "no link leads anywhere"
    assert train.groupby("sender")["kind"].nunique().max() == 1


def test_no_sender_is_split(spam: Prepared, spam_params: DataParams) -> None:
    senders = read_source(spam_params)[0]["group"]
    assert senders.isna().any()
    assert (spam.train.groupby(senders.to_numpy())["fold"].nunique() == 1).all()
    assert spam.train.groupby("fold")["target"].mean().between(0.35, 0.55).all()


def test_few_labels_are_of_many_senders_and_can_be_split(spam: Prepared) -> None:
    """Sender by sender, 32 messages would be of a handful of senders, and validation would often be of one label."""
    labels = spam.train["target"].to_numpy()
    for seed, size in itertools.product(range(20), (32, 64)):
        known = nested_order(spam.train, labels, seed)[:size]
        few, of_few = spam.train.iloc[known], labels[known]
        assert few["group"].nunique() > 0.6 * size
        learnt, held_out = split_by_group(few, of_few, 0.1, seed)
        assert set(of_few[learnt]) == set(of_few[held_out]) == {0, 1}
        assert not set(few["group"].iloc[learnt]) & set(few["group"].iloc[held_out])
    with pytest.raises(InputError, match="10 training rows cannot be split"):
        split_by_group(spam.train.head(10), np.ones(10, dtype=int), 0.4, 0)


def test_texts_in_which_no_word_occurs_twice_are_scored_as_nothing_is_known(spam: Prepared) -> None:
    """A text without spaces is one word to the counts: Chinese, Japanese and Thai are written so."""
    texts = spam.train.assign(text=[f"字{row}" for row in range(len(spam.train))], keyword=None)
    labels = texts["target"].to_numpy()
    family = multinomial(COUNTS.model_copy(update={"min_count": [2, 1]}))
    model = family.fit(texts, labels)
    assert np.ptp(family.predict(model, texts.assign(text="字"))) < 1e-9
    with pytest.raises(InputError, match=r"counts\.min_count: no word is in so many"):
        multinomial(COUNTS.model_copy(update={"min_count": [2]})).fit(texts, labels)


def test_groups_that_are_large_do_not_empty_what_is_asked_or_shown(spam: Prepared) -> None:
    """Six topics that train and test share: only near-duplicates are kept apart, or nothing could be asked."""
    topics = {
        name: frame.assign(group=np.arange(len(frame)) % 6, duplicate=frame["duplicate"])
        for name, frame in (("train", spam.train), ("test", spam.test))
    }
    shared = Prepared(**topics, digest="of topics")
    assert len(sample_rows(shared.train, 60)) > 50
    prompt = read_prompt(ROOT / "prompts/any_few_shot.yaml", ["ham", "spam"])
    examples, _, _ = contexts(prompt, rows_to_ask(shared, 8, test=True), shared, None)
    assert all(len(each) == 8 for each in examples)
    with pytest.raises(InputError, match="less than the smallest group of near-duplicates has"):
        sample_rows(shared.train.assign(duplicate=1), 60)


def test_too_few_groups_for_inner_folds_are_one_line() -> None:
    with pytest.raises(InputError, match=r"inner_folds: 3 is too many; groups of tweets to learn from: 2"):
        inner_splits(np.tile([0, 1], 10), np.repeat([0, 1], 10), 3)


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_for_any_labels_asks_for_their_names(name: str) -> None:
    prompt = read_prompt(ROOT / f"prompts/{name}.yaml", ["not {urgent}", "urgent"])
    tweet = {"text": "now!", "keyword": None, "location": None}
    examples = [tweet | {"label": 1}] if prompt.examples else []
    messages = render(prompt, examples, tweet, partial(sanitized, longest=50))
    assert "either not {urgent} or urgent. Is this one urgent?" in messages[0]["content"]
    assert not re.search(r"\{(labels|positive)", json.dumps(messages))
    assert [message["content"] for message in messages if message["role"] == "assistant"] == ["Yes"] * len(examples)


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_question_about_disasters_is_not_asked_about_spam(path: Path) -> None:
    """Its answers would be read as ham and spam, and nobody would know."""
    assert read_prompt(path, LABELS)
    if path.stem in PROMPTS:
        assert read_prompt(path, ["ham", "spam"])
        return
    with pytest.raises(
        InputError, match=r"asks about not disaster / disaster, and data\.labels .* are ham / spam; name"
    ):
        read_prompt(path, ["ham", "spam"])
    with pytest.raises(InputError, match="asks about"):
        read_prompt(path, LABELS[::-1])


def test_what_no_text_has_is_no_feature(spam: Prepared, sample: Prepared) -> None:
    family = multinomial(COUNTS)
    model = family.fit(spam.train, spam.train["target"].to_numpy())
    ratios = family.weights(model)
    assert ratios.index.str.startswith("word__").all()
    shown = explain_counts(model, ratios, spam.train.head(1))
    assert [word for word, _ in shown.words] == spam.train["text"].iloc[0].split()
    score = model.predict(spam.train.head(1)[["text", "keyword"]].fillna({"keyword": ""}))[0]
    assert shown.log_odds == pytest.approx(np.log(score / (1 - score)))
    ngrams = NgramLmOnWords(NgramLmParams(order=[1], discount=[0.5], inner_folds=2))
    for prepared, has in ((spam, False), (sample, True)):
        found = ngrams.weights(ngrams.fit(prepared.train, prepared.train["target"].to_numpy()))
        assert ("keyword__(none)" in found.index) is has


def test_shift_is_measured_where_keywords_can_be_left_out(spam: Prepared, sample: Prepared) -> None:
    assert robustness.can_be_dealt(sample.train, 0)
    assert not robustness.can_be_dealt(spam.train, 0)
    one_says_all = sample.train.assign(keyword=sample.train["target"].map({0: None, 1: "fire"}))
    assert not robustness.can_be_dealt(one_says_all, 0), "the rest would be of one label"


def test_decisions_are_written_as_the_source_writes_them(spam_params: DataParams, data_params: DataParams) -> None:
    ids, targets = pd.Series([7, 9]), pd.Series([1, 0])
    assert written(ids, targets, data_params, "numbers") == "id,target\n7,1\n9,0\n"
    assert written(ids, targets, spam_params, "names") == "message_id,kind\n7,spam\n9,ham\n"
    assert written(ids, targets, spam_params, "numbers") == "message_id,kind\n7,1\n9,0\n"
    odd = spam_params.model_copy(update={"labels": ["ham", 'spam, "sort of"']})
    assert written(ids, targets, odd, "names") == 'message_id,kind\n7,"spam, ""sort of"""\n9,ham\n'


OWN: dict[str, Any] = {
    "classifiers.vectors": ["gaussian"],
    "classifiers.lora": [],
    "classifiers.prompts": ["any_zero_shot"],
    "prompt.submit": ["any_zero_shot"],
    "prompt.train_rows": 40,
    "study/classifiers.vectors": [],
    "generation.families": ["counts.naive_bayes", "vectors.gaussian"],
}


def knows_links(body: dict[str, Any], _: int) -> tuple[int, Any]:
    """An LLM to which a message with a link is spam."""
    asked = body["messages"][-1]["content"]
    return 200, completion("Yes" if "http" in asked else "No", -0.1 - len(asked) % 7 / 10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_messages_to_a_submission(project: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages on the shipped messages, changed by params alone; in one process, so that libraries are loaded once."""
    shutil.copytree(SPAM, project / "data/spam")
    changed = said(command("pipeline.apply", "examples/spam.yaml"))
    assert 'data.labels: ["not disaster", "disaster"] → ["ham", "spam"]' in changed
    monkeypatch.chdir(project)
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(project / "store"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(knows_links) as server:
        for name, value in (QUICK | OWN | {"prompt.base_url": server.url}).items():
            set_param(project, name, value)
        command("dvc", "init", "--no-scm", "--quiet", "--force")
        run_stages(in_order(project))

    header, *lines = (project / "submission/submission.csv").read_text().splitlines()
    assert header == "message_id,kind"
    assert [int(line.split(",")[0]) for line in lines] == pd.read_csv(SPAM / "test.csv")["message_id"].tolist()
    assert {line.split(",")[1] for line in lines} == {"ham", "spam"}
    scores = pd.read_csv(project / "evaluate/scores.csv", index_col="classifier")
    assert {"naive_bayes", "logistic", "gaussian_minilm", "prompt_any_zero_shot"} <= set(scores.index)
    learnt = ["naive_bayes", "logistic", "gaussian_minilm"]
    assert scores.loc[learnt, "accuracy"].between(0.65, 0.95).all(), (
        "better than always ham, and not as if a word settled it"
    )
    assert "by near-duplicate group and sender" in (project / "evaluate/table.md").read_text()
    assert robustness.NO_SHIFT in (project / "study/robustness/table.md").read_text()
    assert "of them spam by their label" in (project / "errors/table.md").read_text()
    explained = [json.loads(line) for line in (project / "explanations/explanations.jsonl").read_text().splitlines()]
    assert not [
        word for line in explained for seen in line["seen"] for word, _ in seen.get("words", []) if "[keyword]" in word
    ]
    page = (project / "report/index.html").read_text(encoding="utf-8")
    shown = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    assert "Spam or ham, generative against discriminative" in shown
    assert "P(spam)" in shown
    assert not re.search("disaster", shown, re.IGNORECASE)
    assert not re.search(r"\btweets?\b", re.sub(r"<[^>]*>", " ", shown), re.IGNORECASE)
