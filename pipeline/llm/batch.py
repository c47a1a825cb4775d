"""The Batch API: the same requests as a file, at a lower price, answered within a day.

https://developers.openai.com/api/docs/guides/batch
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import openai
from openai.types import Batch, Completion
from openai.types.chat import ChatCompletion

from pipeline.contracts import InputError
from pipeline.llm.answers import Answer, AnswerStore, Request
from pipeline.llm.replies import body_of, read_chat, read_scored
from pipeline.llm.server import Endpoint

LARGEST = 50_000  # requests in a file
ROUNDS = 3
ENDED = ("completed", "expired", "cancelled", "failed")
WORTH_ASKING_AGAIN = (408, 409, 429)

Keyed = dict[str, Request]


def line(key: str, model: str, request: Request) -> str:
    """One request as a line of a batch's file, its key as the id by which its answer is recognised."""
    body = {"model": model, **body_of(request)}
    return json.dumps({"custom_id": key, "method": "POST", "url": url_of(request), "body": body}, ensure_ascii=False)


def url_of(request: Request) -> str:
    return "/v1/completions" if "prompt" in request else "/v1/chat/completions"


def jobs(missing: Keyed) -> Iterator[tuple[str, Keyed]]:
    """Files' worth of requests, each for one route, and the hash that each job is known by."""
    for url in ("/v1/chat/completions", "/v1/completions"):
        keys = sorted(key for key, request in missing.items() if url_of(request) == url)
        for start in range(0, len(keys), LARGEST):
            part = keys[start : start + LARGEST]
            yield hashlib.sha256("".join(part).encode()).hexdigest(), {key: missing[key] for key in part}


def read_results(content: str, asked: Keyed, seconds: float) -> Iterator[tuple[str, Answer | int]]:
    """Each request's key with its answer, or with the HTTP status that it failed with; `seconds` is put in each answer."""
    for text in content.splitlines():
        result = json.loads(text)
        key, response = result.get("custom_id"), result.get("response") or {}
        if key not in asked:
            continue
        try:
            if response.get("status_code") != 200:
                yield key, int(response.get("status_code") or 500)
            elif "prompt" in asked[key]:
                answer = read_scored(Completion.model_validate(response["body"]), asked[key], seconds)
                yield key, answer.model_copy(update={"batch": True})
            else:
                answer = read_chat(ChatCompletion.model_validate(response["body"]), seconds)
                yield key, answer.model_copy(update={"batch": True})
        except ValueError:
            yield key, 500


async def answers(
    client: openai.AsyncOpenAI, endpoint: Endpoint, store: AnswerStore, missing: Keyed, poll_seconds: float
) -> AsyncIterator[tuple[Request, Answer]]:
    """The answers to all missing requests, as their batches end: first those that an earlier run began; what failed is asked
    again, in at most `ROUNDS` batches.
    """  # fmt: skip
    left = dict(missing)
    begun = store.open_batches(endpoint.identity)
    refused: set[int] = set()
    for number in range(ROUNDS + 1):
        for job, asked in begun.items() if number == 0 else jobs(left):
            async for key, answer in settle(client, endpoint, store, job, asked, poll_seconds):
                if isinstance(answer, Answer):
                    left.pop(key, None)
                    yield asked[key], answer
                elif key in left and answer < 500 and answer not in WORTH_ASKING_AGAIN:
                    refused.add(answer)
        if refused:
            raise InputError(f"prompt.batch: requests were refused ({sorted(refused)}); the other answers are kept")
        if not left:
            return
    raise InputError(
        f"prompt.batch: {len(left)} of {len(missing)} requests failed in {ROUNDS} batches; the other answers are kept, "
        "run again to go on"
    )


async def settle(
    client: openai.AsyncOpenAI, endpoint: Endpoint, store: AnswerStore, job: str, asked: Keyed, poll_seconds: float
) -> AsyncIterator[tuple[str, Answer | int]]:
    """Send a job, or find the batch that it was sent as, wait for its end and read its files.

    The store remembers a job until all that came of it has been taken.
    """
    found = await sent_before(client, job) if store.begin_batch(job, endpoint.identity, asked) else None
    batch = found or await send(client, endpoint.model, job, asked)
    while batch.status not in ENDED:
        await asyncio.sleep(poll_seconds)
        batch = await client.batches.retrieve(batch.id)
    if batch.status == "failed":
        store.end_batch(job)
        codes = sorted({error.code or "no code" for error in (batch.errors.data or [] if batch.errors else [])})
        raise InputError(f"prompt.batch: the endpoint refused the file: {', '.join(codes)}")
    took = (batch.completed_at or batch.created_at) - (batch.in_progress_at or batch.created_at)
    for file in (batch.output_file_id, batch.error_file_id):
        if file:
            content = (await client.files.content(file)).text
            for result in read_results(content, asked, took / len(asked)):
                yield result
    store.end_batch(job)


async def send(client: openai.AsyncOpenAI, model: str, job: str, asked: Keyed) -> Batch:
    """Upload a job's requests and begin its batch, marked with the job's hash."""
    lines = "\n".join(line(key, model, request) for key, request in asked.items())
    file = await client.files.create(file=(f"{job[:16]}.jsonl", lines.encode()), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/completions" if "prompt" in next(iter(asked.values())) else "/v1/chat/completions",
        completion_window="24h",
        metadata={"job": job},
    )


async def sent_before(client: openai.AsyncOpenAI, job: str) -> Batch | None:
    """The batch that a killed run sent for a job: the endpoint's own list knows, even if the run could not note its id.

    One that ended without result files is as good as none.
    """
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get("job") == job and (
            batch.status not in ENDED or batch.output_file_id or batch.error_file_id
        ):
            return batch
    return None
