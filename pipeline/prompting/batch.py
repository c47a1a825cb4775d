"""The Batch API: the same requests as a file, at a lower price, answered within a day.

https://developers.openai.com/api/docs/guides/batch
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import openai
from openai.types import Batch
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.prompting.answers import Answer, AnswerStore, Request
from pipeline.prompting.faults import UNREADABLE, worth_asking_again
from pipeline.prompting.replies import body_of
from pipeline.prompting.send import Sender, read_reply, status_of

LARGEST = 50_000  # requests in a file
ROUNDS = 3
LEASE = 60.0  # seconds for which a run has a job to itself, renewed while it is at it
ENDED = ("completed", "expired", "cancelled", "failed")

Keyed = dict[str, Request]


def url_of(request: Request) -> Literal["/v1/completions", "/v1/chat/completions"]:
    return "/v1/completions" if "prompt" in request else "/v1/chat/completions"


def jobs(missing: Keyed) -> Iterator[tuple[str, Keyed]]:
    """Files' worth of requests, each for one route, and the hash that each job is known by."""
    for url in ("/v1/chat/completions", "/v1/completions"):
        keys = sorted(key for key, request in missing.items() if url_of(request) == url)
        for start in range(0, len(keys), LARGEST):
            part = keys[start : start + LARGEST]
            yield hashlib.sha256("".join(part).encode()).hexdigest(), {key: missing[key] for key in part}


def read_results(content: str, asked: Keyed, seconds: float) -> Iterator[tuple[str, Answer | int]]:
    """Each request's key with its answer, or with the HTTP status that it failed with; `seconds` is put in each answer.

    A reply that is no completion was paid for all the same: it is an answer without a reply, and not asked for again.
    """
    for text in filter(None, content.split("\n")):  # not at the line breaks that Unicode knows: replies may hold those
        result = json.loads(text)
        key, response = result.get("custom_id"), result.get("response") or {}
        if key not in asked:
            continue
        body = response.get("body") or {}
        if (status := status_of(int(response.get("status_code") or 500), body)) != 200:
            yield key, status
            continue
        try:
            answer = read_reply(body, asked[key], seconds)
        except (TypeError, ValueError):
            answer = Answer(refused=UNREADABLE, seconds=seconds)
        yield key, answer.model_copy(update={"batch": True})


@asynccontextmanager
async def alone_at(store: AnswerStore, job: str, every: float) -> AsyncIterator[None]:
    """Be the only run at a job for the time of the block; another is waited for, as long as it is alive."""
    if not store.lease(job, LEASE):
        tqdm.write("another run waits for this batch, or was killed within the last minute; waiting for it")
        while not store.lease(job, LEASE):
            await asyncio.sleep(min(every, LEASE / 4))

    async def renew() -> None:
        while store.lease(job, LEASE):
            await asyncio.sleep(LEASE / 4)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        store.release(job)


async def answers(sender: Sender, store: AnswerStore, missing: Keyed) -> AsyncGenerator[tuple[str, Answer]]:
    """The answers to all missing requests by their keys, as their batches end: first those that an earlier run began.

    What failed is asked again, in at most `ROUNDS` batches, each within the caps; what was refused is answered by that. What
    else an earlier run's batch holds goes to the store.
    """
    left, identity = dict(missing), sender.endpoint.identity
    begun = {job: asked for job, asked in store.open_batches(identity).items() if asked.keys() & left.keys()}
    for number in range(ROUNDS + 1):
        if number:
            sender.budget.count([sender.budget.estimate(request, batch=True) for request in left.values()])
        for job, asked in list(begun.items() if number == 0 else jobs(left)):
            async with alone_at(store, job, sender.params.batch.poll_seconds):
                async for key, result in settle(sender, store, job, asked):
                    if isinstance(result, int) and worth_asking_again(result):
                        continue
                    answer = Answer(refused=result) if isinstance(result, int) else result
                    if left.pop(key, None):
                        yield key, answer
                    elif answer.kept:
                        store.put(identity, asked[key], answer)
        if not left:
            return
    raise InputError(
        f"prompt.batch: {len(left)} of {len(missing)} requests failed in {ROUNDS} batches; the other answers are kept, "
        "run again to go on"
    )


async def settle(sender: Sender, store: AnswerStore, job: str, asked: Keyed) -> AsyncIterator[tuple[str, Answer | int]]:
    """Send a job, or find the batch that it was sent as, wait for its end and read its files.

    The store remembers a job until all that came of it has been taken. What another run has paid for meanwhile is in the store.
    """
    client, endpoint = await sender.client(), sender.endpoint
    taken = [(key, answer) for key in asked if (answer := store.get(key))]
    for pair in taken:
        yield pair
    begun = store.begin_batch(job, endpoint.identity, asked)
    if taken and not begun:
        store.end_batch(job)
        return
    found = await sent_before(client, job) if begun else None
    batch = found or await send(client, endpoint.model, job, asked)
    while batch.status not in ENDED:
        await asyncio.sleep(sender.params.batch.poll_seconds)
        batch = await client.batches.retrieve(batch.id)
    if batch.status == "failed":
        store.end_batch(job)
        codes = sorted({error.code or "no code" for error in (batch.errors.data or [] if batch.errors else [])})
        raise InputError(f"prompt.batch: the endpoint refused the file: {', '.join(codes)}")
    ended = batch.completed_at or batch.expired_at or batch.cancelled_at or 0
    took = max(0, ended - (batch.in_progress_at or batch.created_at))
    for file in (batch.output_file_id, batch.error_file_id):
        if file:
            content = (await client.files.content(file)).text
            for result in read_results(content, asked, took / len(asked)):
                yield result
    store.end_batch(job)


async def send(client: openai.AsyncOpenAI, model: str, job: str, asked: Keyed) -> Batch:
    """Upload a job's requests, a line each with its key, and begin their batch, marked with the job's hash."""
    bodies = ((key, url_of(request), {"model": model, **body_of(request)}) for key, request in asked.items())
    lines = [{"custom_id": key, "method": "POST", "url": url, "body": body} for key, url, body in bodies]
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    file = await client.files.create(file=(f"{job[:16]}.jsonl", content), purpose="batch")
    # Not repeated by the client: a batch whose acknowledgement was lost would be paid twice; the next run finds it.
    return await client.with_options(max_retries=0).batches.create(
        input_file_id=file.id,
        endpoint=url_of(next(iter(asked.values()))),
        completion_window="24h",
        metadata={"job": job},
    )


async def sent_before(client: openai.AsyncOpenAI, job: str) -> Batch | None:
    """The batch that a killed run sent for a job: the endpoint's own list knows, even if the run could not note its id."""
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get("job") == job and (
            batch.status not in ENDED or batch.output_file_id or batch.error_file_id  # without these as good as none
        ):
            return batch
    return None
