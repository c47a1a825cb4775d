"""Between here and a server: what it bills, what it says and does wrong, who answers, and what is kept when a run ends."""

import asyncio
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_endpoint import KEY, completion, serving
from test_endpoint import BATCH, ask, endpoint_at, loud, params_with, question

from pipeline.contracts import InputError, written_whole
from pipeline.prompting.answers import Answer, AnswerStore
from pipeline.prompting.ask import Asker
from pipeline.prompting.server import endpoint
from pipeline.store import store_folder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key in a variable with a harmless name, blanks around it, and no long wait before a question is asked again."""
    monkeypatch.setenv("WIRE_CRED", f" {KEY}\n")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def asking(url: str, folder: Path, texts: list[str], **changes: Any) -> tuple[list[Answer], Asker]:
    """The answers of the endpoint that params name, none where the run failed by `fails`, and who asked."""
    fails = changes.pop("fails", None)

    async def run() -> tuple[list[Answer], Asker]:
        params = params_with(**{"base_url": url, "model": "fake", "api_key_env": "WIRE_CRED"} | changes)
        store = AnswerStore(folder / "answers.sqlite")
        async with Asker(endpoint(params, store), store, params, "test") as asker:
            with pytest.raises(InputError, match=fails) if fails else nullcontext():
                return await asker.ask([question(text) for text in texts]), asker
            return [], asker

    return asyncio.run(run())


def failure(url: str, folder: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as error:
        asking(url, folder, ["a"], retries=1, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- money and speed --------------------------------------------------------------------------------------------------

NO_REPLY = completion() | {"choices": []}
FILTERED = completion()
FILTERED["choices"][0] |= {"finish_reason": "content_filter", "message": {"role": "assistant", "content": None}}
REFUSED = completion()
REFUSED["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I cannot help with that"}


def billing(fault: str, attempts: int) -> tuple[Any, list[float]]:
    """A server that bills 1.10 for each request that it gets, and lets the first attempts at each question fail; its bill."""
    bill: list[float] = []
    seen: dict[str, int] = {}

    def respond(body: dict[str, Any], _: int) -> tuple[int, Any]:
        bill.append(1.1)
        text = body["messages"][-1]["content"]
        seen[text] = seen.get(text, 0) + 1
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        if seen[text] <= attempts:
            if fault == "no reply":
                return 200, NO_REPLY | {"usage": usage}
            if fault == "times out":
                time.sleep(0.4)
            return (200, 1.0) if fault == "trickles" else (0, None)
        return 200, completion() | {"usage": usage}

    return respond, bill


@pytest.mark.parametrize(
    ("fault", "attempts"), [("times out", 2), ("times out", 4), ("hangs up", 3), ("trickles", 2), ("no reply", 9)]
)
def test_a_cap_on_money_holds_whatever_a_server_bills_for(tmp_path: Path, fault: str, attempts: int) -> None:
    respond, bill = billing(fault, attempts)
    prices = {"prompt": 11_000.0, "completion": 0.0, "cached": 11_000.0}
    texts = [f"{n} {'word ' * 69}"[:348] for n in range(12)]
    changes = {"limits": {"money": 12.0}, "price_per_million_tokens": prices, "timeout": 0.2, "retries": 5}
    with serving(respond) as server:
        _, asker = asking(server.url, tmp_path, texts, fails=r"prompt\.limits\.money", **changes)
        time.sleep(0.5)
    said = asker.sender.budget.money
    assert sum(bill) <= said + 1e-9 <= 12.0 + 1e-9


@pytest.mark.parametrize("reply", [NO_REPLY, FILTERED, REFUSED], ids=["no choice", "a filter", "the model"])
def test_a_reply_that_was_refused_and_paid_for_is_told_apart_from_an_unread_one_and_not_bought_again(
    tmp_path: Path, reply: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda body, n: (200, reply) if "b" in body["messages"][-1]["content"] else loud(body, n)) as server:
        for _ in range(2):
            answers, asker = asking(server.url, tmp_path, ["a", "b", "c"])
            assert [answer.refused for answer in answers] == [None, 200, None]
            assert [answer.prompt_tokens for answer in answers] == [30, 30, 30]
            assert "1 with status 200" in capsys.readouterr().out
        assert asker.sent == 0
        assert len(server.bodies) == 3


def test_more_tokens_than_may_come_at_once_are_waited_for(tmp_path: Path) -> None:
    with serving(loud) as server:
        start = time.monotonic()
        asking(server.url, tmp_path, ["a" * 38_500], limits={"tokens_per_minute": 120_000})
        assert server.times[0] - start > 4.0, "11,000 tokens, at 2,000 a second"


# --- who answers ------------------------------------------------------------------------------------------------------

LLAMA_CPP = {"/props": {"model_path": "/m/one.gguf", "chat_template": "x", "build_info": "b1"}}
ENTRY = {"id": "fake", "object": "model", "created": 1, "owned_by": "x"}
SERVERS = {
    "llama.cpp's file": (LLAMA_CPP, {"/props": LLAMA_CPP["/props"] | {"model_path": "/m/two.gguf"}}),
    "llama.cpp's size": [
        {"/v1/models": {"data": [ENTRY | {"id": "any", "owned_by": "llamacpp", "meta": {"size": size}}]}}
        for size in (1, 2)
    ],
    "Ollama": [{"/api/tags": {"models": [{"name": "fake:latest", "digest": digest}]}} for digest in ("ab", "cd")],
    "vLLM": [{"/v1/models": {"data": [ENTRY | {"root": root}]}} for root in ("org/one", "org/two")],
}


@pytest.mark.parametrize("server", SERVERS)
def test_another_model_under_the_same_address_and_name_is_asked_anew(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = SERVERS[server]
    with serving(loud) as fake:
        for told, sent, changed in ((one, 1, False), (one, 0, False), (two, 1, True), (one, 0, True), (two, 0, True)):
            fake.told = told
            assert asking(fake.url, tmp_path, ["a"])[1].sent == sent
            assert ("another model" in capsys.readouterr().out) == changed
    assert asking(fake.url, tmp_path, ["a"])[1].sent == 0, "where nobody can be asked, it is the model of the last time"


@pytest.mark.parametrize(
    "told",
    [{}, {"/props": ["x"]}, {"/v1/models": {"data": [ENTRY]}}, {"/v1/models": b"<html>", "/api/tags": {"models": 1}}],
)
def test_where_a_server_says_nothing_of_its_model_answers_stay_valid_and_a_revision_tells_them_apart(
    tmp_path: Path, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(loud) as fake:
        ask(fake.url, tmp_path, ["a"])  # as it was kept before servers were asked
        fake.told = told
        assert asking(fake.url, tmp_path, ["a"])[1].sent == 0
        assert asking(fake.url, tmp_path, ["a"], revision="June")[1].sent == 1
        assert "versions" not in capsys.readouterr().out
        fake.respond = lambda body, n: (200, loud(body, n)[1] | {"system_fingerprint": f"fp_{n}"})
        asking(fake.url, tmp_path, ["b", "c"])
        assert "2 versions of the model" in capsys.readouterr().out


# --- what a server does wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "sent"), [(502, 2), ("429", 2), (404, 1), (None, 1)])
def test_an_error_inside_a_200_is_an_error_of_its_code(tmp_path: Path, code: Any, sent: int) -> None:
    failed = (200, {"error": {"code": code, "message": "the provider failed"}})
    with serving(lambda body, n: failed) as server:
        said = failure(server.url, tmp_path)
        assert len(server.bodies) == sent
        assert f"({code or 400})" in said
        assert said.endswith("it says: the provider failed")
        server.respond = lambda body, n: failed if n == sent + 1 else loud(body, n)
        if sent == 2:
            assert asking(server.url, tmp_path, ["a"])[0][0].replies == ["A"]


def test_a_server_that_sends_blanks_is_timed_out_by_the_clock(tmp_path: Path) -> None:
    with serving(lambda body, n: (200, 4.0)) as server:
        start = time.monotonic()
        assert "no answer within prompt.timeout" in failure(server.url, tmp_path, timeout=0.3)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"error": {"message": "model `x`\nis loading"}}, "it says: model `x` is loading"),
        ({"detail": "Not allowed to sample from this model"}, "it says: Not allowed to sample"),
        (b"upstream: no such host", "it says: upstream: no such host"),
        ({"error": {"message": "x" * 999}}, "it says: " + "x" * 150),
        ({"error": {"message": f"bad key {KEY}; {KEY[:12]}; sk-p****9a"}}, "it says: bad key *** *** ***"),
    ],
    ids=["a message", "detail", "text", "long", "the key"],
)
@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_messages_say_what_the_server_said(tmp_path: Path, status: int, reply: Any, words: str) -> None:
    with serving(lambda body, n: (status, reply)) as server:
        said = failure(server.url, tmp_path)
    assert words in said
    assert f"({status})" in said
    assert KEY[:8] not in said
    assert len(said.split("it says: ")[1]) <= 150


@pytest.mark.parametrize(
    ("variables", "base_url", "words"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, None, "ALL_PROXY.*socks"),
        ({"ALL_PROXY": "socks://127.0.0.1:9"}, None, "ALL_PROXY.*Unknown scheme for proxy"),
        ({"HTTP_PROXY": "http://127.0.0.1:99999"}, None, "cannot be reached.*port must be 0-65535"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, None, "SSL_CERT_FILE.*No such file"),
        ({"WIRE_CRED": "“quoted”"}, None, "WIRE_CRED holds a blank, a line break or a letter beyond ASCII"),
        ({"WIRE_CRED": "two\nlines"}, None, "WIRE_CRED holds a blank"),
        ({"WIRE_CRED": "  \n"}, None, "WIRE_CRED is not set"),
        ({}, "http://no-such-host.invalid/v1", "cannot be reached.*(not known|resolution|nodename)"),
        ({}, "http://127.0.0.1:9/v1", "cannot be reached.*(refused|Connect call failed)"),
        ({}, "https://127.0.0.1:PORT/v1", "cannot be reached.*SSL"),
    ],
)
def test_what_is_wrong_with_the_way_to_a_server_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], base_url: str | None, words: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serving(loud) as server:
        port = str(server.server.server_port)
        asking((base_url or server.url).replace("PORT", port), tmp_path, ["a"], retries=0, fails=words)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "socks://host/v1", "https:///v1", "http://[::1/v1"])
def test_an_address_that_is_none_is_said_in_words(url: str) -> None:
    with pytest.raises(ValueError, match="must be http:// or https://, a host"):
        params_with(base_url=url)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_two_runs_at_the_same_batch_pay_for_one(tmp_path: Path) -> None:
    with serving(loud) as server:
        upload = server.upload

        def slowly(*given: Any) -> Any:
            time.sleep(0.3)
            return upload(*given)

        server.upload = slowly  # type: ignore[method-assign]

        async def run() -> list[str]:
            store = AnswerStore(tmp_path / "answers.sqlite")
            async with Asker(endpoint_at(server.url), store, params_with(**BATCH), "test") as asker:
                return [answer.replies[0] for answer in await asker.ask([question(text) for text in "abcde"])]

        async def both() -> list[list[str]]:
            return await asyncio.gather(run(), run())

        assert asyncio.run(both()) == [list("ABCDE")] * 2
        assert [batch["done"] for batch in server.batches.values()] == [5]


def ask_many(url: str, folder: Path, taken: bool) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler if taken else signal.SIG_IGN)
    ask(url, folder, [f"tweet {n}" for n in range(40)], concurrency=4)


@pytest.mark.parametrize(
    ("number", "taken"), [("SIGINT", True), ("SIGTERM", True), ("SIGHUP", True), ("SIGTERM", False)]
)
def test_answers_under_way_when_a_run_is_told_to_end_are_kept(tmp_path: Path, number: str, taken: bool) -> None:
    """Of a job in the background, which a shell has ignore SIGINT, too; one under nohup is to outlive SIGHUP."""
    if number == "SIGHUP" and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        pytest.skip("under nohup")
    with serving(loud, seconds=0.5) as server:
        process = get_context("spawn").Process(target=ask_many, args=(server.url, tmp_path, taken))
        process.start()
        while server.running < 4:
            time.sleep(0.02)
        os.kill(process.pid or 0, getattr(signal, number))
        process.join(20)
        assert process.exitcode == 1
        assert AnswerStore(tmp_path / "answers.sqlite").count() == len(server.bodies) == 5


@contextmanager
def nobody() -> Iterator[None]:
    """For whom permissions count, other than for root."""
    root = hasattr(os, "getuid") and os.getuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["folder", "file"])
def test_a_store_that_may_only_be_read_is_read(folder_mode: int) -> None:
    with serving(loud) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asking(server.url, folder, ["a"])
        (folder / "answers.sqlite").chmod(0o444)
        folder.chmod(folder_mode)
        with nobody():
            assert asking(server.url, folder, ["a"])[0][0].replies == ["A"]
            asking(server.url, folder, ["a", "b"], fails="may only be read")
        folder.chmod(0o777)
        assert len(server.bodies) == 1, "nothing is bought that could not be kept"


def test_the_store_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "a/store"))
    assert stat.S_IMODE(store_folder().stat().st_mode) == 0o700


@pytest.mark.parametrize(("kind", "journal"), [("nfs4", "delete"), ("cifs", "delete"), ("ext4", "wal")])
def test_on_a_network_file_system_the_store_does_without_shared_memory_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str, journal: str
) -> None:
    mounted = [
        SimpleNamespace(mountpoint=str(place), fstype=fs, opts="rw") for place, fs in (("/", "ext4"), (tmp_path, kind))
    ]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounted)  # noqa: A006
    store = AnswerStore(tmp_path / "answers.sqlite")
    assert store._db.execute("PRAGMA journal_mode").fetchone() == (journal,)
    assert (f"network file system ({kind})" in capfd.readouterr().err) == (journal == "delete")


def test_a_writer_whose_number_says_nothing_here_is_left_alone_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    with written_whole(path) as slow:
        slow.write_text("slow")
        (tmp_path / f"{slow.name}.swp").write_text("an editor's")
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("pipeline.contracts.files.numbering", lambda: "another container", raising=False)
            elsewhere.setattr("psutil.pid_exists", lambda _: False)
            elsewhere.setattr("os.getpid", lambda: 7)
            path.parent.joinpath(".a.txt.host.8.partial").touch()
            os.utime(path.parent / ".a.txt.host.8.partial", (0, 0))
            with written_whole(path) as quick:
                quick.write_text("quick")
    assert path.read_text() == "slow"
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([f"{slow.name}.swp", "a.txt"])


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("os.fsync", lambda file: done.append(Path(f"/proc/self/fd/{file}").readlink().name))
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert done == [partial.name, tmp_path.name]
