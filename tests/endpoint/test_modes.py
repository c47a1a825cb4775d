"""Servers as they answer: what they cannot, odd fields, models that think first. Cases after public reports of bugs."""

import copy
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from fake_endpoint import KEY, answer_of, completion, obliging, serving
from test_classify import ZERO_SHOT, fires, refusing, run

from pipeline.contracts import InputError, Prepared
from pipeline.prompting.prompt import costs_of
from pipeline.prompting.prompt_file import read_prompt

TRIED = ("Good morning", "Fire in the harbour")


def tried(body: dict[str, Any]) -> bool:
    """Whether it is about the endpoint."""
    return any(text in body["messages"][-1]["content"] for text in TRIED)


def says(text: str) -> dict[str, Any]:
    return {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": None}}


CANNOT: list[tuple[int, Any, str]] = [
    (403, says("You are not allowed to request logprobs"), "403: You are not allowed to request logprobs"),
    (404, says("No endpoints found that support the requested parameters"), "404: No endpoints found that support"),
    (400, {"detail": "logprobs: unknown field"}, "400: logprobs: unknown field"),
    (422, {"detail": [{"msg": "extra fields not permitted"}]}, "422: "),
    (405, says("no"), "405: no"),
    (500, says("Internal error"), "500: Internal error"),
    (200, b"<html>busy</html>", "200"),
    (200, {"choices": []}, "200"),
    (400, says(f"Bad {KEY} and a long tale " + "x" * 500), r"400: Bad \*\*\* and"),
]


@pytest.mark.parametrize(("status", "body", "said"), CANNOT)
def test_what_follows_a_plain_answer_is_one_mode_down_in_the_servers_words(
    tmp_path: Path, sample: Prepared, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    status: int, body: Any, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(refusing("logprobs", status=status, answer=body)) as server:
        found, _ = run(server, tmp_path, sample, retries=0)
        assert found.mode == "sample"
        np.testing.assert_array_equal(found.scores > 0.5, fires(sample))
        sent = len(server.bodies)
        run(server, tmp_path, sample, retries=0)
        again = len(server.bodies) - sent
    assert again == (2 if status == 500 else 0), "what may pass is asked again"
    (line, *_) = [line for line in capsys.readouterr().out.splitlines() if "cannot" in line]
    assert re.search(f"cannot do logprobs: {said}.*; the whole run is scored by sample", line)
    assert len(line) < 330
    assert KEY not in line


@pytest.mark.parametrize(("status", "message"), [(401, "refused"), (429, "429"), (503, "503"), (None, "reached")])
def test_a_key_a_limit_or_no_connection_says_nothing_of_a_parameter(
    tmp_path: Path, sample: Prepared, status: int | None, message: str
) -> None:
    failing = (status or 0, says("no") if status else None)
    with serving(lambda body, n: failing if "logprobs" in body else obliging(body, n)) as server:
        with pytest.raises(InputError, match=message):
            run(server, tmp_path, sample, retries=0)
        server.respond = obliging
        assert run(server, tmp_path, sample)[0].mode == "logprobs"


def spoilt(body: dict[str, Any], n: int, change: Any) -> tuple[int, Any]:
    return 200, change(copy.deepcopy(obliging(body, n)[1]), body)


def first_tokens(*tops: tuple[str, float]) -> Any:
    """Replies whose first token is among these, by probability."""

    def change(reply: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        for choice in reply["choices"]:
            if choice["logprobs"]:
                top = [{"token": token, "logprob": math.log(p)} for token, p in tops]
                choice["logprobs"] = {"content": [top[0] | {"top_logprobs": top}]}
        return reply

    return change


def message(content: str | None, **more: Any) -> Any:
    """Replies with another message."""

    def change(reply: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
        for choice in reply["choices"]:
            choice["message"] |= {"content": content} | more
        return reply

    return change


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        (first_tokens(("<think>", 0.99), ("Okay", 0.005)), "sample"),
        (first_tokens(("The", 0.9), ("Yes", 2e-6), ("No", 1e-6)), "sample"),
        (first_tokens(("N", 0.9), ("Y", 0.05)), "sample"),
        (first_tokens(("token_id:5230", 0.9), ("token_id:10539", 0.05)), "sample"),
        (message("Let me see. First of all, the tweet"), None),
        (message(None), None),
        (message(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "label"}}]), None),
        (message("<think>Yes or No? Let me"), None),
    ],
)
def test_a_mode_counts_as_able_only_if_its_reply_can_be_scored(
    tmp_path: Path, sample: Prepared, change: Any, mode: str | None
) -> None:
    text = ZERO_SHOT if mode else ZERO_SHOT.replace("scoring: logprobs", "scoring: sample")
    with serving(lambda body, n: spoilt(body, n, change)) as server:
        if mode:
            assert run(server, tmp_path, sample, text)[0].mode == mode
        else:
            with pytest.raises(InputError, match=r"cannot do sample: .*; text: "):
                run(server, tmp_path, sample, text)
            assert all(tried(body) for body in server.bodies), "no tweet was sent"
        assert "real disaster? Answer Yes or No." in str(server.bodies[0]), "the prompt's own system message"


def test_a_score_from_next_to_nothing_is_none(tmp_path: Path, sample: Prepared) -> None:
    """All tweets without a fire get a token of prose first, and label words with 2e-6 of the probability."""

    def change(reply: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if tried(body) or answer_of(body) == "Yes":
            return first_tokens(("Yes", 0.3), ("No", 0.1), ("The", 0.2))(reply, body)
        return first_tokens(("The", 0.99), ("Yes", 2e-6), ("No", 1e-9))(reply, body)

    with serving(lambda body, n: spoilt(body, n, change)) as server:
        found, asker = run(server, tmp_path, sample)
    np.testing.assert_array_equal(np.isnan(found.scores), ~fires(sample))
    assert found.label_mass == pytest.approx(2e-6, rel=0.01)
    llm = costs_of(read_prompt(tmp_path / "some.yaml", ["not disaster", "disaster"]), asker, found).llm
    assert (llm.unparsed, llm.label_mass) == ((~fires(sample)).sum(), found.label_mass)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, completion("Well")), "the first token is 'Well'"),
        ((400, says("flagged by our filter")), "400: flagged by our filter"),
        ((200, {"choices": []}), "200"),
    ],
)
def test_a_run_of_which_nothing_can_be_read_stops_soon(
    tmp_path: Path, sample: Prepared, answer: tuple[int, Any], message: str
) -> None:
    with serving(lambda body, n: obliging(body, n) if tried(body) else answer) as server:
        with pytest.raises(InputError, match=f"none of the first 2[0-4] answers could be read: {message}"):
            run(server, tmp_path, sample, rows=200)
        assert len(server.bodies) < 20 + 10
        server.respond = obliging
        again = run(server, tmp_path, sample, rows=200)[0]
        assert np.isnan(again.scores).any() == ("Well" in message), "what was paid for is not asked about again"


def at(*path: Any) -> Any:
    """Replies in which something else stands at a path; the last of it is what."""

    def change(reply: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        *way, name, value = path
        place = reply
        for step in way:
            place = place[step] if place is not None else None
        if place is not None:
            place[name] = value(place[name]) if callable(value) else value
        return reply

    return change


LOGPROBS = ("choices", 0, "logprobs")


def legacy(logprobs: dict[str, Any] | None) -> Any:
    """As completions had them before chats: a list of tables."""
    top = logprobs and {one["token"]: one["logprob"] for one in logprobs["content"][0]["top_logprobs"]}
    return logprobs and {"tokens": [*top], "top_logprobs": [top]}


ODD: list[tuple[str, Any]] = [
    ("text", at("choices", 0, "message", "content", lambda text: [{"type": "text", "text": text}])),
    ("text", at("choices", 0, "message", "content", lambda text: [
        {"type": "thinking", "thinking": [{"type": "text", "text": "No. "}]}, {"type": "text", "text": text}])),
    ("logprobs", at("choices", 0, "message", "content", None)),
    ("logprobs", at(*LOGPROBS, "content", 0, "top_logprobs", lambda top: [*top, {"token": "I", "logprob": None}])),
    ("logprobs", at(*LOGPROBS, "content", 0, "top_logprobs", lambda top: [*top, None, {"token": None, "logprob": -9}])),
    ("logprobs", at(*LOGPROBS, "content", 0, "top_logprobs", lambda top: [*top, {"token": "I", "logprob": float("nan")}])),
    ("logprobs", at(*LOGPROBS, lambda logprobs: logprobs and logprobs["content"])),
    ("logprobs", at(*LOGPROBS, legacy)),
    ("logprobs", at("usage", "prompt_tokens", 30.5)),
    ("logprobs", at("usage", "completion_tokens", "one")),
    ("logprobs", at("usage", "prompt_tokens_details", [])),
    ("logprobs", at("usage", {"prompt_tokens": -1})),
    ("logprobs", at("usage", None)),
]  # fmt: skip


@pytest.mark.parametrize(("scoring", "change"), ODD)
def test_each_field_of_a_reply_counts_by_itself(tmp_path: Path, sample: Prepared, scoring: str, change: Any) -> None:
    text = ZERO_SHOT.replace("scoring: logprobs", f"scoring: {scoring}")
    with serving(lambda body, n: spoilt(body, n, change)) as server:
        found, _ = run(server, tmp_path, sample, text)
    assert found.mode == scoring
    np.testing.assert_array_equal(found.scores > 0.5, fires(sample))
    assert all(type(answer.prompt_tokens) is int for (answer,) in found.answers)


@pytest.mark.parametrize(
    ("status", "name", "length"), [(400, "zero_shot", 1), (500, "few_shot", 1), (400, "few_shot", 0)]
)
def test_a_model_that_takes_no_system_message_is_asked_without_one(
    tmp_path: Path, sample: Prepared, capsys: pytest.CaptureFixture[str], name: str, status: int, length: int
) -> None:
    def respond(body: dict[str, Any], n: int) -> tuple[int, Any]:
        if body["messages"][0]["role"] == "system" or ("max_tokens" in body) > length:
            return status, says("System role not supported")
        return obliging(body, n)

    with serving(respond) as server:
        found, _ = run(server, tmp_path, sample, (ROOT / f"prompts/{name}.yaml").read_text(), retries=0)
        first, *others = server.bodies[-1]["messages"]
        assert (first["role"], len(others)) == ("user", 16 if name == "few_shot" else 0)
        assert first["content"].startswith("Is the tweet about a real disaster?")
    np.testing.assert_array_equal(found.scores > 0.5, fires(sample))
    assert "takes no system message; its text goes before the user's" in capsys.readouterr().out


def test_a_model_that_thinks_first_is_told_how_much_and_its_thoughts_are_counted(
    tmp_path: Path, sample: Prepared
) -> None:
    def thinking(body: dict[str, Any], n: int) -> tuple[int, Any]:
        if body["reasoning_effort"] != "low" or "logprobs" in body or "temperature" in body:
            return 400, says("unsupported")
        status, reply = obliging(body, n)
        reply["usage"]["completion_tokens_details"] = {"reasoning_tokens": 7}
        message = reply["choices"][0]["message"]
        message["content"] = f"<think>Yes? {{No}}</think>\n{message['content']}"
        return status, reply

    with serving(thinking) as server:
        found, asker = run(server, tmp_path, sample, reasoning_effort="low", reply_tokens=900)
        last = server.bodies[-1]
    assert (found.mode, last["max_tokens"], "response_format" in last) == ("text", 900, True)
    np.testing.assert_array_equal(found.scores > 0.5, fires(sample))
    llm = costs_of(read_prompt(tmp_path / "some.yaml", ["not disaster", "disaster"]), asker, found).llm
    answered = [answer for _, answer in asker.used.values() if not answer.refused]
    assert llm.reasoning_tokens == 7 * len(answered)
