"""Answers of another LLM that were got elsewhere, a bigger one's say: it is compared without its key, and nothing is sent.

in:  data/prepared, imports/<name>/*.jsonl
out: predictions/imported_<name>.parquet (and predictions/uncalibrated/...), costs/imported_<name>.json
run: dvc repro imported@gpt   (or python -m pipeline.stage prompting.imported gpt)

A line is about one tweet; all lines of a folder are of one kind:

- {"id": 123, "score": 0.93}: P(target = 1), or null for a reply that could not be read
- {"id": 123, "reply": "Yes"}: what the LLM said, read as the stage prompt reads it
- {"id": 123, "label": 1}: also "1", 1.0, true, or one of label_words

It may also say what it took: `model`, `prompt_tokens`, `completion_tokens`, `seconds`, `money`; what not all lines say is
not known. Any part of the train tweets will do; test tweets count if all are there. A tweet that was among the examples that the
LLM was shown must be left out. (A transcript of this project's goes into the store of answers, see tools/answers.py.)

No check can tell whether the LLM has read a tweet's label before: the competition's have been public since 2019.
"""

import argparse
from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic_core import from_json

from pipeline.contracts import (
    Costs,
    InputError,
    LlmCosts,
    Params,
    Prepared,
    peak_memory_mb,
    read_params,
    read_prepared,
    validated,
    write_costs,
)
from pipeline.latency import of_requests, with_latency
from pipeline.prompting.answers import Count
from pipeline.prompting.debias import debiased, usable
from pipeline.prompting.outputs import unparsed_share, write_scores
from pipeline.prompting.scoring import parse_reply


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
    score: float | None = Field(default=None, ge=0, le=1)
    reply: str = ""
    label: bool | int | float | str = 0
    model: str | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    seconds: float | None = Field(default=None, ge=0, le=1e12)
    money: float | None = Field(default=None, ge=0, le=1e12)

    @property
    def kind(self) -> str:
        return " and ".join(kind for kind in ("score", "reply", "label") if kind in self.model_fields_set)


def score_of(where: str, line: Line, label_words: list[str]) -> float | None:
    """P(target = 1), or None where a reply cannot be read."""
    if line.kind == "score":
        return line.score
    if line.kind == "reply":
        return parse_reply(line.reply, label_words)
    words = {word: number for number, names in enumerate(("0 0.0 false", "1 1.0 true")) for word in names.split()}
    if isinstance(line.label, str):
        words |= {word.strip().casefold(): number for number, word in enumerate(label_words)}
    if (said := str(line.label).strip().casefold()) not in words:
        known = ", ".join(["0", "1", *label_words])
        raise InputError(f"{where}.label: {line.label!r:.60} is none of {known} (label_words)")
    return words[said]


def read_folder(folder: Path, tweets: set[int]) -> dict[int, tuple[str, Line]]:
    """The lines of a folder's *.jsonl, and where each stands, by the ids of their tweets: all of one kind, each tweet once."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no such folder, or no *.jsonl in it; put the answers there")
    found = dict[int, tuple[str, Line]]()
    texts = {path: path.read_bytes().removeprefix(BOM_UTF8).splitlines() for path in paths}
    lines = [(f"{path}: line {number}", text) for path in paths for number, text in enumerate(texts[path], start=1)]
    for where, text in filter(lambda line: line[1].strip(), lines):
        try:
            line = validated(Line, from_json(text, allow_inf_nan=False), where)
        except ValueError as error:
            raise InputError(f"{where}: not JSON: {error}") from None
        if line.kind not in ("score", "reply", "label"):
            raise InputError(f"{where}: must have one of score, reply and label")
        if line.id not in tweets:
            raise InputError(f"{where}.id: {line.id} is not among the prepared tweets: these answers are about others")
        at, first = next(iter(found.values()), (where, line))
        if line.kind != first.kind:
            raise InputError(f"{where}: a {line.kind}, where {at} is a {first.kind}; one folder, one kind")
        if line.id in found:
            raise InputError(f"{where}.id: {line.id} is there twice, in {found[line.id][0]} too")
        found[line.id] = (where, line)
    return found


def rows_of(answered: Iterable[int], prepared: Prepared) -> pd.DataFrame:
    """The tweets that count, in their order, with `split` and `fold`; a line on test tweets that do not."""
    train, test = (rows[rows["id"].isin(set(answered))] for rows in (prepared.train, prepared.test))
    if train.empty:
        raise InputError("imported: no answer is about a train tweet, so nothing can be compared")
    if 0 < len(test) < len(prepared.test):
        print(f"left out: {len(test):,} of {len(prepared.test):,} test tweets, which count only if all are there")
        test = test.iloc[:0]
    return pd.concat([train.assign(split="train"), test.assign(split="test", fold=-1)], ignore_index=True)


def costs_of(lines: list[Line], **found: Any) -> Costs:
    """What the lines say; `found` is what else `LlmCosts` wants."""
    said = pd.DataFrame([line.model_dump() for line in lines])
    totals = said[["prompt_tokens", "completion_tokens", "seconds", "money"]].dropna(axis=1).sum()
    llm = LlmCosts(
        model=", ".join(sorted(said["model"].dropna().unique())) or None,
        endpoint="imported",
        scoring=lines[0].kind,
        example_labels=0,
        requests=len(lines),
        new_requests=0,
        **{str(name): total for name, total in totals.items()},
        **found,
    )
    costs = Costs(fit_seconds=0, peak_memory_mb=peak_memory_mb(), llm=llm)
    return with_latency(costs, of_requests([[seconds] for seconds in said["seconds"]] if llm.seconds else []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a folder of imports/, and a key of imported in params.yaml")
    which = parser.parse_args().name
    name = f"imported_{which}"
    params, prepared = read_params(f"imported.{which}", ImportedParams), read_prepared()
    found = read_folder(Path("imports") / which, {*prepared.train["id"], *prepared.test["id"]})
    rows, lines = rows_of(found, prepared), [line for _, line in found.values()]
    uncalibrated = np.array([score_of(*found[number], params.label_words) for number in rows["id"]], dtype=float)
    advice = f"are imported.{which}.label_words those that the LLM was to answer with?"
    unparsed = unparsed_share(name, uncalibrated, params.max_unparsed, f"imported.{which}.max_unparsed", advice)
    method = usable(params.calibration, hard=lines[0].kind != "score", name=name)
    scores, labels = debiased(method, uncalibrated, rows, prepared, batches=np.zeros(len(rows)))
    write_scores(name, rows, prepared, uncalibrated, scores)
    missing = int(np.isnan(scores).sum())
    write_costs(name, costs_of(lines, calibration=method, calibration_labels=labels, unparsed=missing))
    train = int((rows["split"] == "train").sum())
    print(f"{name}: {train:,} train and {len(rows) - train:,} test tweets, {unparsed:.1%} unparsed")
