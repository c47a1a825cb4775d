"""Ask an endpoint many questions: concurrently, each only once, within limits, with one clear line when it cannot be done."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import openai
from aiolimiter import AsyncLimiter
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.llm import batch
from pipeline.llm.answers import Answer, AnswerStore, Request, request_key
from pipeline.llm.budget import Budget, tokens_around
from pipeline.llm.params import PromptParams
from pipeline.llm.replies import body_of, read_chat, read_scored, tokenize
from pipeline.llm.server import Endpoint

# What servers say to a request that they understood and cannot do.
REFUSED = (400, 404, 405, 422, 501)


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
                "(prompt.embedded.context), or the model unknown"
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
    """One endpoint and the store of its answers. A question that the store can answer is not asked, and if it can answer
    all of them, the endpoint is not even started. Timeouts are in seconds; retries, with exponential backoff and the
    server's Retry-After, are the client's.
    """  # fmt: skip

    def __init__(self, endpoint: Endpoint, store: AnswerStore, params: PromptParams, name: str) -> None:
        self.endpoint, self.store, self.params, self.name = endpoint, store, params, name
        self.budget = Budget(params.price_per_million_tokens, params.limits)
        self.used: dict[str, tuple[Request, Answer]] = {}
        """All answers that were asked for, by their keys, and what they answer."""
        self.sent = 0
        """The requests that were sent; the other answers were stored."""
        self._open = AsyncExitStack()
        self._client: openai.AsyncOpenAI | None = None
        limits = params.limits
        per_minute = [limits.requests_per_minute, limits.tokens_per_minute]
        self._requests, self._tokens = (AsyncLimiter(rate, 60) if rate else None for rate in per_minute)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def client(self) -> openai.AsyncOpenAI:
        if self._client is None:
            address = self._open.enter_context(self.endpoint.connect())
            self._client = await self._open.enter_async_context(
                openai.AsyncOpenAI(
                    base_url=address.base_url,
                    api_key=address.api_key,
                    timeout=self.params.timeout,
                    max_retries=self.params.retries,
                    # A proxy that the environment names is for the world outside, not for the server in this process.
                    http_client=openai.DefaultAsyncHttpxClient(trust_env=self.endpoint.kind == "remote"),
                )
            )
        return self._client

    async def send(self, request: Request) -> Answer:
        """One request, through the limits on speed and the caps."""
        client = await self.client()
        expected = self.budget.estimate(request)
        tokens = expected.prompt_tokens + expected.completion_tokens
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
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
                completion = await client.chat.completions.create(model=self.endpoint.model, **request)
                answer = read_chat(completion, time.perf_counter() - start)
        finally:
            self.budget.settle(request, expected, answer)
        self.sent += 1
        return answer

    def keep(self, request: Request, answer: Answer) -> None:
        self.store.put(self.endpoint.identity, request, answer)
        self.used[request_key(self.endpoint.identity, request)] = (request, answer)

    async def probe(self, request: Request) -> Answer:
        """The answer to a request that may be refused."""
        key = request_key(self.endpoint.identity, request)
        if (known := self.store.get(key)) is not None:
            self.used[key] = (request, known)
            return known
        try:
            answer = await self.send(request)
        except openai.APIStatusError as error:
            if error.status_code not in REFUSED:
                raise explain(error, self.endpoint) from None
            answer = Answer(refused=error.status_code)
        except (openai.OpenAIError, ValueError) as error:
            raise explain(error, self.endpoint) from None
        self.keep(request, answer)
        return answer

    async def ask(self, requests: list[Request]) -> list[Answer]:
        """The answer to each request, in order. The first goes alone, so that a wrong address or key costs one."""
        keys = [request_key(self.endpoint.identity, request) for request in requests]
        missing: dict[str, Request] = {}
        for key, request in zip(keys, requests, strict=True):
            if key in self.used or key in missing:
                continue
            if (known := self.store.get(key)) is not None:
                self.used[key] = (request, known)
            else:
                missing[key] = request
        if missing:
            self.budget.tokens_around = tokens_around(self.used.values())
            stored = len(set(keys)) - len(missing)
            ahead = self.budget.forecast(missing.values(), batch=self.params.batch.use)
            tqdm.write(f"{self.name}: {ahead}" + (f"; {stored:,} answers are stored" if stored else ""))
            with tqdm(total=stored + len(missing), initial=stored, desc=self.name, unit="request") as progress:
                if self.params.batch.use:
                    await self.ask_in_batches(missing, progress)
                else:
                    await self.ask_live(missing, progress)
        return [self.used[key][1] for key in keys]

    async def ask_live(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        # Sorted, so that neighbours share the longest prefix (the same examples), which a server need not read again.
        in_order = sorted(missing.values(), key=lambda request: json.dumps(request, sort_keys=True))
        gate = asyncio.Semaphore(self.endpoint.concurrency)
        failures: list[Exception] = []

        async def one(request: Request) -> None:
            async with gate:
                if failures:  # what has not been sent stays unsent; what is under way is waited for and kept
                    return
                try:
                    answer = await self.send(request)
                except (openai.OpenAIError, ValueError, InputError) as error:
                    failures.append(error)
                    return
            self.keep(request, answer)
            self.show(progress)

        await one(in_order[0])
        await asyncio.gather(*map(one, in_order[1:]))
        if failures:
            raise explain(failures[0], self.endpoint) from None

    async def ask_in_batches(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        expected = [(request, self.budget.estimate(request, batch=True)) for request in missing.values()]
        for _, one in expected:  # a batch is sent as a whole, so it must fit under the caps as a whole
            self.budget.promise(one)
        for request, one in expected:
            self.budget.settle(request, one, None)
        waiting = self.params.batch.poll_seconds
        try:
            client = await self.client()
            async for request, answer in batch.answers(client, self.endpoint, self.store, missing, waiting):
                self.budget.add(answer)
                self.keep(request, answer)
                self.sent += 1
                self.show(progress)
        except (openai.OpenAIError, ValueError) as error:
            raise explain(error, self.endpoint) from None

    def show(self, progress: "tqdm[Any]") -> None:
        read = sum(answer.prompt_tokens for _, answer in self.used.values())
        cached = sum(answer.cached_tokens for _, answer in self.used.values())
        shown = {"cached": f"{cached / read:.0%}"} if read else {}
        if self.budget.money:
            shown["money"] = f"{self.budget.money:.4f}"
        progress.set_postfix(shown, refresh=False)
        progress.update()
