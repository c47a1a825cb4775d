"""Sending: one request over the wire, paced, within the caps, to a server that is started when it is first needed."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import httpx2
import openai
from aiolimiter import AsyncLimiter
from openai.types import Completion
from openai.types.chat import ChatCompletion

from pipeline.contracts import InputError
from pipeline.contracts.errors import reason
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.budget import Budget, tokens_of
from pipeline.prompting.faults import UNREADABLE, UnreadableError
from pipeline.prompting.params import PromptParams
from pipeline.prompting.replies import WRONG, body_of, part, read_chat, read_scored, usage_of
from pipeline.prompting.server import Endpoint, read_body

NOT_COUNTED = "x-primer"  # a header of requests to the embedded server that ask nothing
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.LocalProtocolError, httpx2.ProxyError)  # cost nothing


def used_in(body: Any) -> Answer | None:
    """The tokens that a reply says it used, whatever else it says; None if it does not."""
    try:
        used = Answer(**usage_of(ChatCompletion.construct(**body)))
    except WRONG:
        return None
    return used if tokens_of([used]) else None


def status_of(status: int, body: Any) -> int:
    """The status of a reply: that of the error where one is sent as if all were well, 400 if it has none."""
    if status != 200 or not isinstance(body, dict) or not (error := body.get("error")) or body.get("choices"):
        return status
    code = str(error.get("code") if isinstance(error, dict) else None)
    return int(code) if code.isdecimal() and 400 <= int(code) < 600 else 400


def read_reply(body: Any, request: Request, seconds: float) -> Answer:
    """The answer in a reply; without any, and `UNREADABLE`, where a filter or the model refused but was paid."""
    if not isinstance(body, dict):
        raise ValueError("not JSON")
    try:
        if "prompt" in request:
            return read_scored(Completion.construct(**body), request, seconds)
        completion = ChatCompletion.construct(**body)
        answer = read_chat(completion, seconds).model_copy(update={"version": completion.system_fingerprint})
    except UnreadableError:
        if (used := used_in(body)) is None:
            raise
        return used.model_copy(update={"refused": UNREADABLE, "seconds": seconds})
    filtered = [
        part(choice, "finish_reason") == "content_filter" or part(choice, "message", "refusal")
        for choice in completion.choices
    ]
    return answer.model_copy(update={"refused": UNREADABLE}) if all(filtered) and not any(answer.replies) else answer


class Attempts(openai.DefaultAsyncHttpxClient):
    """The client below the SDK's. Each attempt at a question, the SDK's own among them, is paced, counted by its estimate, and
    timed by the clock; the estimate stands until a reply says what was used, or that nothing was.
    """  # fmt: skip

    def __init__(self, sender: "Sender", **options: Any) -> None:
        super().__init__(**options)
        self.sender, self.budget, limits = sender, sender.budget, sender.params.limits
        self.turn = asyncio.Lock()
        # Evenly, without a burst: a minute's worth at once and as much again within the minute would be twice the limit.
        self.pace = AsyncLimiter(1, 60 / limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = AsyncLimiter(limits.tokens_per_minute / 60, 1) if limits.tokens_per_minute else None

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        if not request.url.path.endswith("completions"):  # files of batches take as long as they take
            return await super().send(request, **options)
        if NOT_COUNTED in request.headers:
            return await self.timed(request, **options)
        question = json.loads(request.content)
        expected = self.budget.estimate(question)
        await self.wait(expected)
        self.budget.count([expected])
        self.budget.add(expected)
        try:
            response = await self.timed(request, **options)
        except NOT_SENT:
            self.budget.add(expected, sign=-1)
            raise
        body = read_body(response)
        used, response.status_code = used_in(body), status_of(response.status_code, body)
        if used or response.is_error:
            self.budget.add(expected, sign=-1)
            self.budget.add(used or Answer())
            self.budget.learn([(question, used or Answer())])
        return response

    async def wait(self, expected: Answer) -> None:
        """Until the limits on speed allow for a request, one after the other; for more tokens than may come at once, in parts."""
        async with self.turn:
            if self.pace:
                await self.pace.acquire()
            left = float(tokens_of([expected]))
            while self.tokens and left > 0:
                await self.tokens.acquire(min(left, self.tokens.max_rate))
                left -= self.tokens.max_rate
        if self.sender.stopped:
            raise InputError("not sent: the run ends")

    async def timed(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """By the clock: a server that sends a blank now and then is never late for the client's own timeout."""
        try:
            async with asyncio.timeout(self.sender.params.timeout):
                return await super().send(request, **options)
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time", request=request) from None
        except ExceptionGroup as error:  # a port that is none, of a proxy
            raise httpx2.ConnectError(str(error.exceptions[0]), request=request) from None


class Primer:
    """What the embedded server reads before each question, so that answers depend on their questions alone.

    llama.cpp keeps what it read for one question as far as the next begins alike, and where that ends decides how the numbers of
    the next are rounded: after an interruption, or in another company, scores differed. So each question follows a primer: all
    its messages but the last (an instruction, examples), and a last message that no question has. It is read from nothing, once
    for neighbours that share it, and each question goes on from where it ends.
    """

    LAST: ClassVar[Request] = {"role": "user", "content": "\u2063"}
    """The invisible separator: no tweet begins with it, so that a question parts from its primer where its own text begins."""

    def __init__(self) -> None:
        self.last: str | None = None
        """The beginning of the last primer."""

    def before(self, request: Request) -> tuple[Request, bool]:
        """The primer of a chat request, and whether it may go on from what was read before."""
        first = request["messages"][:-1]
        begins = json.dumps(first, sort_keys=True)
        goes_on, self.last = begins == self.last, begins
        return {"messages": [*first, self.LAST], "max_tokens": 1}, goes_on


class Sender:
    """An endpoint's client. Retries, with exponential backoff and the server's Retry-After, are the SDK's."""

    def __init__(self, endpoint: Endpoint, params: PromptParams) -> None:
        self.endpoint, self.params = endpoint, params
        self.budget = Budget(params.price_per_million_tokens, params.limits)
        self._primer = Primer()
        self._open = AsyncExitStack()
        self.stopped = False
        """Whether nothing may be sent any more, not even again."""
        self._client: openai.AsyncOpenAI | None = None

    async def close(self) -> None:
        await self._open.aclose()

    async def client(self) -> openai.AsyncOpenAI:
        if self._client is None:
            address = self._open.enter_context(self.endpoint.connect())
            # A proxy that the environment names is for the world outside, not for the server in this process.
            proxied = self.endpoint.kind == "remote"
            try:
                client = openai.AsyncOpenAI(
                    base_url=address.base_url,
                    api_key=address.api_key,
                    timeout=self.params.timeout,
                    max_retries=self.params.retries,
                    http_client=Attempts(self, trust_env=proxied),
                )
            except (ImportError, OSError, ValueError, OverflowError, httpx2.InvalidURL) as error:
                where = "prompt.base_url, or the environment's HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY or SSL_CERT_FILE"
                raise InputError(f"{where}: {reason(error)}") from None
            self._client = await self._open.enter_async_context(client)
        return self._client

    async def send(self, request: Request) -> Answer:
        """The answer to one request, by the route that it is for."""
        client, model = await self.client(), self.endpoint.model
        aside = {} if "prompt" in request else await self._prime(client, request)
        route: Any = client.completions if "prompt" in request else client.chat.completions
        raw = await route.with_raw_response.create(model=model, **body_of(request), **aside)
        answer = read_reply(read_body(raw.http_response), request, raw.elapsed.total_seconds())
        return answer if self.endpoint.kind == "remote" else answer.model_copy(update={"version": None})

    async def _prime(self, client: openai.AsyncOpenAI, request: Request) -> dict[str, Any]:
        """Bring the embedded server to where a question begins; returns what to send with the question."""
        if self.endpoint.kind != "embedded" or self.endpoint.concurrency > 1:
            return {}
        primer, goes_on = self._primer.before(request)
        aside: dict[str, Any] = {"extra_body": {"cache_prompt": goes_on}, "extra_headers": {NOT_COUNTED: "1"}}
        await client.chat.completions.create(model=self.endpoint.model, **primer, **aside)
        return {"extra_body": {"cache_prompt": True}}
