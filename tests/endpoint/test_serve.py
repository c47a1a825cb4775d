"""The service: an answer to each text, limits in one sentence, batches, other people's clients, and an orderly end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from conftest import ROOT, clean_environment, prepared_folder
from tritonclient import http as triton

from pipeline.contracts import InputError, Prepared
from pipeline.counts import naive_bayes
from pipeline.predict import TextClassifier
from pipeline.serve.app import create_app
from pipeline.serve.batching import Batcher
from pipeline.serve.served import Served
from pipeline.serve.service import Limits, Service
from pipeline.stage import main_of

FIRE, FRUIT = "Forest fire near La Ronge, evacuated", "I love fruits"
Ask = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def made(sample: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        prepared_folder(folder, patch, sample.train.head(300), sample.test.head(20))
        main_of(naive_bayes.__name__)()
    return folder


@pytest.fixture(autouse=True)
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(
    limits: Limits | None = None, key: str | None = None, lifespan: str = "on"
) -> Iterator[tuple[Ask, Service]]:
    service = Service([Served("naive_bayes", (limits or Limits()).max_characters)], limits or Limits())
    port = free_port()
    config = uvicorn.Config(create_app(service, key), port=port, log_level="error", lifespan=lifespan)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()

    def ask(path: str, method: str = "POST", **more: Any) -> requests.Response:
        return requests.request(method, f"http://127.0.0.1:{port}{path}", timeout=30, **more)

    until = time.monotonic() + 30
    while not server.started or (lifespan == "on" and not service.ready):
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        yield ask, service
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def ask(made: Path) -> Iterator[Ask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        with serving(Limits(max_texts=50, max_characters=300, max_body_mb=0.05)) as (one, _):
            yield one


def test_each_text_has_its_own_answer(ask: Ask) -> None:
    texts = [
        FIRE,
        "",
        FRUIT,
        5,
        {"text": FIRE, "keyword": "wildfire", "location": None},
        {"text": "x", "k": 1},
        "x" * 301,
    ]
    found = ask("/predict", json={"texts": texts}).json()["predictions"]
    with TextClassifier("naive_bayes", Path()) as classifier:
        expected = classifier.predict_proba([FIRE, FRUIT])[:, 1]
    assert [found[0]["probability"], found[2]["probability"]] == pytest.approx(expected)
    assert (found[0]["label"], found[2]["label"]) == ("disaster", "not disaster")
    assert found[4]["probability"] != found[0]["probability"]
    assert found[0]["classifier"] == "naive_bayes"
    assert "data " in found[0]["version"]
    assert [found[place]["error"] for place in (1, 3, 5, 6)] == [
        "must not be empty",
        "a text is a string, or an object with text and, if known, keyword and location",
        "a text has text, keyword, location, and nothing called 'k'",
        "text has 301 characters; at most 300 are read",
    ]


JSON = {"content-type": "application/json"}
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no body": ({}, 422, "no JSON object"),
    "not JSON": ({"data": b"{", "headers": JSON}, 422, "no JSON object"),
    "not UTF-8": ({"data": b'{"texts": ["\xff"]}', "headers": JSON}, 400, "parsing"),
    "a form": ({"data": b'{"texts": ["a"]}', "headers": {"content-type": "text/plain"}}, 422, "Content-Type"),
    "from another site": ({"json": {"texts": ["a"]}, "headers": {"origin": "https://a.org"}}, 403, "another site"),
    "a list": ({"json": ["a"]}, 422, "no JSON object"),
    "null": ({"data": b"null", "headers": JSON}, 422, "no JSON object"),
    "a number": ({"data": b"3", "headers": JSON}, 422, "no JSON object"),
    "nested deeply": ({"data": b"[" * 20_000, "headers": JSON}, 400, "parsing"),
    "no texts": ({"json": {}}, 422, "texts: Field required"),
    "texts none": ({"json": {"texts": None}}, 422, "texts: Input should be a valid list"),
    "a text in place of texts": ({"json": {"texts": FIRE}}, 422, "texts: Input should be a valid list"),
    "an empty list": ({"json": {"texts": []}}, 422, "at least 1 item"),
    "too many": ({"json": {"texts": ["a"] * 51}}, 422, "51 texts; a request has 50 at most"),
    "too long": ({"json": {"texts": ["a" * 60_000]}}, 413, "50,000 at most"),
    "too long, in chunks": ({"data": iter([b"a" * 30_000] * 2), "headers": JSON}, 413, "more than 50,000 bytes"),
    "another classifier": ({"json": {"texts": ["a"], "classifier": "x"}}, 422, "'x' is not served here; these are"),
    "a classifier that is a path": ({"json": {"texts": ["a"], "classifier": "../x"}}, 422, "is not served"),
    "a classifier that is a list": ({"json": {"texts": ["a"], "classifier": []}}, 422, "classifier: Input should be"),
}  # fmt: skip
ITEMS = [
    None,
    True,
    [],
    {},
    {"text": None},
    {"text": 3},
    {"keyword": "a"},
    " \t",
    "\0",
    "\udc80",
    {"text": "a", "keyword": 3},
    1e400,
]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_malformed_is_refused_in_a_sentence(bad: str, ask: Ask) -> None:
    given, status, says = BAD[bad]
    found = ask("/predict", **given)
    assert found.status_code == status
    assert says in found.json()["error"]
    assert "\n" not in found.json()["error"]


@pytest.mark.parametrize("item", ITEMS, ids=repr)
def test_an_error_belongs_to_its_item(item: Any, ask: Ask) -> None:
    body = json.dumps({"texts": [FIRE, item]})
    fine, bad = ask("/predict", data=body, headers=JSON).json()["predictions"]
    assert fine["label"] == "disaster"
    assert set(bad) == {"error"}


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/x", "GET", 404), ("/predict", "GET", 405), ("/v2/models/x", "GET", 404)]
)
def test_other_paths_are_refused_likewise(path: str, method: str, status: int, ask: Ask) -> None:
    found = ask(path, method)
    assert (found.status_code, set(found.json())) == (status, {"error"})


def test_the_docs_load_nothing_from_elsewhere_and_their_example_works(ask: Ask) -> None:
    page = ask("/docs", "GET").text
    assert "swagger-ui" in page
    assert "://" not in page
    schemas = ask("/openapi.json", "GET").json()["components"]["schemas"]
    example = {"texts": schemas["Ask"]["properties"]["texts"]["examples"][0]}
    assert [list(each) == ["error"] for each in ask("/predict", json=example).json()["predictions"]] == [
        False,
        False,
        True,
    ]


def test_a_client_of_the_open_inference_protocol_is_answered(ask: Ask) -> None:
    url = ask("/v2", "GET").url.removeprefix("http://").partition("/")[0]
    client = triton.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("naive_bayes")
    assert client.get_model_metadata("naive_bayes")["inputs"][0]["name"] == "text"
    texts = triton.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(np.array([FIRE, FRUIT], dtype=object), binary_data=False)
    found = client.infer("naive_bayes", [texts])
    own = [each["probability"] for each in ask("/predict", json={"texts": [FIRE, FRUIT]}).json()["predictions"]]
    assert found.as_numpy("probability").tolist() == pytest.approx(own)
    assert found.as_numpy("label").tolist() == ["disaster", "not disaster"]
    for wrong in (triton.InferInput("x", [1], "BYTES"), triton.InferInput("text", [1], "BYTES")):
        wrong.set_data_from_numpy(np.array([""], dtype=object), binary_data=False)
        with pytest.raises(triton.InferenceServerException, match=r"one input is read|text 1: must not be empty"):
            client.infer("naive_bayes", [wrong])


def test_metrics_count_and_tell_no_text(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "evacuated at midnight"
    ask("/predict", json={"texts": [secret, ""]})
    said = ask("/metrics", "GET").text
    for name in (
        "requests_total",
        "request_seconds_bucket",
        "queue_texts",
        "batch_texts_sum",
        "decisions_total",
        "unsure_total",
    ):
        assert f"tweets_{name}{{" in said
    assert 'tweets_requests_total{route="/predict",status="200"}' in said
    assert secret not in said + "".join(capfd.readouterr())


def test_a_key_is_asked_for_by_all_but_the_health() -> None:
    with serving(key="a long secret") as (ask, _):
        assert ask("/predict", json={"texts": [FIRE]}).status_code == 401
        assert ask("/predict", json={"texts": [FIRE]}, headers={"authorization": "Bearer another"}).status_code == 401
        assert ask("/metrics", "GET").status_code == 401
        assert ask("/v2/health/ready", "GET").status_code == 200
        assert ask("/predict", json={"texts": [FIRE]}, headers={"authorization": "Bearer a long secret"}).ok


def test_before_it_is_ready_it_lives_and_says_so() -> None:
    with serving(lifespan="off") as (ask, _):
        assert ask("/v2/health/live", "GET").ok
        assert ask("/v2/health/ready", "GET").status_code == 503
        found = ask("/predict", json={"texts": [FIRE]})
        assert (found.status_code, found.headers["Retry-After"]) == (503, "2")


def test_more_than_may_wait_is_told_to_come_again() -> None:
    with serving(Limits(max_queue=3)) as (ask, service):
        found = ask("/predict", json={"texts": [FIRE] * 4})
        assert (found.status_code, found.headers["Retry-After"]) == (429, "1")
        assert ask("/predict", json={"texts": [FIRE] * 3}).ok
        service.served["naive_bayes"].score = lambda _: 1 / 0  # type: ignore[assignment, return-value]
        assert ask("/predict", json={"texts": [FIRE]}).status_code == 500
        assert ask("/v2/health/live", "GET").ok


def test_what_cannot_be_loaded_ends_the_service(folder: Path) -> None:
    stopped: list[bool] = []
    one = Served("naive_bayes", 100)
    one.name = "nobody"
    service = Service([one], Limits(), lambda: stopped.append(True))
    asyncio.run(service.open())
    assert stopped == [True]
    assert isinstance(service.fault, InputError)


# --- batches ----------------------------------------------------------------------------------------------------------


def batched(coroutine: Callable[[Batcher[int, int]], Any], sizes: list[int], most: int = 8, wait: float = 0.05) -> Any:
    def work(items: list[int]) -> list[int]:
        sizes.append(len(items))
        time.sleep(0.01)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]

    async def main() -> Any:
        batcher = Batcher(work, most, wait, queue=100)
        task = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(coroutine(batcher), 20)
        finally:
            task.cancel()

    return asyncio.run(main())


def test_items_that_come_together_are_one_batch_and_come_back_in_order() -> None:
    sizes: list[int] = []

    async def many(batcher: Batcher[int, int]) -> list[list[int]]:
        return await asyncio.gather(*(batcher([number, 100 + number]) for number in range(10)))

    assert batched(many, sizes) == [[2 * number, 200 + 2 * number] for number in range(10)]
    assert sizes == [8, 8, 4]


def test_alone_an_item_waits_no_longer_than_it_may_and_by_one_each_is_alone() -> None:
    sizes: list[int] = []
    start = time.perf_counter()
    assert batched(lambda batcher: batcher([1]), sizes, wait=0.1) == [2]
    assert time.perf_counter() - start < 1
    batched(lambda batcher: batcher([1, 2, 3]), sizes, most=1)
    assert sizes == [1, 1, 1, 1]


def test_a_fault_is_told_to_those_of_its_batch_and_the_next_are_served() -> None:
    async def in_turn(batcher: Batcher[int, int]) -> list[int]:
        with pytest.raises(ValueError, match="thirteen"):
            await batcher([13])
        return await batcher([1])

    assert batched(in_turn, []) == [2]


def test_what_nobody_waits_for_is_not_worked_on() -> None:
    sizes: list[int] = []

    async def left(batcher: Batcher[int, int]) -> list[int]:
        task = asyncio.create_task(batcher([5, 6]))
        await asyncio.sleep(0)
        task.cancel()
        return await batcher([1])

    assert batched(left, sizes) == [2]
    assert sizes == [1]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_when_it_is_told_to_end_all_that_was_taken_is_answered(made: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = clean_environment(tmp_path, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "pipeline.serve", "--classifier", "naive_bayes", "--port", str(port)]
    process = subprocess.Popen(command, cwd=made, env=environment, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 120
    while True:
        assert time.monotonic() < until
        try:
            if requests.get(f"{url}/v2/health/ready", timeout=5).ok:
                break
        except requests.ConnectionError:
            time.sleep(0.1)
    refused, answered = [], []

    def keep_asking(number: int) -> None:
        while True:
            try:
                found = requests.post(f"{url}/predict", json={"texts": [f"{FIRE} {number}"] * 20}, timeout=30)
            except requests.ConnectionError as error:
                refused.append(str(error))
                return
            answered.append((found.status_code, len(found.json()["predictions"])))

    with ThreadPoolExecutor(8) as threads:
        for number in range(8):
            threads.submit(keep_asking, number)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert set(answered) == {(200, 20)}
    assert not [error for error in refused if "aborted" in error or "reset" in error]  # they were not let in any more
    assert process.returncode in {0, -signal.SIGTERM}
    assert FIRE not in said
