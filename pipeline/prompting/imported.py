"""Answers of another LLM that were got elsewhere, a bigger one's say: it is compared without its key, and nothing is sent.

in:  data/prepared, imports/<name>/*.jsonl
out: predictions/imported_<name>.parquet (and predictions/uncalibrated/...), costs/imported_<name>.json
run: dvc repro imported@gpt   (or python -m pipeline.stage prompting.imported gpt)

A line is about one tweet; all lines of a folder are of one kind:

- {"id": 123, "score": 0.93}: P(target = 1), or null for a reply that could not be read
- {"id": 123, "reply": "Yes"}: what the LLM said, read as the stage prompt reads it
- {"id": 123, "label": 1}: or one of label_words

It may also say `text` (is it the same tweet?), `examples` (ids of labelled tweets that were shown; a tweet that was itself among
its examples, or a near-duplicate, is left out) and what it took: `model`, `prompt_tokens`, `cached_tokens`, `completion_tokens`,
`seconds`, `money`. What not all lines say is not known. Any part of the train tweets will do; test tweets count if all are there.
(A transcript of this project's goes into the store of answers instead, see `answer_store`, and the stage prompt scores it.)

No check can tell whether the LLM has read a tweet's label before: the competition's have been public since 2019.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from pipeline.contracts import (
    PREDICTIONS,
    UNCALIBRATED,
    Costs,
    InputError,
    LlmCosts,
    Params,
    Prepared,
    peak_memory_mb,
    predictions_frame,
    read_params,
    read_prepared,
    write_costs,
    write_predictions,
)
from pipeline.data.clean import clean
from pipeline.latency import of_requests, with_latency
from pipeline.prompting import scoring
from pipeline.prompting.calibration import calibrated

FOLDER = Path("imports")


class ImportedParams(Params):
    label_words: list[str] = Field(["No", "Yes"], min_length=2, max_length=2)
    """The replies that stand for target 0 and for target 1."""
    calibration: Literal["none", "batch", "platt"] = "none"
    """As for prompts: by the mean score of the rows, or by labels of other folds."""
    max_unparsed: float = Field(0.1, ge=0, le=1)
    """The largest share of replies that may be unreadable."""


class Line(Params):
    """What somebody wrote of a tweet: one of score, reply and label, and what else they know."""

    id: int
    text: str | None = None
    """The tweet as it was shown, raw or cleaned: to be sure that it is the same."""
    examples: list[int] = Field(default=[])
    """Ids of the train tweets whose labels were shown before the question."""
    model: str | None = None
    prompt_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0)


class OfScore(Line):
    score: float | None = Field(ge=0, le=1)
    """P(target = 1); null for a reply that could not be read."""


class OfReply(Line):
    reply: str


class OfLabel(Line):
    label: int | str
    """0, 1, or a label word."""


KINDS: dict[str, type[Line]] = {"score": OfScore, "reply": OfReply, "label": OfLabel}


@dataclass(frozen=True)
class Told:
    """A line, where it stands, and whether it gave the label away: the tweet, or a near-duplicate, was among its examples."""

    where: str
    kind: str
    line: Line
    gave_away: bool


def parse(text: bytes, where: str) -> tuple[str, Line]:
    """A line's kind and content; what is wrong with it as an `InputError` that names the column."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError, too
        raise InputError(f"{where}: not JSON: {error}") from None
    kinds = [kind for kind in KINDS if isinstance(values, dict) and kind in values]
    if len(kinds) != 1:
        raise InputError(f"{where}: must have one of score, reply and label")
    try:
        return kinds[0], KINDS[kinds[0]].model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}, column {column}: {first['msg']} (it is {first['input']!r:.60})") from None


def check(kind: str, line: Line, tweets: pd.DataFrame, where: str) -> Told:
    """A line held against the tweet that it is about, of all prepared ones by id; another one is an `InputError`."""
    others = "these answers are about others"
    if line.id not in tweets.index:
        raise InputError(f"{where}, column id: {line.id} is not among the prepared tweets: {others}")
    tweet = tweets.loc[line.id]
    if line.text is not None and line.text != tweet["raw_text"] and clean(line.text) != tweet["text"]:
        raise InputError(f"{where}, column text: not that of tweet {line.id}: {others}")
    for example in line.examples:
        if example not in tweets.index:
            raise InputError(f"{where}, column examples: {example} is not among the prepared tweets")
    own = any(tweets.loc[example, "group"] == tweet["group"] for example in line.examples)
    return Told(where, kind, line, own)


def read_folder(folder: Path, prepared: Prepared) -> Iterator[Told]:
    """The lines of a folder's *.jsonl, all of one kind, each tweet once."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no such folder, or no *.jsonl in it; put the answers there")
    tweets = pd.concat([prepared.train, prepared.test]).set_index("id")[["text", "raw_text", "group"]]
    places, kinds = dict[int, str](), dict[str, str]()
    for path in paths:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                where = f"{path}: line {number}"
                told = check(*parse(text, where), tweets, where)
                kinds.setdefault(told.kind, where)
                if len(kinds) > 1:
                    first = next(iter(kinds))
                    raise InputError(f"{where}: a {told.kind}, where {kinds[first]} is a {first}; one folder, one kind")
                if (before := places.setdefault(told.line.id, where)) != where:
                    raise InputError(
                        f"{where}, column id: {told.line.id} is there twice, in {before} too; one folder, one prompt"
                    )
                yield told


def score_of(one: Told, label_words: list[str]) -> float | None:
    """P(target = 1), or None where a reply cannot be read."""
    match one.line:
        case OfScore(score=score):
            return score
        case OfReply(reply=reply):
            return scoring.parse_reply(reply, label_words)
        case OfLabel(label=label):
            words = {0: 0, 1: 1} | {word.strip().casefold(): number for number, word in enumerate(label_words)}
            said = label.strip().casefold() if isinstance(label, str) else label
            if said not in words:
                known = ", ".join(["0", "1", *label_words])
                raise InputError(f"{one.where}, column label: {label!r:.60} is none of {known} (label_words)")
            return words[said]
    return None


def covered(told: list[Told], prepared: Prepared) -> tuple[pd.DataFrame, str]:
    """The tweets that count, in their order, with `fold` and `told` (a place in the list); and a line on what does not."""
    place = {one.line.id: n for n, one in enumerate(told) if not one.gave_away}
    train, test = (rows[rows["id"].isin(place)] for rows in (prepared.train, prepared.test))
    if train.empty:
        raise InputError("imported: no answer is about a train tweet, so nothing can be compared")
    left_out = []
    if given_away := sum(one.gave_away for one in told):
        left_out.append(f"{given_away:,} tweets were, or a near-duplicate was, among their own examples")
    if 0 < len(test) < len(prepared.test):
        left_out.append(f"{len(test):,} of {len(prepared.test):,} test tweets, which count only if all are there")
        test = test.iloc[:0]
    rows = pd.concat([train, test.assign(fold=-1)], ignore_index=True)
    return rows.assign(told=rows["id"].map(place)), "; ".join(left_out)


def costs_of(told: list[Told], **found: Any) -> Costs:
    """What the lines say; `found` is what else `LlmCosts` wants."""

    def total(name: str) -> Any:
        values = [getattr(one.line, name) for one in told]
        return None if None in values else sum(values)

    seconds = total("seconds")
    models = sorted({one.line.model for one in told if one.line.model is not None})
    costs = Costs(
        fit_seconds=0,
        peak_memory_mb=peak_memory_mb(),
        llm=LlmCosts(
            model=", ".join(models) or None,
            endpoint="imported",
            example_labels=len({example for one in told for example in one.line.examples}),
            requests=len(told),
            new_requests=0,
            seconds=seconds,
            **{name: total(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "money")},
            **found,
        ),
    )
    return costs if seconds is None else with_latency(costs, of_requests([[one.line.seconds or 0] for one in told]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a folder of imports/, and a key of imported in params.yaml")
    which = parser.parse_args().name
    name = f"imported_{which}"
    params, prepared = read_params(f"imported.{which}", ImportedParams), read_prepared()
    told = list(read_folder(FOLDER / which, prepared))
    rows, left_out = covered(told, prepared)
    found = [score_of(told[n], params.label_words) for n in rows["told"]]
    uncalibrated = np.array(found, dtype=float)
    unparsed = float(np.isnan(uncalibrated).mean())
    if unparsed > params.max_unparsed:
        raise InputError(
            f"{name}: {unparsed:.0%} of the replies could not be read, more than imported.{which}.max_unparsed "
            f"({params.max_unparsed:.0%}); are imported.{which}.label_words those that the LLM was to answer with?"
        )
    method = params.calibration
    if method == "batch" and told[0].kind in ("reply", "label"):
        print(f"{name}: calibration: batch cannot change replies of one word; none is done")
        method = "none"
    train, folds = (rows["fold"] != -1).to_numpy(), rows["fold"].to_numpy()
    known = prepared.train.set_index("id")["train_target"].reindex(rows["id"]).to_numpy(dtype=float, na_value=np.nan)
    scores = calibrated(
        method, uncalibrated, content_free=np.empty(0), batches=np.zeros(len(rows)), folds=folds, known=known
    )
    for folder, values in ((UNCALIBRATED, uncalibrated), (PREDICTIONS, scores)):
        frames = [
            predictions_frame(rows[train], "train", values[train]),
            predictions_frame(rows[~train], "test", values[~train]),
        ]
        write_predictions(name, frames, prepared, "prompted", "none" if train.all() else "refit", folder)
    costs = costs_of(
        told,
        scoring=told[0].kind,
        calibration=method,
        calibration_labels=int((~np.isnan(known)).sum()) if method == "platt" else 0,
        unparsed=int(np.isnan(scores).sum()),
    )
    write_costs(name, costs)
    print(
        f"{name}: {train.sum():,} train and {(~train).sum():,} test tweets, {unparsed:.1%} unparsed"
        + (f"; left out: {left_out}" if left_out else "")
    )
