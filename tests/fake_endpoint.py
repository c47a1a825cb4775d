"""An OpenAI-compatible endpoint at the network's edge: checks requests by the SDK's own types, fails where it is told to."""

import email
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai.types import Batch, FileObject, batch_create_params, completion_create_params
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.chat import completion_create_params as chat_params
from pydantic import ConfigDict, TypeAdapter

KEY = "sk-planted-5f2c9a"
STRICT = ConfigDict(extra="forbid")


class ChatBody(chat_params.CompletionCreateParamsNonStreaming, total=False):
    __pydantic_config__ = STRICT


class TextBody(completion_create_params.CompletionCreateParamsNonStreaming, total=False):
    __pydantic_config__ = STRICT


class BatchBody(batch_create_params.BatchCreateParams, total=False):
    __pydantic_config__ = STRICT


adapter = cache(TypeAdapter)


def check(kind: Any, body: dict[str, Any]) -> None:
    """Raise unless the SDK could have sent this body: types see to what a hosted endpoint would refuse."""
    adapter(kind).validate_python(body)
    if "messages" in body:  # declared as an iterable, which pydantic does not look into
        adapter(list[ChatCompletionMessageParam]).validate_python(body["messages"])


def completion(token: str = "Yes", logprob: float = -0.1, *, logprobs: bool = True, n: int = 1) -> dict[str, Any]:
    """A chat completion of one token, with that token and "The" as the most probable."""
    top = [{"token": token, "logprob": logprob}, {"token": "The", "logprob": -3.0}]
    content = {"content": [{"token": token, "logprob": logprob, "top_logprobs": top}]} if logprobs else None
    message = {"role": "assistant", "content": token}
    choices = [{"index": i, "finish_reason": "length", "message": message, "logprobs": content} for i in range(n)]
    usage = {"prompt_tokens": 30, "completion_tokens": n, "total_tokens": 30 + n}
    usage |= {"prompt_tokens_details": {"cached_tokens": 10}}
    reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "fake", "choices": choices, "usage": usage}
    ChatCompletion.model_validate(reply)
    return reply


def answer_of(body: dict[str, Any]) -> str:
    """Yes if the last message speaks of a fire."""
    return "Yes" if "fire" in body["messages"][-1]["content"].lower() else "No"


def obliging(body: dict[str, Any], _: int) -> tuple[int, Any]:
    """What an endpoint says that can do all that chat requests may ask for."""
    said = answer_of(body)
    if "response_format" in body:
        words = body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
        said = json.dumps({"label": said if said in words else words[0]})
    logprob = -0.1 - len(body["messages"][-1]["content"]) % 7 / 10
    return 200, completion(said, logprob, logprobs=body.get("logprobs", False), n=body.get("n", 1))


Respond = Callable[[dict[str, Any], int], tuple[int, Any]]


class Fake:
    """Answers chat request number n with what `respond(body, n)` says: a status and a reply, bytes to be sent as they are,
    or None to close the connection. It keeps all bodies, and runs batches.
    """  # fmt: skip

    def __init__(self, respond: Respond = obliging, *, seconds: float = 0) -> None:
        self.respond, self.seconds = respond, seconds
        self.headers = {"Retry-After": "0"}
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.running = self.most_running = 0
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.failing: dict[str, int] = {}
        """Statuses with which lines of batches fail, by a text that they contain; each once."""
        self.polls_until_done = 1
        self.told: dict[str, Any] = {}
        """What GET answers to paths."""
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers["Authorization"] != f"Bearer {KEY}":
                    return self.send(401, {"error": {"message": f"Incorrect API key: {self.headers['Authorization']}"}})
                with suppress(ConnectionError):  # the client has gone
                    self.send(*fake.route(self.command, self.path.split("?")[0], raw, self.headers["Content-Type"]))
                return None

            do_POST = do_GET = handle_any

            def send(self, status: int, answer: Any) -> None:
                if isinstance(answer, float):  # a blank now and then, for so many seconds
                    self.send_response(status)
                    self.end_headers()
                    for _ in range(int(answer * 20)):
                        self.wfile.write(b" ")
                        time.sleep(0.05)
                    answer = None
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                for name, value in fake.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def route(self, method: str, path: str, raw: bytes, kind: str | None) -> tuple[int, Any]:
        match method, path.removeprefix("/v1").strip("/").split("/"):
            case "GET", _ if path in self.told:
                return 200, self.told[path]
            case "POST", ["chat", "completions"]:
                return self.chat(json.loads(raw))
            case "POST", ["completions"]:
                check(TextBody, body := json.loads(raw))
                return self.respond(body, len(self.bodies))
            case "POST", ["files"]:
                return 200, self.upload(raw, kind or "")
            case "GET", ["files", name, "content"]:
                return 200, self.files[name].encode()
            case "POST", ["batches"]:
                return 200, self.begin(json.loads(raw))
            case "GET", ["batches"]:
                found = [self.batch(name) for name in reversed(self.batches)]
                return 200, {"object": "list", "data": found, "has_more": False}
            case "GET", ["batches", name]:
                self.batches[name]["polls"] += 1
                return 200, self.batch(name)
        return 404, {"error": {"message": "no such route"}}

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            self.bodies.append(body)
            self.times.append(time.monotonic())
            number = len(self.bodies)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        check(ChatBody, body)
        time.sleep(self.seconds)
        try:
            return self.respond(body, number)
        finally:
            with self.lock:
                self.running -= 1

    def upload(self, raw: bytes, kind: str) -> dict[str, Any]:
        form = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + raw)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        assert parts["purpose"].get_payload().strip() == "batch"
        content = parts["file"].get_payload(decode=True).decode()
        name = f"file-{len(self.files)}"
        self.files[name] = content
        about = {"id": name, "bytes": len(content), "created_at": 0, "filename": "x.jsonl", "object": "file"}
        return FileObject.model_validate(about | {"purpose": "batch", "status": "processed"}).model_dump(mode="json")

    def begin(self, body: dict[str, Any]) -> dict[str, Any]:
        check(BatchBody, body)
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        done, failed = [], []
        for line in lines:
            assert line["url"] == body["endpoint"]
            assert line["method"] == "POST"
            check(TextBody if line["url"] == "/v1/completions" else ChatBody, line["body"])
            wrong = next((text for text in self.failing if text in json.dumps(line["body"])), None)
            status, reply = (self.failing.pop(wrong), {}) if wrong else self.respond(line["body"], 0)
            result = {"id": "r", "custom_id": line["custom_id"], "error": None}
            result["response"] = {"status_code": status, "request_id": "q", "body": reply}
            (done if status == 200 else failed).append(json.dumps(result))
        name = f"batch-{len(self.batches)}"
        self.files |= {f"{name}-out": "\n".join(done), f"{name}-err": "\n".join(failed)}
        self.batches[name] = {"body": body, "polls": 0, "done": len(done), "failed": len(failed)}
        return self.batch(name)

    def batch(self, name: str) -> dict[str, Any]:
        about = self.batches[name]
        ended = about["polls"] >= self.polls_until_done
        counts = {"completed": about["done"], "failed": about["failed"], "total": about["done"] + about["failed"]}
        batch = {"id": name, "object": "batch", "created_at": 0, "in_progress_at": 10, "request_counts": counts}
        batch |= {"status": "completed", "completed_at": 20} if ended else {"status": "in_progress"}
        files = {"output_file_id": ("done", "out"), "error_file_id": ("failed", "err")}
        batch |= {key: f"{name}-{end}" for key, (which, end) in files.items() if ended and about[which]}
        return Batch.model_validate(batch | about["body"]).model_dump(mode="json")


@contextmanager
def serving(respond: Respond = obliging, **options: Any) -> Iterator[Fake]:
    fake = Fake(respond, **options)
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()


def echo_scored(body: dict[str, Any]) -> dict[str, Any]:
    """A completion that gives each word of its prompt a log-probability of -1, and adds a word.

    The first has none, as vLLM has it: the SDK's type says otherwise, so the reply is not checked against it.
    """
    words, offsets, place = [], [], 0
    for word in body["prompt"].split(" "):
        words.append(word if not place else f" {word}")
        offsets.append(place)
        place += len(words[-1])
    logprobs = {"tokens": [*words, " and"], "text_offset": [*offsets, place], "top_logprobs": None}
    logprobs |= {"token_logprobs": [None, *[-1.0] * (len(words) - 1), -5.0]}
    choice = {"index": 0, "finish_reason": "length", "text": body["prompt"] + " and", "logprobs": logprobs}
    usage = {"prompt_tokens": len(words), "completion_tokens": 1, "total_tokens": len(words) + 1}
    return {"id": "x", "object": "text_completion", "created": 0, "model": "fake", "choices": [choice], "usage": usage}
