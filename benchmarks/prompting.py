"""Tweets per second of the prompt stage against a plain loop over the same client, server and prompts, side by side.

run: python -m benchmarks.prompting zero_shot few_shot --tweets 100     (after `dvc repro prepare embed`)

The loop asks about one tweet after the other, in the order of the file; once with `cache_prompt: false`, so that the server
reads every prompt anew, and once without. The stage sends the same questions, to the same server, with a new store.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import openai
import pandas as pd

from pipeline.contracts import InputError, Prepared, read_params, read_prepared
from pipeline.data.source import DataParams
from pipeline.process import run
from pipeline.prompting.answers import Answer, AnswerStore
from pipeline.prompting.ask import Asker
from pipeline.prompting.classify import classify, contexts, embeddings_for, rows_to_ask
from pipeline.prompting.examples import records
from pipeline.prompting.params import PromptParams
from pipeline.prompting.prompt_file import ChannelPrompt, PromptFile, read_prompt
from pipeline.prompting.replies import read_chat
from pipeline.prompting.scoring import choose_mode
from pipeline.prompting.server import Address, Endpoint, endpoint


def loop(address: Address, model: str, requests: list[dict[str, object]], *, cache: bool) -> list[Answer]:
    """What anyone would write first."""
    client = openai.OpenAI(base_url=address.base_url, api_key=address.api_key)
    answers = []
    for request in requests:
        start = time.perf_counter()
        reply = client.chat.completions.create(model=model, extra_body={"cache_prompt": cache}, **request)
        answers.append(read_chat(reply, time.perf_counter() - start))
    return answers


def reading_speed(address: Address, model: str) -> float:
    """Prompt tokens a second of this build on this machine: the largest of five readings of about 400 new tokens."""
    texts = [" ".join(f"{word}{n}" for word in ("fire", "flood", "calm", "news")) for n in range(5)]
    requests = [{"messages": [{"role": "user", "content": f"{text} " * 30}], "max_tokens": 1} for text in texts]
    return max(answer.prompt_tokens / answer.seconds for answer in loop(address, model, requests, cache=False))


async def measure(
    name: str, prompt: PromptFile, rows: pd.DataFrame, prepared: Prepared, params: PromptParams, at: Endpoint
) -> list[dict[str, object]]:
    """One row a way of asking: tweets a second, the share of prompt tokens that were cached, tokens read a second."""
    with tempfile.TemporaryDirectory() as folder, closing(AnswerStore(Path(folder) / "answers.sqlite")) as store:
        async with Asker(at, store, params, name) as asker:
            mode = await choose_mode(asker, prompt)
        examples, _, _ = contexts(prompt, rows, prepared, embeddings_for(prompt, prepared, params))
        requests = [mode.requests(tweet, shown)[0] for tweet, shown in zip(records(rows), examples, strict=True)]
        with at.connect() as address:

            async def stage() -> list[Answer]:
                async with Asker(at, store, params, name) as asker:
                    await classify(prompt, rows, prepared, asker, calibration=params.calibration)
                    return [answer for _, answer in asker.used.values()] if asker.sent else []

            ways: dict[str, Callable[[], list[Answer]]] = {
                "loop, cache_prompt: false": lambda: loop(address, at.model, requests, cache=False),
                "loop": lambda: loop(address, at.model, requests, cache=True),
            }
            found = []
            for way, ask in ways.items():
                start = time.perf_counter()
                found.append((way, ask(), time.perf_counter() - start))
            for way in ("stage", "stage, second run"):
                start = time.perf_counter()
                found.append((way, await stage(), time.perf_counter() - start))
    table = []
    for way, answers, seconds in found:
        read = sum(answer.prompt_tokens for answer in answers)
        cached = sum(answer.cached_tokens for answer in answers)
        row = {"prompt": name, "way": way, "tweets/s": len(rows) / seconds, "requests": len(answers)}
        row |= {"cached": cached / read if read else float("nan"), "new tokens/s": (read - cached) / seconds}
        table.append(row | {"times as fast": len(rows) / seconds / (len(rows) / found[0][2])})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--tweets", type=int, default=100)
    given = parser.parse_args()
    labels = read_params("data", DataParams).labels
    prompts = {name: read_prompt(Path("prompts") / f"{name}.yaml", labels) for name in given.prompts}
    if any(isinstance(prompt, ChannelPrompt) for prompt in prompts.values()):
        raise InputError("a channel is scored without a server: there is no loop to compare it with")
    params, prepared = read_params("prompt", PromptParams), read_prepared()
    rows = rows_to_ask(prepared, given.tweets, test=False)
    served = endpoint(params)
    with served.connect() as address:
        at = replace(served, connect=lambda: nullcontext(address))
        table = [
            row
            for name, prompt in prompts.items()
            for row in asyncio.run(measure(name, prompt, rows, prepared, params, at))
        ]
        speed = reading_speed(address, at.model)
    print(pd.DataFrame(table).to_markdown(index=False, floatfmt=".2f"))
    print(
        f"\n{len(rows)} tweets. The server reads at most {speed:.0f} new prompt tokens a second (measured): that is the bound."
    )


if __name__ == "__main__":
    run(main)
