"""Ask an OpenAI-compatible endpoint many questions: concurrently, each only once, with one clear line when it cannot be done."""

import asyncio
import time
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.llm.answers import Answer, AnswerStore, request_key
from pipeline.llm.prompt_file import Message
from pipeline.llm.server import Endpoint

# The first token of a greedy answer with its most probable rivals: all that scoring by log-probabilities needs.
SETTINGS = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


def first_token(completion: ChatCompletion, seconds: float) -> Answer:
    """The answer in a completion of one token; an endpoint that gives no log-probabilities is an `InputError`."""
    if not isinstance(completion, ChatCompletion):  # the client hands on as text what is not sent as JSON
        raise ValueError("not JSON")
    choice = completion.choices[0] if completion.choices else None
    if choice is None or choice.logprobs is None:
        raise InputError("the endpoint answers without log-probabilities; prompt.model must be one that gives them")
    tokens = choice.logprobs.content or []  # none where the answer is empty: such a reply cannot be read
    usage = completion.usage
    details = usage.prompt_tokens_details if usage else None
    return Answer(
        text=choice.message.content or "",
        top_logprobs=[(top.token, top.logprob) for top in tokens[0].top_logprobs] if tokens else [],
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        seconds=seconds,
    )


def explain(error: Exception, endpoint: Endpoint) -> Exception:
    """One line on what went wrong and what to do. The response's body stays out: it may repeat a part of the key."""
    where = f"prompt.base_url {endpoint.base_url}"
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return InputError(
                f"{where}: the key was refused ({error.status_code}); check the variable that prompt.api_key_env names"
            )
        case openai.NotFoundError():
            return InputError(
                f"{where}: not found (404); check the address (it usually ends in /v1) and prompt.model {endpoint.model}"
            )
        case openai.RateLimitError():
            return InputError(
                f"{where}: too many requests or no credit left (429); lower prompt.concurrency or run again later"
            )
        case openai.APITimeoutError():
            return InputError(f"{where}: no answer within prompt.timeout; answers so far are kept, run again to go on")
        case openai.APIConnectionError():
            return InputError(f"{where}: cannot be reached; is it running?")
        case openai.BadRequestError():
            return InputError(
                f"{where}: refused the request (400); either model {endpoint.model} takes no logprobs or temperature, "
                "or the prompt is longer than its context (prompt.embedded.context)"
            )
        case openai.APIStatusError():
            return InputError(f"{where}: refused the request ({error.status_code}) for model {endpoint.model}")
        case openai.OpenAIError() | ValueError():
            return InputError(f"{where}: answered with something that is no chat completion ({type(error).__name__})")
        case _:
            return error


async def ask_all(
    questions: list[list[Message]], endpoint: Endpoint, store: AnswerStore, *, timeout: float, retries: int, name: str
) -> tuple[list[Answer], int]:
    """The answer to each question, in order, and how many requests it took: what the store holds is not asked again.

    The first request goes alone, so that a wrong address or key costs one. Timeouts are in seconds; retries, with
    exponential backoff and the server's Retry-After, are the client's.
    """
    requests: list[dict[str, Any]] = [{"messages": question, **SETTINGS} for question in questions]
    keys = [request_key(endpoint.identity, request) for request in requests]
    known = {key: answer for key in set(keys) if (answer := store.get(key))}
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
    # Sorted, so that neighbours share the longest prefix (the same examples), which a server need not read again.
    in_order = sorted(missing.items(), key=lambda item: [message["content"] for message in item[1]["messages"]])
    gate = asyncio.Semaphore(endpoint.concurrency)
    progress = tqdm(total=len(missing), desc=name, unit="request", disable=not missing)

    failures: list[Exception] = []

    async def ask(client: openai.AsyncOpenAI, key: str, request: dict[str, Any]) -> None:
        async with gate:
            if failures:  # what has not been sent stays unsent; what is under way is waited for and kept
                return
            start = time.perf_counter()
            try:
                completion = await client.chat.completions.create(model=endpoint.model, **request)
                known[key] = first_token(completion, time.perf_counter() - start)
            except (openai.OpenAIError, ValueError, InputError) as error:
                failures.append(error)
                return
            store.put(key, endpoint.identity, request, known[key])
            progress.update()

    client = openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        timeout=timeout,
        max_retries=retries,
        # A proxy that the environment names is for the world outside, not for the server in this process.
        http_client=openai.DefaultAsyncHttpxClient(trust_env=endpoint.kind != "embedded"),
    )
    try:
        async with client:
            for first in in_order[:1]:
                await ask(client, *first)
            await asyncio.gather(*(ask(client, key, request) for key, request in in_order[1:]))
    finally:
        progress.close()
    if failures:
        raise explain(failures[0], endpoint) from None
    return [known[key] for key in keys], len(missing)
