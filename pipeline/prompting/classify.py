"""From tweets to scores with one prompt: examples, requests, answers, calibration. What the stage and the studies share."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import InputError, Prepared, near_duplicates
from pipeline.data.embeddings import Embeddings, read_embeddings
from pipeline.prompting import scoring
from pipeline.prompting.answers import Answer, AnswerStore, Request
from pipeline.prompting.ask import Asker
from pipeline.prompting.calibration import calibrated
from pipeline.prompting.capabilities import Capabilities, check_label_words, choose_mode
from pipeline.prompting.examples import Example, choose_examples, pool_of, records
from pipeline.prompting.params import Calibration, PromptParams
from pipeline.prompting.prompt_file import (
    ChannelPrompt,
    FixedExamples,
    Mode,
    PromptFile,
    RetrievedExamples,
    Shown,
    harmless,
    render,
    render_channel,
)
from pipeline.prompting.server import endpoint

# Inputs without content, as in Zhao et al. 2021.
CONTENT_FREE = ("N/A", "", "[MASK]")

NO_FOLD = -1
"""The fold of test tweets, and of new ones: no train tweet is of it, so all may be shown to them."""


@dataclass(frozen=True)
class Classified:
    """The scores P(target = 1) of n tweets by one prompt, and where they come from."""

    mode: Mode
    """How replies became scores: the prompt's own mode, or the one that the endpoint could do."""
    asked: list[list[Request]]
    answers: list[list[Answer]]
    """Of each tweet; those of the same question are the same."""
    uncalibrated: np.ndarray
    scores: np.ndarray
    """Both of shape (n,), NaN where the replies could not be read."""
    calibration: Calibration
    example_labels: int
    """How many labels the examples were chosen from, or the prior computed from."""
    calibration_labels: int


def sample_rows(train: pd.DataFrame, rows: int | None, seed: int = 0) -> pd.DataFrame:
    """At most `rows` train tweets, in order: whole near-duplicate groups, drawn in the proportion of the labels."""
    if rows is None or rows >= len(train):
        return train
    duplicates = near_duplicates(train)
    groups = train.groupby(duplicates)["target"].agg(["size", "mean"]).sample(frac=1, random_state=seed)
    chosen: list[int] = []
    for positive in (False, True):
        stratum = groups[(groups["mean"] >= 0.5) == positive]
        room = round(rows * stratum["size"].sum() / len(train))
        for group, size in zip(stratum.index, stratum["size"], strict=True):
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
) -> tuple[list[list[Example]], np.ndarray, int]:
    """What may be learnt from labels before each tweet is seen: its examples, P(target = 1), and how many labels that took.

    All comes from the other folds; for test and new tweets from all train tweets that are near-duplicates of no test tweet.
    """
    train = prepared.train.assign(row=np.arange(len(prepared.train)))
    examples: list[list[Example]] = [[] for _ in range(len(rows))]
    prior, labels = np.full(len(rows), 0.5), 0
    for fold in rows["fold"].unique():
        here = np.flatnonzero(rows["fold"] == fold)
        asked = rows.iloc[here]
        others = train[train["fold"] != fold]
        if isinstance(prompt, ChannelPrompt):
            prior[here], labels = others["train_target"].mean(), max(labels, int(others["train_target"].notna().sum()))
            continue
        near = prepared.test if fold == NO_FOLD else asked
        pool = pool_of(others[~near_duplicates(others).isin(near_duplicates(near))])
        for n, chosen in zip(here, choose_examples(prompt.examples, pool, asked, embeddings), strict=True):
            examples[n] = chosen
        if isinstance(prompt.examples, FixedExamples):
            labels = prompt.examples.count
        elif isinstance(prompt.examples, RetrievedExamples):
            labels = max(labels, len(pool))
    return examples, prior, labels


def requests_about(
    prompt: PromptFile,
    mode: Mode,
    can: Capabilities,
    examples: list[Example],
    tweet: dict[str, Any],
    params: PromptParams,
    *,
    shown: Shown | None = None,
) -> list[Request]:
    """What to send about one tweet, its text made harmless unless `shown` says how else to show it."""
    shown = shown or partial(harmless, longest=params.max_characters)
    if isinstance(prompt, ChannelPrompt):
        return [
            {"prompt": context + text, "context": len(context), "echo": True, "logprobs": 1, "max_tokens": 1}
            for context, text in render_channel(prompt, tweet, shown)
        ]
    messages = render(prompt, examples, tweet, shown)
    return scoring.requests(mode, messages, prompt.label_words, can, params.sampling, params.reply_tokens)


def open_asker(prompt: PromptFile, store: AnswerStore, params: PromptParams, name: str) -> Asker:
    """Who is asked: the endpoint, or, for a channel without one, the local model."""
    if isinstance(prompt, ChannelPrompt) and params.base_url is None:
        from pipeline.prompting.channel import LocalScorer  # noqa: PLC0415 - only this mode needs torch

        return LocalScorer(store, params, name)
    return Asker(endpoint(params, store), store, params, name)


def embeddings_for(prompt: PromptFile, prepared: Prepared, params: PromptParams) -> Embeddings | None:
    return read_embeddings(prepared, params.encoder) if isinstance(prompt.examples, RetrievedExamples) else None


async def ask_each(asker: Asker, asked: list[list[Request]]) -> list[list[Answer]]:
    """The answers to each tweet's requests."""
    answers = iter(await asker.ask([request for requests in asked for request in requests]))
    return [[next(answers) for _ in requests] for requests in asked]


async def classify(
    prompt: PromptFile,
    path: Path,
    rows: pd.DataFrame,
    prepared: Prepared,
    asker: Asker,
    params: PromptParams,
    *,
    embeddings: Embeddings | None = None,
) -> Classified:
    """Score the tweets of `rows_to_ask` with the prompt that was read from `path`; others bring their own embeddings."""
    embeddings = embeddings or embeddings_for(prompt, prepared, params)
    examples, prior, example_labels = contexts(prompt, rows, prepared, embeddings)
    mode, can = await choose_mode(asker, prompt)
    if mode == "logprobs":
        await check_label_words(asker, prompt.label_words, str(path))
    if mode != prompt.scoring:
        print(f"{asker.name}: the endpoint cannot do scoring: {prompt.scoring}; the whole run is scored by {mode}")

    def requests(tweet: dict[str, Any], shown: list[Example]) -> list[Request]:
        return requests_about(prompt, mode, can, shown, tweet, params)

    def scores_of(answers: list[list[Answer]]) -> np.ndarray:
        found = [
            scoring.score(mode, of_tweet, prompt.label_words, float(before))
            for of_tweet, before in zip(answers, prior, strict=True)
        ]
        return np.array(found, dtype=float)

    method = params.calibration
    if mode == "text" and method in ("contextual", "batch"):
        print(f"{asker.name}: calibration: {method} cannot change replies of one word; none is done")
        method = "none"
    asked = [requests(tweet, shown) for tweet, shown in zip(records(rows), examples, strict=True)]
    nothing = [{"text": text, "keyword": None, "location": None} for text in CONTENT_FREE]
    free = [[requests(tweet, shown) for shown in examples] for tweet in nothing] if method == "contextual" else []
    # In one go, so that a tweet and the inputs without content share their context's prefix.
    answered = await ask_each(asker, [*asked, *(about for column in free for about in column)])
    n, folds, known = len(rows), rows["fold"].to_numpy(), known_labels(rows, prepared)
    answers, uncalibrated = answered[:n], scores_of(answered[:n])
    content_free = [scores_of(answered[start : start + n]) for start in range(n, len(answered), n)]
    if content_free and np.isnan(content_free).all(axis=0).any():
        raise InputError(f"{path}: no reply to an input without content could be read; choose another calibration")
    scores = calibrated(
        method,
        uncalibrated,
        content_free=np.array(content_free),
        # Fixed examples are those of the fold; without, or with each tweet's own, one bias is estimated for all.
        batches=folds if isinstance(prompt.examples, FixedExamples) else np.zeros(n),
        folds=folds,
        known=known,
    )
    labels = int((~np.isnan(known)).sum()) if method == "platt" else 0
    return Classified(mode, asked, answers, uncalibrated, scores, method, example_labels, labels)


def known_labels(rows: pd.DataFrame, prepared: Prepared) -> np.ndarray:
    """What may be learnt from, shape (n,): the labels of train rows; NaN for those left out, and for test rows."""
    learnt = prepared.train.set_index("id")["train_target"].reindex(rows["id"]).to_numpy(dtype=float)
    return np.where(rows["split"] == "train", learnt, np.nan)
