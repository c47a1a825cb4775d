"""Prompting: an LLM is asked about each tweet, and its answer's log-probabilities are the score.

in:  data/prepared, prompts/<prompt>.yaml, and an endpoint or a GGUF file
out: predictions/prompt_<prompt>.parquet, costs/prompt_<prompt>.json, transcripts/prompt_<prompt>.jsonl
run: dvc repro prompt@zero_shot   (or python -m pipeline.llm.prompt zero_shot)
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, ValidationInfo, field_validator

from pipeline.contracts import (
    Costs,
    InputError,
    LlmCosts,
    Params,
    Prepared,
    peak_memory_mb,
    predictions_frame,
    read_params,
    read_prepared,
    run,
    write_costs,
    write_predictions,
    write_text,
)
from pipeline.llm.answers import Answer, AnswerStore
from pipeline.llm.ask import ask_all
from pipeline.llm.prompt_file import Message, PromptFile, choose_examples, read_prompt, render
from pipeline.llm.scoring import score_logprobs
from pipeline.llm.server import Endpoint, embedded
from pipeline.store import store_folder


class Prices(Params):
    """Money per million tokens, in whatever currency."""

    prompt: float = Field(ge=0)
    cached: float = Field(ge=0)
    completion: float = Field(ge=0)

    def of(self, answers: list[Answer]) -> float:
        return 1e-6 * sum(
            self.prompt * (answer.prompt_tokens - answer.cached_tokens)
            + self.cached * answer.cached_tokens
            + self.completion * answer.completion_tokens
            for answer in answers
        )


class EmbeddedParams(Params):
    """The llama.cpp server that is started when no endpoint is given."""

    slots: int = Field(ge=1)
    context: int = Field(ge=256)
    """Tokens that one request may use, prompt and answer."""


class PromptParams(Params):
    prompts: list[str]
    """The prompt files to run, each as a stage of its own."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None
    """An OpenAI-compatible endpoint, or null to serve `model` within the stage."""
    api_key_env: str | None
    """Name of the environment variable that holds the endpoint's key; null if it needs none."""
    model: str
    """The endpoint's name for a model; without an endpoint, a GGUF file or `package:NAME/PATH`."""
    train_rows: int | None = Field(ge=2)
    """How many train tweets are asked about (stratified, whole near-duplicate groups); null for all."""
    submit: list[str]
    """The prompts that score the test tweets too."""
    concurrency: int = Field(ge=1)
    """Requests that an endpoint is sent at once."""
    timeout: float = Field(gt=0)
    retries: int = Field(ge=0)
    price_per_million_tokens: Prices
    embedded: EmbeddedParams

    @field_validator("submit")
    @classmethod
    def only_prompts_that_run(cls, submit: list[str], info: ValidationInfo) -> list[str]:
        if unknown := set(submit) - set(info.data.get("prompts", submit)):
            raise ValueError(f"{', '.join(sorted(unknown))} is not among prompt.prompts")
        return submit


@contextmanager
def endpoint(params: PromptParams) -> Iterator[Endpoint]:
    """The endpoint that params name, or llama.cpp's server for the time of the block."""
    if params.base_url is None:
        with embedded(params.model, params.embedded.slots, params.embedded.context) as served:
            yield served
        return
    key = os.environ.get(params.api_key_env, "") if params.api_key_env else "none needed"
    if not key:
        raise InputError(f"prompt.api_key_env: the environment variable {params.api_key_env} is not set")
    identity = f"{params.base_url.rstrip('/')} {params.model}"
    yield Endpoint("remote", params.base_url, params.model, identity, params.concurrency, key)


def sample_rows(train: pd.DataFrame, rows: int | None, seed: int = 0) -> pd.DataFrame:
    """At most `rows` train tweets, in order: whole near-duplicate groups, drawn in the proportion of the labels."""
    if rows is None or rows >= len(train):
        return train
    groups = train.groupby("group")["target"].agg(["size", "mean"]).sample(frac=1, random_state=seed)
    chosen: list[int] = []
    for positive in (False, True):
        stratum = groups[(groups["mean"] >= 0.5) == positive]
        room = round(rows * stratum["size"].sum() / len(train))
        for group, size in zip(stratum.index, stratum["size"], strict=True):
            if size <= room:
                chosen.append(group)
                room -= size
    return train[train["group"].isin(chosen)]


def questions(prompt: PromptFile, tweets: pd.DataFrame, pool: pd.DataFrame) -> list[list[Message]]:
    """The messages about each tweet; examples come from the pool, which must hold no near-duplicate of a tweet."""
    examples = choose_examples(pool, prompt.examples) if prompt.examples else None
    return [render(prompt, examples, tweet) for _, tweet in tweets.iterrows()]


def all_questions(
    prompt: PromptFile, train: pd.DataFrame, test: pd.DataFrame, prepared: Prepared
) -> list[list[Message]]:
    """Questions about train tweets, with examples from the other folds, then about test tweets, with examples from all."""
    by_id: dict[int, list[Message]] = {}
    for fold, tweets in train.groupby("fold"):
        pool = prepared.train[prepared.train["fold"] != fold]
        by_id |= dict(zip(tweets["id"], questions(prompt, tweets, pool), strict=True))
    clear_of_test = prepared.train[~prepared.train["group"].isin(test["group"])]
    return [by_id[number] for number in train["id"]] + questions(prompt, test, clear_of_test)


def transcript(ids: pd.Series, asked: list[list[Message]], answers: list[Answer], scores: np.ndarray) -> str:
    """One JSON line a tweet: what was asked, what came back, what was made of it."""
    lines = [
        {
            "id": int(number),
            "messages": messages,
            "answer": answer.model_dump(),
            "score": None if np.isnan(score) else score,
        }
        for number, messages, answer, score in zip(ids, asked, answers, scores, strict=True)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", help="a file of prompts/, without .yaml")
    which = parser.parse_args().prompt
    name = f"prompt_{which}"
    prompt, params = read_prompt(Path("prompts") / f"{which}.yaml"), read_params("prompt", PromptParams)
    prepared = read_prepared()
    train = sample_rows(prepared.train, params.train_rows)
    test = prepared.test if which in params.submit else prepared.test.iloc[:0]
    asked = all_questions(prompt, train, test, prepared)
    start = time.perf_counter()
    with closing(AnswerStore(store_folder() / "answers.sqlite")) as store, endpoint(params) as at:
        answers, requests = asyncio.run(
            ask_all(
                asked,
                at,
                store,
                timeout=params.timeout,
                retries=params.retries,
                name=name,
            )
        )
    seconds = time.perf_counter() - start
    scores = np.array([score_logprobs(answer.top_logprobs, prompt.label_words) for answer in answers], dtype=float)
    scored = [
        predictions_frame(train, "train", scores[: len(train)]),
        predictions_frame(test, "test", scores[len(train) :]),
    ]
    unparsed = int(np.isnan(scores).sum())
    write_text(
        Path("transcripts") / f"{name}.jsonl", transcript(pd.concat([train["id"], test["id"]]), asked, answers, scores)
    )
    write_predictions(name, scored, prepared, "prompted", "none" if test.empty else "refit")
    distinct = list({id(answer): answer for answer in answers}.values())  # the same question is asked once
    spent = sum(answer.seconds for answer in distinct)
    write_costs(
        name,
        Costs(
            fit_seconds=0,
            predict_ms_per_tweet=1000 * spent / len(distinct),
            peak_memory_mb=peak_memory_mb(),
            llm=LlmCosts(
                model=at.model,
                endpoint=at.kind,
                scoring="logprobs",
                prompt_version=prompt.version,
                requests=len(distinct),
                new_requests=requests,
                seconds=spent,
                prompt_tokens=sum(answer.prompt_tokens for answer in distinct),
                cached_tokens=sum(answer.cached_tokens for answer in distinct),
                completion_tokens=sum(answer.completion_tokens for answer in distinct),
                money=params.price_per_million_tokens.of(distinct),
                unparsed=unparsed,
            ),
        ),
    )
    print(f"{name}: {len(answers)} tweets, {requests} requests in {seconds:.0f} s, {unparsed} unparsed")


if __name__ == "__main__":
    run(main)
