"""Prompting: an LLM is asked about each tweet, and its answers become scores.

in:  data/prepared, data/embed, prompts/<prompt>.yaml, and an endpoint or a GGUF file
out: predictions/prompt_<prompt>.parquet (and predictions/uncalibrated/...), costs/prompt_<prompt>.json,
     transcripts/prompt_<prompt>.jsonl
run: dvc repro prompt@zero_shot   (or python -m pipeline.stage prompting.prompt zero_shot)
"""

import argparse
import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.contracts import (
    Costs,
    LlmCosts,
    peak_memory_mb,
    plain_name,
    read_params,
    read_prepared,
    write_costs,
    write_text,
)
from pipeline.data.source import DataParams
from pipeline.latency import after_reading, of_requests, with_latency
from pipeline.places import results
from pipeline.prompting.answers import Answer, AnswerStore, Request
from pipeline.prompting.ask import Asker
from pipeline.prompting.classify import Classified, classify, open_asker, rows_to_ask
from pipeline.prompting.outputs import unparsed_share, write_scores
from pipeline.prompting.params import PromptParams
from pipeline.prompting.prompt_file import PromptFile, read_prompt
from pipeline.store import store_folder


def transcript(rows: pd.DataFrame, asker: Asker, found: Classified) -> Iterator[str]:
    """A JSON line a tweet: what was asked, what came back, what was made of it. All that the store holds is in it.

    Before the tweets, with an id of null: what was asked to learn what the endpoint can do, or how it is biased.
    """
    about_tweets = {asker.key(request) for asked in found.asked for request in asked}
    by = {"identity": asker.endpoint.identity, "model": asker.endpoint.model}

    def line(pairs: Iterable[tuple[Request, Answer]], **what: object) -> str:
        asked = [{"request": request, "answer": answer.model_dump(exclude_defaults=True)} for request, answer in pairs]
        return json.dumps({**what, **by, "asked": asked}, ensure_ascii=False) + "\n"

    for key, pair in asker.used.items():
        if key not in about_tweets and key not in asker.not_kept:
            yield line([pair], id=None)
    scored = zip(rows["id"], rows["split"], found.asked, found.answers, found.uncalibrated, found.scores, strict=True)
    for number, split, asked, answers, before, after in scored:
        both = {name: None if np.isnan(one) else one for name, one in (("uncalibrated", before), ("score", after))}
        yield line(zip(asked, answers, strict=True), id=int(number), split=split, **both)


def costs_of(prompt: PromptFile, asker: Asker, found: Classified) -> Costs:
    """What the answers took, each counted once; a tweet's times are those of its own requests."""
    answers = [answer for _, answer in asker.used.values()]
    # those that a batch answered have no time: they waited for each other
    alone = [[0 if answer.batch else answer.seconds for answer in of_tweet] for of_tweet in found.answers]
    costs = Costs(
        fit_seconds=0,
        peak_memory_mb=peak_memory_mb(),
        llm=LlmCosts(
            model=asker.endpoint.model,
            endpoint=asker.endpoint.kind,
            scoring=found.mode,
            calibration=found.calibration,
            prompt_version=prompt.version,
            example_labels=found.example_labels,
            calibration_labels=found.calibration_labels,
            requests=len(answers),
            new_requests=asker.sent,
            **{
                name: sum(getattr(answer, name) for answer in answers)
                for name in ("seconds", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
            },
            label_mass=found.label_mass,
            money=sum(map(asker.params.price_per_million_tokens.of, answers)),
            unparsed=int(np.isnan(found.scores).sum()),
        ),
    )
    costs = with_latency(costs, of_requests(alone))
    return after_reading(costs, f"embed_{asker.params.encoder}") if prompt.choice == "retrieved" else costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", type=plain_name, help="a file of prompts/, without .yaml")
    which = parser.parse_args().prompt
    name, path = f"prompt_{which}", Path("prompts") / f"{which}.yaml"
    prompt, params = read_prompt(path, read_params("data", DataParams).labels), read_params("prompt", PromptParams)
    prepared = read_prepared()
    rows = rows_to_ask(prepared, params.train_rows, test=which in params.submit)

    async def ask() -> tuple[Asker, Classified]:
        with closing(AnswerStore(store_folder() / "answers.sqlite")) as store:
            async with open_asker(prompt, store, params, name) as asker:
                return asker, await classify(prompt, rows, prepared, asker, calibration=params.calibration)

    asker, found = asyncio.run(ask())
    transcripts = results("transcripts") / f"{name}.jsonl"
    write_text(transcripts, "".join(transcript(rows, asker, found)))
    refused = [answer for of_tweet in found.answers for answer in of_tweet if answer.refused or answer.said]
    advice = f"{len(refused)} were refused ({refused[0].in_short()}); " if refused else ""
    advice += f"see {transcripts}"
    unparsed = unparsed_share(name, found.scores, params.max_unparsed, "prompt.max_unparsed", advice)
    write_scores(name, rows, prepared, found.uncalibrated, found.scores)
    write_costs(name, costs_of(prompt, asker, found))
    print(f"{name}: {len(rows)} tweets by {found.mode}, {asker.sent} new requests, {unparsed:.1%} unparsed")
