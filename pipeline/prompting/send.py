"""Sending: one request over the wire, paced, within the caps, to a server that is started when it is first needed."""

import json
import time
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import httpx2
import openai
from aiolimiter import AsyncLimiter

from pipeline.contracts import InputError
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.budget import Budget
from pipeline.prompting.params import PromptParams
from pipeline.prompting.replies import body_of, read_chat, read_scored, tokenize
from pipeline.prompting.server import Endpoint

NOT_COUNTED = "x-primer"
"""A header of requests to the embedded server that ask nothing."""


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
    """An endpoint's client. Retries, with exponential backoff and the server's Retry-After, are the client's."""

    def __init__(self, endpoint: Endpoint, params: PromptParams) -> None:
        self.endpoint, self.params = endpoint, params
        self.budget = Budget(params.price_per_million_tokens, params.limits)
        self._primer = Primer()
        self._open = AsyncExitStack()
        self._client: openai.AsyncOpenAI | None = None
        limits = params.limits
        # Evenly, without a burst: a minute's worth at once and as much again within the minute would be twice the limit.
        self._requests = AsyncLimiter(1, 60 / limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = AsyncLimiter(limits.tokens_per_minute / 12, 5) if limits.tokens_per_minute else None

    async def close(self) -> None:
        await self._open.aclose()

    async def client(self) -> openai.AsyncOpenAI:
        if self._client is None:
            address = self._open.enter_context(self.endpoint.connect())
            # A proxy that the environment names is for the world outside, not for the server in this process.
            proxied = self.endpoint.kind == "remote"
            http = openai.DefaultAsyncHttpxClient(trust_env=proxied, event_hooks={"request": [self.before_attempt]})
            try:
                client = openai.AsyncOpenAI(
                    base_url=address.base_url,
                    api_key=address.api_key,
                    timeout=self.params.timeout,
                    max_retries=self.params.retries,
                    http_client=http,
                )
            except httpx2.InvalidURL as error:
                raise InputError(f"prompt.base_url: {error}") from None
            self._client = await self._open.enter_async_context(client)
        return self._client

    async def before_attempt(self, request: httpx2.Request) -> None:
        """Called by the HTTP client before each attempt, its own retries among them: what each one costs is counted here."""
        if request.url.path.endswith("/completions") and NOT_COUNTED not in request.headers:
            if self._requests and request.headers.get("x-stainless-retry-count", "0") != "0":
                await self._requests.acquire()
            self.budget.count(1)

    async def send(self, request: Request) -> Answer:
        """The answer to one request, through the limits on speed and the caps."""
        client = await self.client()
        expected = self.budget.estimate(request)
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            tokens = expected.prompt_tokens + expected.completion_tokens
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        self.budget.promise(expected)
        answer = None
        try:
            answer = await self._exchange(client, request)
        except openai.APITimeoutError:  # the last attempt may be paid for all the same: its estimate stands
            answer = expected
            raise
        finally:
            self.budget.settle(request, expected, answer)
        return answer

    async def _exchange(self, client: openai.AsyncOpenAI, request: Request) -> Answer:
        """By the route that the request is for."""
        model, start = self.endpoint.model, time.perf_counter()
        if "tokenize" in request:
            return await tokenize(client, model, request["tokenize"])
        if "prompt" in request:
            scored = await client.completions.create(model=model, **body_of(request))
            return read_scored(scored, request, time.perf_counter() - start)
        aside = await self._prime(client, request)
        completion = await client.chat.completions.create(model=model, **body_of(request), **aside)
        return read_chat(completion, time.perf_counter() - start)

    async def _prime(self, client: openai.AsyncOpenAI, request: Request) -> dict[str, Any]:
        """Bring the embedded server to where a question begins; returns what to send with the question."""
        if self.endpoint.kind != "embedded" or self.endpoint.concurrency > 1:
            return {}
        primer, goes_on = self._primer.before(request)
        aside: dict[str, Any] = {"extra_body": {"cache_prompt": goes_on}, "extra_headers": {NOT_COUNTED: "1"}}
        await client.chat.completions.create(model=self.endpoint.model, **primer, **aside)
        return {"extra_body": {"cache_prompt": True}}
