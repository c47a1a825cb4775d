"""What an endpoint can do wrong ends in one clear line; the key is never shown. The endpoint is a fake at the network's edge."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts import InputError
from pipeline.llm.answers import AnswerStore
from pipeline.llm.ask import ask_all
from pipeline.llm.server import Endpoint

KEY = "sk-planted-5f2c9a"
Respond = Callable[[dict[str, Any], int], tuple[int, Any]]


def completion(token: str) -> dict[str, Any]:
    top = [{"token": token, "logprob": -0.1, "bytes": None}, {"token": "The", "logprob": -3.0, "bytes": None}]
    content = [{"token": token, "logprob": -0.1, "bytes": None, "top_logprobs": top}]
    message = {"role": "assistant", "content": token}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "finish_reason": "length", "message": message, "logprobs": {"content": content}}],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 1,
            "total_tokens": 31,
            "prompt_tokens_details": {"cached_tokens": 10},
        },
    }


class Fake:
    """An endpoint on loopback that answers request number n with what `respond(body, n)` says."""

    def __init__(self, respond: Respond) -> None:
        self.bodies: list[dict[str, Any]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.bodies.append(body)
                status, answer = respond(body, len(fake.bodies))
                payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def fake() -> Iterator[Callable[[Respond], Fake]]:
    started: list[Fake] = []

    def start(respond: Respond) -> Fake:
        started.append(Fake(respond))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def ask(url: str, path: Path, texts: list[str], **changes: Any) -> tuple[list[str], int]:
    endpoint = Endpoint("remote", url, "fake", "fake at test", 4, KEY)
    store = AnswerStore(path / "answers.sqlite")
    settings = {"timeout": 2.0, "retries": 2, "name": "test"} | changes
    answers, requests = asyncio.run(
        ask_all([[{"role": "user", "content": text}] for text in texts], endpoint, store, **settings)
    )
    return [answer.text for answer in answers], requests


def echo(body: dict[str, Any], _: int) -> tuple[int, Any]:
    return 200, completion(body["messages"][-1]["content"].upper())


def test_answers_come_back_in_order_and_only_once(fake: Callable[[Respond], Fake], tmp_path: Path) -> None:
    server = fake(echo)
    texts = ["d", "b", "a", "b", "c"]
    assert ask(server.url, tmp_path, texts) == (["D", "B", "A", "B", "C"], 4)
    assert ask(server.url, tmp_path, texts) == (["D", "B", "A", "B", "C"], 0)
    assert ask(server.url, tmp_path, ["a", "e"]) == (["A", "E"], 1)
    assert len(server.bodies) == 5
    assert server.bodies[0]["top_logprobs"] == 20


def test_a_busy_endpoint_is_asked_again(fake: Callable[[Respond], Fake], tmp_path: Path) -> None:
    server = fake(lambda body, n: (429, {"error": {"message": "slow down"}}) if n % 2 else echo(body, n))
    assert ask(server.url, tmp_path, ["a"]) == (["A"], 1)


def test_answers_before_a_failure_are_kept(fake: Callable[[Respond], Fake], tmp_path: Path) -> None:
    server = fake(lambda body, n: echo(body, n) if n <= 3 else (400, {"error": {"message": "no"}}))
    texts = [f"tweet {n}" for n in range(60)]
    with pytest.raises(InputError, match="refused the request"):
        ask(server.url, tmp_path, texts, retries=0)
    assert len(server.bodies) < 30, "a failure stops what has not been sent"
    again = fake(echo)
    assert ask(again.url, tmp_path, texts)[1] == 57


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "the key was refused"),
        (403, {"error": {"message": KEY}}, "the key was refused"),
        (404, {"error": {"message": "no such model"}}, r"not found \(404\)"),
        (429, {"error": {"message": "quota"}}, "too many requests"),
        (400, {"error": {"message": "logprobs not supported"}}, r"refused the request \(400\)"),
        (503, {"error": {"message": "down"}}, r"refused the request \(503\)"),
        (200, completion("Yes") | {"choices": []}, "without log-probabilities"),
        (200, b'{"choices": [', "no chat completion"),
    ],
)
def test_failures_are_one_clear_line_without_the_key(
    fake: Callable[[Respond], Fake], tmp_path: Path, status: int, answer: Any, message: str
) -> None:
    server = fake(lambda body, n: (status, answer))
    with pytest.raises(InputError, match=message) as error:
        ask(server.url, tmp_path, ["a", "b"], retries=1)
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.bodies) <= 2, "the first request goes alone"


def test_an_unreachable_endpoint_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be reached; is it running"):
        ask("http://127.0.0.1:9/v1", tmp_path, ["a"], retries=0)


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(Endpoint("remote", "http://x/v1", "m", "i", 1, KEY))
