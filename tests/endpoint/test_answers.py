"""The answer store: nothing is paid for twice, and it can be measured, shared, pruned and made anew."""

import json
from multiprocessing import get_context
from pathlib import Path

import pytest
from conftest import Command, one_line_error, said

from pipeline.prompting.answers import Answer, AnswerStore, request_key
from pipeline.prompting.params import Prices

ANSWER = Answer(replies=["No"], top_logprobs=[("No", -0.1)], prompt_tokens=50, cached_tokens=20, completion_tokens=1)
REQUEST = {"messages": [{"role": "user", "content": "ä?"}], "temperature": 0.0}


def test_the_first_answer_stands(tmp_path: Path) -> None:
    one, other = AnswerStore(tmp_path / "a.sqlite"), AnswerStore(tmp_path / "a.sqlite")
    key = request_key("model", REQUEST)
    assert other.get(key) is None
    one.put("model", REQUEST, ANSWER)
    other.put("model", REQUEST, ANSWER.model_copy(update={"replies": ["Yes"]}))
    assert other.get(key) == ANSWER


def write_many(path: Path, start: int) -> None:
    store = AnswerStore(path)
    for n in range(start, start + 100):
        store.put("model", REQUEST | {"seed": n}, ANSWER)


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    context = get_context("spawn")
    both = [context.Process(target=write_many, args=(path, start)) for start in (0, 50)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert AnswerStore(path).count() == 150


def test_all_that_determines_an_answer_is_in_its_key() -> None:
    changes = [{}, {"temperature": 1.0}, {"messages": []}, {"seed": 1}, {"top_logprobs": 5}]
    keys = {request_key("model", REQUEST | change) for change in changes} | {request_key("other model", REQUEST)}
    assert len(keys) == 6
    assert request_key("model", dict(reversed(REQUEST.items()))) in keys


def test_money_counts_cached_tokens_and_batches_at_their_own_price() -> None:
    prices = Prices(prompt=2.0, cached=0.5, completion=10.0, batch=0.5)
    assert prices.of(ANSWER) == pytest.approx((30 * 2.0 + 20 * 0.5 + 10.0) / 1e6)
    assert prices.of(ANSWER.model_copy(update={"batch": True})) == pytest.approx(prices.of(ANSWER) / 2)


@pytest.fixture
def filled(tmp_path: Path, here: Command) -> AnswerStore:
    (tmp_path / "store").mkdir()
    store = AnswerStore(tmp_path / "store/answers.sqlite")
    for model in ("http://a/v1 large", "sha256:00 small"):
        for n in range(3):
            store.put(model, REQUEST | {"seed": n}, ANSWER)
    store.put("http://a/v1 large", REQUEST | {"n": 2}, Answer(refused=400))
    return store


def test_size_export_prune_and_rebuild(filled: AnswerStore, here: Command, project: Path) -> None:
    tool = "tools.answers"
    shown = said(here(tool, "size")).splitlines()
    assert [line.split()[-10] for line in shown if "large" in line or "small" in line] == ["4", "3"]
    said(here(tool, "export", "all.jsonl"))
    before = list(filled.all())
    assert "say what to delete" in one_line_error(here(tool, "prune"))
    assert "3 answers deleted" in here(tool, "prune", "--model", "small").stdout
    assert filled.count() == 4
    assert "0 answers deleted" in here(tool, "prune", "--before", "2020-01-01").stdout
    assert "invalid fromisoformat value" in here(tool, "prune", "--before", "31.01.2020").stderr
    assert filled.count() == 4
    assert "4 answers deleted" in here(tool, "prune", "--all").stdout
    assert "7 answers were new" in said(here(tool, "rebuild", "all.jsonl", "all.jsonl"))
    assert list(filled.all()) == before


def test_a_tweet_that_was_refused_is_asked_about_again_after_rebuilding(project: Path, here: Command) -> None:
    asked = [
        {"request": REQUEST | {"seed": n}, "answer": Answer(refused=refused).model_dump()}
        for n, refused in enumerate((400, None))
    ]
    lines = [json.dumps({"id": number, "identity": "m", "asked": asked}) for number in (7, None)]
    (project / "tweet.jsonl").write_text(lines[0])
    (project / "endpoint.jsonl").write_text(lines[1])
    assert "1 answers were new" in here("tools.answers", "rebuild", "tweet.jsonl").stdout
    assert "1 answers were new" in here("tools.answers", "rebuild", "endpoint.jsonl").stdout


def test_rebuilding_from_something_else_says_where_it_is_wrong(
    filled: AnswerStore, here: Command, project: Path
) -> None:
    line = json.dumps({"id": 1, "identity": "m", "asked": [{"request": REQUEST, "answer": ANSWER.model_dump()}]})
    (project / "some.jsonl").write_text(f"{line}\nnot json\n")
    error = one_line_error(here("tools.answers", "rebuild", "some.jsonl"))
    assert "some.jsonl: line 2: not of a transcript" in error
    assert filled.count() == 7, "nothing is taken from a file that is broken"
    assert "nowhere.jsonl: cannot be read" in one_line_error(here("tools.answers", "rebuild", "nowhere.jsonl"))
