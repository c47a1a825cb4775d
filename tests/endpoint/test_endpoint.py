"""Asking: each question once, within limits, through whatever an endpoint does wrong, without showing the key."""

import asyncio
import re
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from fake_endpoint import KEY, Fake, completion, serving
from openai.types import Completion

from pipeline.contracts import InputError, read_params
from pipeline.prompting.answers import AnswerStore, request_key
from pipeline.prompting.ask import Asker
from pipeline.prompting.batch import jobs
from pipeline.prompting.params import PromptParams
from pipeline.prompting.replies import read_scored
from pipeline.prompting.send import Primer
from pipeline.prompting.server import Address, Endpoint

PARAMS = read_params("prompt", PromptParams, ROOT / "params.yaml")


def endpoint_at(url: str, concurrency: int = 4) -> Endpoint:
    @contextmanager
    def connect():
        yield Address(url, KEY)

    return Endpoint("remote", "fake", f"{url} fake", concurrency, connect)


def params_with(**changes: Any) -> PromptParams:
    """The project's params with changes; sections by a dict of what changes in them."""
    values = PARAMS.model_dump() | {"timeout": 10.0, "retries": 2, "base_url": "http://x"}
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    return PromptParams.model_validate(values)


def question(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0.0}


def ask(url: str, folder: Path, texts: Iterable[str], **changes: Any) -> tuple[list[str], int]:
    """The replies to questions, "" for none, and how many requests were sent for them."""

    async def run() -> tuple[list[str], int]:
        store, at = AnswerStore(folder / "answers.sqlite"), endpoint_at(url, changes.pop("concurrency", 4))
        async with Asker(at, store, params_with(**changes), "test") as asker:
            answers = await asker.ask([question(text) for text in texts])
            return ["".join(answer.replies) for answer in answers], asker.sent

    return asyncio.run(run())


def loud(body: dict[str, Any], _: int) -> tuple[int, Any]:
    return 200, completion(body["messages"][-1]["content"].upper())


def test_answers_come_back_in_order_and_only_once(tmp_path: Path) -> None:
    with serving(loud) as server:
        texts = ["d", "b", "a", "b", "c"]
        assert ask(server.url, tmp_path, texts) == (["D", "B", "A", "B", "C"], 4)
        assert ask(server.url, tmp_path, texts) == (["D", "B", "A", "B", "C"], 0)
        assert ask(server.url, tmp_path, ["a", "e"]) == (["A", "E"], 1)
        assert len(server.bodies) == 5
    assert ask(server.url, tmp_path, texts)[1] == 0, "an endpoint that need not be asked is not opened"


def test_no_more_requests_at_once_than_allowed(tmp_path: Path) -> None:
    with serving(loud, seconds=0.02) as server:
        ask(server.url, tmp_path, [str(n) for n in range(30)], concurrency=3)
        assert server.most_running == 3


# --- faults -----------------------------------------------------------------------------------------------------------

Faults = {
    "429": (429, {"error": {"message": "slow down"}}),
    "500": (500, {"error": {"message": "oops"}}),
    "503": (503, {"error": {"message": "down"}}),
    "reset connection": (0, None),
}


@pytest.mark.parametrize("fault", Faults)
def test_a_passing_fault_is_asked_again(tmp_path: Path, fault: str) -> None:
    with serving(lambda body, n: Faults[fault] if n % 3 == 1 else loud(body, n)) as server:
        texts = [f"t{n}" for n in range(8)]
        assert ask(server.url, tmp_path, texts, retries=4)[0] == [text.upper() for text in texts]


def wrong_model(body: dict[str, Any], _: int) -> tuple[int, Any]:
    return 404, {"error": {"message": f"the model {body['model']} does not exist", "code": "model_not_found"}}


@pytest.mark.parametrize(
    ("respond", "message"),
    [
        (lambda body, n: (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "the key was refused"),
        (lambda body, n: (403, {"error": {"message": KEY}}), "the key was refused"),
        (wrong_model, r"not found \(404\).*prompt.model"),
        (lambda body, n: Faults["429"], "too many requests"),
        (lambda body, n: (400, {"error": {"message": "context"}}), r"refused the request \(400\)"),
        (lambda body, n: Faults["503"], r"refused the request \(503\)"),
        (lambda body, n: Faults["reset connection"], "cannot be reached"),
        *((lambda body, n, bad=bad: (200, {"choices": bad}), "no completion") for bad in ([], [{}], [None], "x")),
        *(
            (lambda body, n, bad=bad: (200, bad), "no completion")
            for bad in (b'{"choices": [', b"<html>Welcome</html>")
        ),
    ],
)
def test_a_lasting_fault_ends_with_one_clear_line(tmp_path: Path, respond: Any, message: str) -> None:
    with serving(respond) as server:
        with pytest.raises(InputError, match=message) as error:
            ask(server.url, tmp_path, ["a", "b"], retries=1)
        assert KEY not in str(error.value)
        assert "\n" not in str(error.value)
        assert len(server.bodies) <= 2, "the first request goes alone, and is repeated as often as allowed"


@pytest.mark.parametrize("fault", ["401", *Faults])
def test_answers_before_a_failure_are_kept(tmp_path: Path, fault: str) -> None:
    """Those that were under way when it came as well, and no question is sent after it."""
    broken, failed = Faults.get(fault, (401, {"error": {"message": "no"}})), threading.Event()

    def respond(body: dict[str, Any], n: int) -> tuple[int, Any]:
        if n == 4:
            failed.set()
            return broken
        assert n < 4 or failed.wait(10)
        return loud(body, n)

    texts = [f"tweet {n}" for n in range(30)]
    with serving(respond) as server:
        with pytest.raises(InputError):
            ask(server.url, tmp_path, texts, retries=0)
        kept = AnswerStore(tmp_path / "answers.sqlite").count()
        assert kept == len(server.bodies) - 1 < 12
        server.respond = loud
        answers, _ = ask(server.url, tmp_path, texts)
        assert answers == [text.upper() for text in texts]
        assert AnswerStore(tmp_path / "answers.sqlite").count() == 30


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(Address("http://x/v1", KEY)) + repr(endpoint_at("http://x/v1"))


# --- limits -----------------------------------------------------------------------------------------------------------

PRICES = {"prompt": 100.0, "cached": 10.0, "completion": 1000.0, "batch": 0.5}
ONE = (20 * 100 + 10 * 10 + 1 * 1000) / 1e6  # what the fake's answer costs at these prices


@pytest.mark.parametrize(
    ("limits", "price", "most"),
    [({"requests": 7}, {}, 7), ({"tokens": 8 * 31}, {}, 8), ({"money": 9 * ONE}, PRICES, 9), ({"requests": 0}, {}, 0)],
)
def test_a_cap_stops_the_run_and_keeps_the_answers(
    tmp_path: Path, limits: dict[str, Any], price: dict[str, float], most: int
) -> None:
    texts = [f"tweet {n}" for n in range(40)]
    changes = {"limits": limits, "price_per_million_tokens": price}
    with serving(loud) as server:
        with pytest.raises(InputError, match=rf"prompt\.limits\.{next(iter(limits))}: the cap of .* is reached"):
            ask(server.url, tmp_path, texts, **changes)
        assert most - 4 <= len(server.bodies) <= most, "what is under way counts by its estimate"
        sent = len(server.bodies)
        assert ask(server.url, tmp_path, texts) == ([text.upper() for text in texts], 40 - sent)


def test_a_cap_on_requests_counts_those_that_are_repeated(tmp_path: Path) -> None:
    with serving(lambda body, n: Faults["500"]) as server:
        with pytest.raises(InputError, match=r"prompt\.limits\.requests: the cap of 3 is reached after 3 requests"):
            ask(server.url, tmp_path, ["a", "b"], limits={"requests": 3}, retries=5)
        assert len(server.bodies) == 3


def test_requests_per_minute(tmp_path: Path) -> None:
    with serving(loud) as server:
        ask(server.url, tmp_path, "abc", limits={"requests_per_minute": 120})
        assert np.diff(server.times).min() > 0.4, "evenly, two a second"
    stored = AnswerStore(tmp_path / "answers.sqlite").all()
    assert max(one.asked[0].answer.seconds for one in stored) < 0.4, "waiting is not counted as the model's time"


def test_the_run_says_beforehand_what_it_will_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(loud) as server:
        ask(server.url, tmp_path, ["a"])
        ask(server.url, tmp_path, ["a", "b", "c"], price_per_million_tokens=PRICES, limits={"requests": 2})
    said = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(r"test: 2 requests, about (\d+) tokens, money (0\.\d+) at most; 1 answers are stored", said)
    assert found, said
    assert 50 <= int(found[1]) <= 100, "two answers of 31 tokens, and a margin"


# --- batches ----------------------------------------------------------------------------------------------------------

BATCH = {"batch": {"use": True, "poll_seconds": 0.01}}


def test_a_batch_gives_the_same_answers_at_its_own_price(tmp_path: Path) -> None:
    texts = [f"tweet {n}" for n in range(20)]
    with serving(loud) as server:
        assert ask(server.url, tmp_path, texts, **BATCH) == ([text.upper() for text in texts], 20)
        assert not server.bodies
        assert len(server.batches) == 1
        assert ask(server.url, tmp_path, texts) == ([text.upper() for text in texts], 0)
    stored = list(AnswerStore(tmp_path / "answers.sqlite").all())
    assert all(one.asked[0].answer.batch for one in stored)
    prices = params_with(price_per_million_tokens=PRICES).price_per_million_tokens
    assert prices.of(stored[0].asked[0].answer) == pytest.approx(ONE / 2)


def test_what_failed_in_a_batch_is_asked_again(tmp_path: Path) -> None:
    texts = [f"tweet {n}" for n in range(10)]
    with serving(loud) as server:
        server.failing = {"tweet 3": 500, "tweet 7": 429}
        assert ask(server.url, tmp_path, texts, **BATCH)[0] == [text.upper() for text in texts]
        assert [batch["done"] for batch in server.batches.values()] == [8, 2]


def test_one_reply_of_a_batch_that_cannot_be_read_does_not_end_the_run_and_is_not_bought_again(tmp_path: Path) -> None:
    """Of single requests: test_transport."""
    with serving(lambda body, n: (200, {"choices": []}) if "b" in str(body["messages"]) else loud(body, n)) as server:
        for _ in range(2):
            assert ask(server.url, tmp_path, "abd", **BATCH)[0] == ["A", "", "D"]
        assert len(server.batches) == 1


def test_what_the_types_of_the_sdk_do_not_know_is_no_reason_to_lose_an_answer(tmp_path: Path) -> None:
    with serving(lambda body, n: (200, loud(body, n)[1] | {"service_tier": "on_demand", "x": "a\u2028b"})) as server:
        assert ask(server.url, tmp_path, ["a"], **BATCH) == (["A"], 1)


def test_a_batch_of_another_prompt_is_left_to_it(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    with serving(loud) as server:
        other = question("another prompt's")
        store.begin_batch("a job", endpoint_at(server.url).identity, {"a key": other})
        assert ask(server.url, tmp_path, ["a"], **BATCH) == (["A"], 1)
        assert [batch["done"] for batch in server.batches.values()] == [1]


def killed_while_it_waits(server: Fake, folder: Path, texts: list[str]) -> None:
    """A run that is cancelled once its batch was sent."""

    async def run() -> None:
        store = AnswerStore(folder / "answers.sqlite")
        async with Asker(endpoint_at(server.url), store, params_with(**BATCH), "test") as asker:
            asking = asyncio.create_task(asker.ask([question(text) for text in texts]))
            while not server.batches:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asking

    server.polls_until_done = 10**9
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    server.polls_until_done = 0


@pytest.mark.parametrize("more", [[], ["d"]], ids=["the same rows", "more rows"])
@pytest.mark.parametrize("sent", [True, False], ids=["sent", "noted"])
def test_a_killed_batch_is_found_again_and_not_paid_twice(tmp_path: Path, sent: bool, more: list[str]) -> None:
    with serving(loud) as server:
        identity = endpoint_at(server.url).identity
        if sent:
            killed_while_it_waits(server, tmp_path, list("abc"))
        else:
            asked = {request_key(identity, question(text)): question(text) for text in "abc"}
            ((job, keyed),) = jobs(asked)
            AnswerStore(tmp_path / "answers.sqlite").begin_batch(job, identity, keyed)
        assert len(server.batches) == sent
        assert ask(server.url, tmp_path, ["a", "b", "c", *more], **BATCH)[0] == ["A", "B", "C", *map(str.upper, more)]
        assert [batch["done"] for batch in server.batches.values()] == [3, 1][: 1 + len(more)]


def test_a_batch_must_fit_under_the_caps_as_a_whole(tmp_path: Path) -> None:
    with serving(loud) as server:
        with pytest.raises(InputError, match=r"prompt\.limits\.requests"):
            ask(server.url, tmp_path, ["a", "b", "c"], limits={"requests": 2}, **BATCH)
        assert not server.files


@pytest.mark.parametrize(
    ("tokens", "logprobs", "expected"),
    [
        (["The", " sky", " is", " above", ".", " up"], [None, -1.0, -1.0, -2.0, -3.0, -9.0], -5.0),
        (["<s>", "The", " sky", " is", " above", ".", " up"], [None, -1.0, -1.0, -1.0, -2.0, -3.0, -9.0], -5.0),
        ([" up"], [-9.0], None),
        (["The", " sky", " is", " \ufffd", "."], [None, -1.0, -1.0, -2.0, -3.0], None),
        ([], [], None),
    ],
    ids=["plain", "a token that begins every text", "no echo", "another text", "nothing"],
)
def test_the_text_is_found_among_the_echoed_tokens_or_not_scored(
    tokens: list[str], logprobs: list[float | None], expected: float | None
) -> None:
    reply = {"choices": [{"text": "", "logprobs": {"tokens": tokens, "token_logprobs": logprobs, "text_offset": [-1]}}]}
    request = {"prompt": "The sky is above.", "context": len("The sky is")}
    assert read_scored(Completion.construct(**reply), request, 0.0).text_logprob == expected


def test_what_is_read_before_a_question_depends_on_it_alone() -> None:
    """As far as the server keeps what it read: also after an interruption, and once for neighbours that share it."""
    folds = [{"messages": [{"role": "system", "content": fold}, {"role": "user", "content": fold}]} for fold in "AABCC"]
    for start in range(len(folds)):
        primer, kept = Primer(), ""
        for n, request in enumerate(folds[start:]):
            first, goes_on = primer.before(request)
            assert first["messages"] == [request["messages"][0], Primer.LAST]
            assert goes_on == (n > 0 and request == folds[start + n - 1])
            kept = kept if goes_on else first["messages"][0]["content"]
            assert kept == request["messages"][0]["content"], "the server goes on from another beginning"
