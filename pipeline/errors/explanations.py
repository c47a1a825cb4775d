"""What each classifier saw in the same tweets: the words that spoke for and against target 1, or the reply of an LLM.

- naive_bayes: the log-likelihood ratio of each word; logistic: its weight (runs of words and the keyword likewise)
- lora_<preset>: integrated gradients over the word embeddings
- prompt_<prompt>: the reply, where the LLM was asked about the tweet

A tweet is explained by the saved model that scored it, which has not seen it or its near-duplicates in training. All weights
are in log-odds of the score: together with the `base` they sum to it.

in:  data/prepared, predictions/*.parquet, models/, transcripts/*.jsonl
out: explanations/explanations.jsonl, a line a tweet
run: dvc repro explanations   (or python -m pipeline.stage errors.explanations)

The tweets are untrusted text, as they were written: whoever shows them must escape them.
"""

import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import expit
from tqdm import tqdm

from pipeline.compare.scored import TwinsParams, read_all
from pipeline.contracts import InputError, Params, Predictions, read_params, read_prepared, reason, write_text
from pipeline.counts.on_counts import OnCounts
from pipeline.errors.disagreements import shown_tweets
from pipeline.errors.telling_tweets import telling_tweets
from pipeline.errors.word_weights import Explained, explain_counts
from pipeline.fit.cross_fit import MODELS, part
from pipeline.fit.model_store import load_part, read_family
from pipeline.fit.tuning import Tuned

OUT = Path("explanations")
TRANSCRIPTS = Path("transcripts")
TOLERANCE = 0.05
"""Largest difference of scores between the model that explains and the one that scored: another precision, no other model."""

Explainer = Callable[[pd.DataFrame], Explained]
"""From a train row, a frame of one, to its score's log-odds in words."""


class ExplanationsParams(Params):
    tweets: int = Field(20, ge=3)
    """How many are explained."""
    classifiers: list[str] = Field(["naive_bayes", "logistic", "lora_minilm"])
    """naive_bayes, logistic and lora_<preset>; those that there are no predictions of are passed over."""
    prompts: bool = True
    """Also what an LLM replied; the tweets are then chosen among those that it was asked about, if they are enough."""
    steps: int = Field(64, ge=8)
    """Of the integrated gradients, at least: they are doubled until the sum is right."""


def count_explainer(name: str, own: OnCounts[Any]) -> Explainer:
    """By the models of the folds, each read when it is first asked for."""

    @cache
    def model_of(fold: int) -> tuple[Tuned, pd.Series]:
        (model,) = load_part(own, MODELS / name / part(fold), seeds=1)
        if (weights := own.weights(model)) is None:
            raise InputError(f"explanations.classifiers: {name}: its words have no weights")
        return model, weights

    return lambda tweet: explain_counts(*model_of(int(tweet["fold"].iloc[0])), tweet)


def load_explainer(name: str, steps: int) -> Explainer:
    """Of a classifier on counts whose terms have weights, or of lora, by the params that its models were made with."""
    own, _ = read_family(name)
    if own.family() == "finetune.lora":
        module = importlib.import_module("pipeline.errors.integrated_gradients")  # and torch, which is not always there
        return cast("Explainer", module.lora_explainer(name, own, steps))
    if not isinstance(own, OnCounts):
        raise InputError(f"explanations.classifiers: {name}: only those on counts, and lora_<preset>, can be explained")
    return count_explainer(name, own)


def reply(asked: list[dict[str, Any]]) -> str:
    """What an LLM replied about a tweet: the text, with the most probable first tokens or the text's log-probability if known."""
    lines = []
    for answer in (each["answer"] for each in asked):
        text = " | ".join(answer.get("replies", []))
        if answer.get("text_logprob") is not None:
            text += f"log-probability of the text {answer['text_logprob']:.1f}"
        tokens = [f"{token!r} {np.exp(logprob):.0%}" for token, logprob in answer.get("top_logprobs", [])[:3]]
        lines.append(f"{text} (first token: {', '.join(tokens)})" if tokens else text)
    return "\n".join(lines)


def read_replies(name: str, folder: Path = TRANSCRIPTS) -> dict[int, str]:
    """By id, what a prompt's LLM replied; nothing where there is no transcript."""
    path, found = folder / f"{name}.jsonl", {}
    for number, text in enumerate(path.read_bytes().splitlines() if path.is_file() else [], start=1):
        try:
            line = json.loads(text)
            if line["id"] is not None:
                found[line["id"]] = reply(line["asked"])
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise InputError(f"{path}: line {number}: not of a transcript: {reason(error)}") from None
    return found


def explained(explainer: Explainer, one: Predictions, train: pd.DataFrame, ids: list[int]) -> dict[int, dict[str, Any]]:
    """By id, what a classifier saw in each of the tweets, by a model that must have scored them as `one` has it."""
    rows, scores, seen = train.set_index("id", drop=False).loc[ids], one.train.set_index("id")["score"], {}
    by_fold = rows.sort_values("fold", kind="stable").index  # each fold's model is loaded once
    for number in tqdm(by_fold.tolist(), desc=f"explanations {one.name}", unit="tweet"):
        score, why = float(scores[number]), explainer(rows.loc[[number]])
        if abs(expit(why.log_odds) - score) > TOLERANCE:
            raise InputError(
                f"predictions/{one.name}.parquet: tweet {number} has a score of {score:.3f}, and its fold's model says "
                f"{expit(why.log_odds):.3f}; run `dvc repro` to make both anew"
            )
        words = [[word, round(weight, 4)] for word, weight in why.words]
        about = {"classifier": one.name, "score": score, "kind": "words"}
        seen[number] = about | {"base": round(why.base, 4), "words": words}
    return seen


def replied(one: Predictions, said: dict[int, str], ids: list[int]) -> dict[int, dict[str, Any]]:
    """By id, what an LLM replied about those of the tweets that it was asked about."""
    scores = one.train.set_index("id")["score"].astype(object).where(lambda score: score.notna(), None)
    return {
        n: {"classifier": one.name, "score": scores[n], "kind": "reply", "reply": said[n]} for n in ids if n in said
    }


def main() -> None:
    params, prepared = read_params("explanations", ExplanationsParams), read_prepared()
    train = prepared.train
    classifiers, _ = read_all(prepared)
    by_name = {one.name: one for one in classifiers}
    prompts = [one.name for one in classifiers if one.school == "prompted" and params.prompts]
    replies = {name: said for name in prompts if (said := read_replies(name))}
    asked = pd.Index(train["id"])[train["id"].isin(set().union(*replies.values()))]
    pool = asked if len(asked) >= params.tweets else pd.Index(train["id"])
    ids = telling_tweets(train, classifiers, read_params("twins", TwinsParams).pairs, pool, params.tweets)
    seen = []
    for name in params.classifiers:
        if name in by_name:
            seen.append(explained(load_explainer(name, params.steps), by_name[name], train, ids))
        else:
            print(f"explanations: passed over {name}, there are no predictions of it")
    seen += [replied(by_name[name], said, ids) for name, said in replies.items()]
    about = shown_tweets(train).astype(object)
    tweets = about.where(about.notna(), None).loc[ids].to_dict(orient="index")
    lines = [{"id": n} | tweets[n] | {"seen": [each[n] for each in seen if n in each]} for n in ids]
    write_text(OUT / "explanations.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
