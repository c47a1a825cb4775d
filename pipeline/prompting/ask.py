"""Ask an endpoint many questions: concurrently, each only once, within limits, with one clear line when it cannot be done."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx2
import openai
from aiolimiter import AsyncLimiter
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.prompting import batch
from pipeline.prompting.answers import Answer, AnswerStore, Request, request_key
from pipeline.prompting.budget import Budget
from pipeline.prompting.params import PromptParams
from pipeline.prompting.primer import Primer
from pipeline.prompting.replies import UnreadableError, body_of, read_chat, read_scored, tokenize
from pipeline.prompting.server import Endpoint

# What servers say to a request that they understood and will not do.
REFUSED = (400, 422, 501)
# What they say where a route is missing that only some of them have.
NO_ROUTE = (404, 405)
# A header of requests to the embedded server that ask nothing.
NOT_COUNTED = "x-primer"


def explain(error: Exception, endpoint: Endpoint) -> Exception:
    """One line on what went wrong and what to do. The response's body stays out: it may repeat a part of the key."""
    where = f"prompt: {endpoint.identity if endpoint.kind == 'remote' else 'the embedded server'}"
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return InputError(
                f"{where}: the key was refused ({error.status_code}); check the variable that prompt.api_key_env names"
            )
        case openai.NotFoundError():
            return InputError(
                f"{where}: not found (404); check prompt.base_url (it usually ends in /v1) and prompt.model"
            )
        case openai.RateLimitError():
            return InputError(
                f"{where}: too many requests or no credit left (429); lower prompt.concurrency or prompt.limits, or run "
                "again later; answers so far are kept"
            )
        case openai.APITimeoutError():
            return InputError(f"{where}: no answer within prompt.timeout; answers so far are kept, run again to go on")
        case openai.APIConnectionError():
            return InputError(f"{where}: cannot be reached; is it running? Answers so far are kept")
        case openai.BadRequestError() | openai.UnprocessableEntityError():
            return InputError(
                f"{where}: refused the request ({error.status_code}); the prompt may be longer than the model's context "
                "(prompt.embedded.context), the reply longer than prompt.reply_tokens, or the model unknown"
            )
        case openai.APIStatusError():
            return InputError(f"{where}: refused the request ({error.status_code}); answers so far are kept")
        case openai.OpenAIError() | ValueError():
            return InputError(
                f"{where}: answered with something that is no completion ({type(error).__name__}); answers so far are kept"
            )
        case _:
            return error


class Asker:
    """One endpoint and the store of its answers.

    A question that the store can answer is not asked, and if it can answer all of them, the endpoint is not even started.
    Retries, with exponential backoff and the server's Retry-After, are the client's; they count as requests, too.
    """

    def __init__(self, endpoint: Endpoint, store: AnswerStore, params: PromptParams, name: str) -> None:
        self.endpoint, self.store, self.params, self.name = endpoint, store, params, name
        store.name(endpoint.identity, endpoint.model)
        self.budget = Budget(params.price_per_million_tokens, params.limits)
        self.used: dict[str, tuple[Request, Answer]] = {}
        """All answers that were asked for, by their keys, and what they answer."""
        self.sent = 0
        """The questions that were sent; the other answers were stored."""
        self.not_kept: set[str] = set()
        """The keys of those that the store does not have: what was refused may be answered another time."""
        self._read = self._cached = 0
        self._primer = Primer()
        self._open = AsyncExitStack()
        self._client: openai.AsyncOpenAI | None = None
        limits = params.limits
        # Evenly, without a burst: a minute's worth at once and as much again within the minute would be twice the limit.
        self._requests = AsyncLimiter(1, 60 / limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = AsyncLimiter(limits.tokens_per_minute / 12, 5) if limits.tokens_per_minute else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def client(self) -> openai.AsyncOpenAI:
        if self._client is None:
            address = self._open.enter_context(self.endpoint.connect())
            # A proxy that the environment names is for the world outside, not for the server in this process.
            proxied = self.endpoint.kind == "remote"
            http = openai.DefaultAsyncHttpxClient(trust_env=proxied, event_hooks={"request": [self.before_sending]})
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

    async def before_sending(self, request: httpx2.Request) -> None:
        """Called by the HTTP client before each attempt, the client's own retries among them."""
        if request.url.path.endswith("/completions") and NOT_COUNTED not in request.headers:
            if self._requests and request.headers.get("x-stainless-retry-count", "0") != "0":
                await self._requests.acquire()
            self.budget.count(1)

    async def prime(self, client: openai.AsyncOpenAI, request: Request) -> dict[str, Any]:
        """Bring the embedded server to where a question begins; returns what to send with the question."""
        if self.endpoint.kind != "embedded" or self.endpoint.concurrency > 1:
            return {}
        primer, goes_on = self._primer.before(request)
        if primer is None:
            return {"extra_body": {"cache_prompt": False}}
        aside: dict[str, Any] = {"extra_body": {"cache_prompt": goes_on}, "extra_headers": {NOT_COUNTED: "1"}}
        await client.chat.completions.create(model=self.endpoint.model, **primer, **aside)
        return {"extra_body": {"cache_prompt": True}}

    async def send(self, request: Request) -> Answer:
        """One request, through the limits on speed and the caps."""
        client = await self.client()
        expected = self.budget.estimate(request)
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            tokens = expected.prompt_tokens + expected.completion_tokens
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        self.budget.promise(expected)
        answer = None
        start = time.perf_counter()
        try:
            if "tokenize" in request:
                answer = await tokenize(client, self.endpoint.model, request["tokenize"])
            elif "prompt" in request:
                scored = await client.completions.create(model=self.endpoint.model, **body_of(request))
                answer = read_scored(scored, request, time.perf_counter() - start)
            else:
                aside = await self.prime(client, request)
                completion = await client.chat.completions.create(
                    model=self.endpoint.model, **body_of(request), **aside
                )
                answer = read_chat(completion, time.perf_counter() - start)
        except openai.APITimeoutError:  # the last attempt may be paid for all the same: its estimate stands
            answer = expected
            raise
        finally:
            self.budget.settle(request, expected, answer)
        self.sent += 1
        return answer

    def keep(self, request: Request, answer: Answer) -> None:
        """Put an answer into the store; where another process was first, its answer is used."""
        answer = self.store.put(self.endpoint.identity, request, answer)
        self.use(request_key(self.endpoint.identity, request), request, answer)

    def use(self, key: str, request: Request, answer: Answer) -> None:
        if key not in self.used:
            self._read += answer.prompt_tokens
            self._cached += answer.cached_tokens
        self.used[key] = (request, answer)

    def forget(self) -> None:
        """Let go of all answers so far, which the store has: who asks without an end needs no more memory for it."""
        self.used.clear()
        self.not_kept.clear()

    def refuse(self, key: str, request: Request, status: int) -> None:
        self.not_kept.add(key)
        self.use(key, request, Answer(refused=status))

    async def probe(self, request: Request, *, keep_refusal: bool = True) -> Answer:
        """The answer to a request that may be refused."""
        key = request_key(self.endpoint.identity, request)
        if (known := self.store.get(key)) is not None:
            self.use(key, request, known)
            return known
        refusals = REFUSED + (NO_ROUTE if "messages" not in request else ())
        anything = "tokenize" in request  # a route that one can do without, whatever it says
        try:
            answer = await self.send(request)
        except openai.APIStatusError as error:
            if error.status_code not in refusals and not anything:
                raise explain(error, self.endpoint) from None
            answer = Answer(refused=error.status_code)
            if not keep_refusal or error.status_code in batch.WORTH_ASKING_AGAIN or error.status_code > 501:
                return answer
        except (openai.OpenAIError, ValueError) as error:
            if not anything or isinstance(error, openai.APIConnectionError):
                raise explain(error, self.endpoint) from None
            answer = Answer(refused=200)  # a route of that name that does something else
        self.keep(request, answer)
        return answer

    async def ask(self, requests: list[Request]) -> list[Answer]:
        """The answer to each request, in order. The first goes alone, so that a wrong address or key costs one.

        A remote endpoint that has answered may refuse single questions, for example because a filter takes a tweet for an
        incitement, or send something that cannot be read: such an answer has `refused` set. It is not stored, and asked for
        again in the next run.
        """
        keys = [request_key(self.endpoint.identity, request) for request in requests]
        missing: dict[str, Request] = {}
        for key, request in zip(keys, requests, strict=True):
            if key in self.used or key in missing:
                continue
            if (known := self.store.get(key)) is not None:
                self.use(key, request, known)
            else:
                missing[key] = request
        if missing:
            self.budget.learn(self.used.values())
            stored = len(set(keys)) - len(missing)
            ahead = self.budget.forecast(missing.values(), batch=self.params.batch.use)
            tqdm.write(f"{self.name}: {ahead}" + (f"; {stored:,} answers are stored" if stored else ""))
            with tqdm(total=stored + len(missing), initial=stored, desc=self.name, unit="request") as progress:
                await (self.ask_in_batches if self.params.batch.use else self.ask_live)(missing, progress)
        return [self.used[key][1] for key in keys]

    async def ask_live(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        # Sorted, so that neighbours share the longest prefix (the same examples), which a server need not read again.
        in_order = sorted(missing.items(), key=lambda item: json.dumps(item[1], sort_keys=True))
        gate = asyncio.Semaphore(self.endpoint.concurrency)
        failures: list[Exception] = []

        async def one(key: str, request: Request, *, may_be_refused: bool) -> None:
            async with gate:
                if failures:  # what has not been sent stays unsent; what is under way is waited for and kept
                    return
                try:
                    self.keep(request, await self.send(request))
                except (openai.BadRequestError, openai.UnprocessableEntityError, UnreadableError) as error:
                    if not may_be_refused:
                        failures.append(error)
                        return
                    self.refuse(key, request, 200 if isinstance(error, UnreadableError) else error.status_code)
                except (openai.OpenAIError, ValueError, InputError) as error:
                    failures.append(error)
                    return
            self.show(progress)

        remote = self.endpoint.kind == "remote"
        answered = any(not answer.refused and "tokenize" not in request for request, answer in self.used.values())
        await one(*in_order[0], may_be_refused=remote and answered)
        await asyncio.gather(*(one(key, request, may_be_refused=remote) for key, request in in_order[1:]))
        if failures:
            raise explain(failures[0], self.endpoint) from None

    async def ask_in_batches(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        def promise(requests: list[Request]) -> None:
            """A batch is sent as a whole, so it must fit under the caps as a whole."""
            expected = [(request, self.budget.estimate(request, batch=True)) for request in requests]
            self.budget.count(len(requests))
            for _, one in expected:
                self.budget.promise(one)
            for request, one in expected:
                self.budget.settle(request, one, None)

        waiting = self.params.batch.poll_seconds
        try:
            client = await self.client()
            async for key, answer in batch.answers(client, self.endpoint, self.store, missing, waiting, promise):
                if answer.refused:
                    self.refuse(key, missing[key], answer.refused)
                else:
                    self.budget.add(answer)
                    self.keep(missing[key], answer)
                    self.sent += 1
                self.show(progress)
        except (openai.OpenAIError, ValueError) as error:
            raise explain(error, self.endpoint) from None

    def show(self, progress: "tqdm[Any]") -> None:
        shown = {"cached": f"{self._cached / self._read:.0%}"} if self._read else {}
        if self.budget.money:
            shown["money"] = f"{self.budget.money:.4f}"
        progress.set_postfix(shown, refresh=False)
        progress.update()
