"""From tweets to scores with one prompt: examples, requests, answers, bias. What the stage and the studies share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import InputError, Prepared, near_duplicates
from pipeline.data.embeddings import Embeddings, read_embeddings
from pipeline.prompting.answers import Answer, AnswerStore, Request
from pipeline.prompting.ask import Asker
from pipeline.prompting.debias import debiased, usable
from pipeline.prompting.examples import choose_examples, pool_of, records
from pipeline.prompting.params import Debiasing, PromptParams
from pipeline.prompting.prompt_file import ChannelPrompt, PromptFile, Tweet
from pipeline.prompting.scoring import Mode, choose_mode
from pipeline.prompting.server import endpoint

CONTENT_FREE: list[Tweet] = [{"text": text, "keyword": None, "location": None} for text in ("N/A", "", "[MASK]")]
"""Inputs without content, as in Zhao et al. 2021."""
NO_FOLD = -1
"""The fold of test tweets, and of new ones: no train tweet is of it, so all may be shown to them."""


@dataclass(frozen=True)
class Classified:
    """The scores P(target = 1) of n tweets by one prompt, and where they come from."""

    mode: str
    """How replies became scores: the prompt's own mode, or the one that the endpoint could do."""
    asked: list[list[Request]]
    answers: list[list[Answer]]
    """Of each tweet; those of the same question are the same."""
    uncalibrated: np.ndarray
    scores: np.ndarray
    """Both of shape (n,), NaN where the replies could not be read."""
    calibration: Debiasing
    example_labels: int
    """How many labels the examples were chosen from, or the prior computed from."""
    calibration_labels: int
    label_mass: float | None
    """The median of what the label words hold of the first token's probability; None where that is not known."""


def sample_rows(train: pd.DataFrame, rows: int | None) -> pd.DataFrame:
    """At most `rows` train tweets, in order: whole near-duplicate groups, drawn in the proportion of the labels."""
    if rows is None or rows >= len(train):
        return train
    duplicates = near_duplicates(train)
    groups = train.groupby(duplicates)["target"].agg(["size", "mean"]).sample(frac=1, random_state=0)
    chosen: list[Any] = []
    for _, sizes in groups["size"].groupby(groups["mean"] >= 0.5):
        room = round(rows * sizes.sum() / len(train))
        for group, size in sizes.items():
            if size <= room:
                chosen.append(group)
                room -= size
    if not chosen:
        raise InputError(
            f"params.yaml: prompt.train_rows: {rows} is less than the smallest group of near-duplicates has"
        )
    return train[duplicates.isin(chosen)]


def rows_to_ask(prepared: Prepared, train_rows: int | None, *, test: bool) -> pd.DataFrame:
    """The tweets to be asked about, train before test, with `split`, `row` (the place of their embeddings) and `fold`."""
    train = prepared.train.assign(split="train", row=np.arange(len(prepared.train)))
    rest = prepared.test.assign(split="test", row=len(train) + np.arange(len(prepared.test)), fold=NO_FOLD)
    return pd.concat([sample_rows(train, train_rows), rest if test else rest.iloc[:0]], ignore_index=True)


def contexts(
    prompt: PromptFile, rows: pd.DataFrame, prepared: Prepared, embeddings: Embeddings | None
) -> tuple[list[list[Tweet]], np.ndarray, int]:
    """What may be learnt from labels before each tweet is seen: its examples, P(target = 1), and how many labels that took.

    All comes from the other folds; for test and new tweets from all train tweets that are near-duplicates of no test tweet.
    """
    train = prepared.train.assign(row=np.arange(len(prepared.train)))
    examples: list[list[Tweet]] = [[] for _ in range(len(rows))]
    prior, labels = np.full(len(rows), 0.5), 0
    for fold in rows["fold"].unique():
        here = np.flatnonzero(rows["fold"] == fold)
        others = train[train["fold"] != fold]
        if isinstance(prompt, ChannelPrompt):
            prior[here], labels = others["train_target"].mean(), max(labels, int(others["train_target"].notna().sum()))
        elif prompt.examples:
            asked = rows.iloc[here]
            near = near_duplicates(prepared.test if fold == NO_FOLD else asked)
            pool = pool_of(others[~near_duplicates(others).isin(near)])
            for n, chosen in zip(here, choose_examples(prompt.examples, pool, asked, embeddings), strict=True):
                examples[n] = chosen
            labels = max(labels, len(pool) if prompt.choice == "retrieved" else prompt.examples.count)
    return examples, prior, labels


def open_asker(prompt: PromptFile, store: AnswerStore, params: PromptParams, name: str) -> Asker:
    """Who is asked: the endpoint, or, for a channel without one, the local model."""
    if isinstance(prompt, ChannelPrompt) and params.base_url is None:
        from pipeline.prompting.channel import LocalScorer  # noqa: PLC0415 - only this mode needs torch

        return LocalScorer(store, params, name)
    return Asker(endpoint(params, store), store, params, name)


def embeddings_for(prompt: PromptFile, prepared: Prepared, params: PromptParams) -> Embeddings | None:
    return read_embeddings(prepared, params.encoder) if prompt.choice == "retrieved" else None


async def ask_each(mode: Mode, asked: list[list[Request]]) -> list[list[Answer]]:
    """The answers to each tweet's requests."""
    answers = iter(await mode.asker.ask([request for requests in asked for request in requests], mode.reads))
    return [[next(answers) for _ in requests] for requests in asked]


def scores_of(mode: Mode, answers: list[list[Answer]], prior: np.ndarray) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,), before the bias is taken out; NaN where the replies cannot be read."""
    found = [mode.score(of_tweet, float(before)) for of_tweet, before in zip(answers, prior, strict=True)]
    return np.array(found, dtype=float)


async def classify(
    prompt: PromptFile,
    rows: pd.DataFrame,
    prepared: Prepared,
    asker: Asker,
    *,
    calibration: Debiasing,
    embeddings: Embeddings | None = None,
) -> Classified:
    """Score the tweets of `rows_to_ask` with a prompt; others bring their own embeddings."""
    embeddings = embeddings or embeddings_for(prompt, prepared, asker.params)
    examples, prior, example_labels = contexts(prompt, rows, prepared, embeddings)
    mode = await choose_mode(asker, prompt)
    method = usable(calibration, hard=mode.hard, name=asker.name)
    asked = [mode.requests(tweet, shown) for tweet, shown in zip(records(rows), examples, strict=True)]
    free = CONTENT_FREE if method == "contextual" else []
    # In one go, so that a tweet and the inputs without content share their context's prefix.
    contentless = [mode.requests(tweet, shown) for tweet in free for shown in examples]
    answered, n = await ask_each(mode, asked + contentless), len(rows)
    uncalibrated = scores_of(mode, answered[:n], prior)
    content_free = scores_of(mode, answered[n:], np.tile(prior, len(free))).reshape(len(free), n)
    if free and np.isnan(content_free).all(axis=0).any():
        raise InputError(
            f"{asker.name}: no reply to an input without content could be read; choose another calibration"
        )
    # Fixed examples are those of the fold; without, or with each tweet's own, one bias is estimated for all.
    batches = rows["fold"].to_numpy() if prompt.choice == "fixed" else np.zeros(n)
    scores, labels = debiased(method, uncalibrated, rows, prepared, batches=batches, content_free=content_free)
    masses = [mass for of_tweet in answered[:n] if (mass := mode.label_mass(of_tweet)) is not None]
    mass = float(np.median(masses)) if masses else None
    return Classified(mode.name, asked, answered[:n], uncalibrated, scores, method, example_labels, labels, mass)
