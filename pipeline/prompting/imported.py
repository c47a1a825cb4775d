"""Answers of another LLM that were got elsewhere, a bigger one's say: it is compared without its key, and nothing is sent.

in:  data/prepared, imports/<name>/*.jsonl
out: predictions/imported_<name>.parquet (and predictions/uncalibrated/...), costs/imported_<name>.json
run: dvc repro imported@gpt   (or python -m pipeline.stage prompting.imported gpt)

A line is about one tweet; all lines of a folder are of one kind:

- a transcript's, of another run of the stage prompt: its answers are scored again as they would be now
- {"id": 123, "score": 0.93}: P(target = 1), or null for a reply that could not be read
- {"id": 123, "reply": "Yes"}: what the LLM said, read as the stage prompt reads it
- {"id": 123, "label": 1}: or one of label_words

It may also say `text` (is it the same tweet?), `examples` (ids of labelled tweets that were shown; a tweet that was itself among
its examples, or a near-duplicate, is left out) and what it took: `model`, `prompt_tokens`, `cached_tokens`, `completion_tokens`,
`seconds`, `money`. What not all lines say is not known. Any part of the train tweets will do; test tweets count if all are there.

No check can tell whether the LLM has read a tweet's label before: the competition's have been public since 2019.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

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
from pipeline.latency import of_requests, with_latency
from pipeline.prompting import scoring
from pipeline.prompting.calibration import calibrated
from pipeline.prompting.imported_lines import OfLabel, OfReply, OfScore, OfTranscript, Told, Usage, read_folder
from pipeline.prompting.prompt_file import Mode

FOLDER = Path("imports")


class ImportedParams(Params):
    label_words: list[str] = Field(["No", "Yes"], min_length=2, max_length=2)
    """The replies that stand for target 0 and for target 1."""
    calibration: Literal["none", "batch", "platt"] = "none"
    """As for prompts: by the mean score of the rows, or by labels of other folds."""
    max_unparsed: float = Field(0.1, ge=0, le=1)
    """The largest share of replies that may be unreadable."""


def mode_of(told: Sequence[Told]) -> Mode:
    """How a transcript's answers become scores: as they were asked for."""
    requests = [pair.request for one in told if isinstance(one.line, OfTranscript) for pair in one.line.asked]
    if any("echo" in request for request in requests):
        return "channel"
    if any(request.get("logprobs") for request in requests):
        return "logprobs"
    return "sample" if any("n" in request or "vote" in request for request in requests) else "text"


def score_of(one: Told, mode: Mode | None, label_words: list[str]) -> float | None:
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
        case OfTranscript(uncalibrated=before) if mode == "channel":  # its prior is that of the rows it was made from
            return before
    return scoring.score(mode or "text", one.answers(), label_words, 0.5)


def covered(told: list[Told], prepared: Prepared) -> tuple[pd.DataFrame, str]:
    """The tweets that count, in their order, with `fold` and `told` (a place in the list); and a line on what does not."""
    place = {one.id: n for n, one in enumerate(told) if not one.gave_away}
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


def total(used: list[Usage], name: str) -> Any:
    """The sum over all answers; None if one does not say it."""
    values = [getattr(one, name) for one in used]
    return None if None in values else sum(values)


def seconds_of(one: Told) -> list[float]:
    """What the requests about a tweet took; 0 where it is not said, or where a batch answered."""
    if isinstance(one.line, OfTranscript):
        return [0 if answer.batch else answer.seconds for answer in one.answers()]
    return [one.line.seconds or 0]


def costs_of(told: list[Told], **found: Any) -> Costs:
    """What the lines say, each question once; `found` is what else `LlmCosts` wants."""
    by_question = {key: usage for one in told for key, usage in one.used().items()}
    used = list(by_question.values())
    seconds = total(used, "seconds")
    models = sorted({one.model for one in used if one.model is not None})
    costs = Costs(
        fit_seconds=0,
        peak_memory_mb=peak_memory_mb(),
        llm=LlmCosts(
            model=", ".join(models) or None,
            endpoint="imported",
            example_labels=len(set().union(*(one.shown for one in told))),
            requests=len(used),
            new_requests=0,
            seconds=seconds,
            prompt_tokens=total(used, "prompt_tokens"),
            cached_tokens=total(used, "cached_tokens"),
            completion_tokens=total(used, "completion_tokens"),
            money=total(used, "money"),
            **found,
        ),
    )
    told_of = [seconds_of(one) for one in told if one.id is not None]
    return costs if seconds is None else with_latency(costs, of_requests(told_of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a folder of imports/, and a key of imported in params.yaml")
    which = parser.parse_args().name
    name = f"imported_{which}"
    params, prepared = read_params(f"imported.{which}", ImportedParams), read_prepared()
    lines = list(read_folder(FOLDER / which, prepared))
    told = [one for one in lines if one.id is not None]
    rows, left_out = covered(told, prepared)
    mode = mode_of(told) if told[0].kind == "transcript" else None
    found = [score_of(told[n], mode, params.label_words) for n in rows["told"]]
    uncalibrated = np.array(found, dtype=float)
    unparsed = float(np.isnan(uncalibrated).mean())
    if unparsed > params.max_unparsed:
        raise InputError(
            f"{name}: {unparsed:.0%} of the replies could not be read, more than imported.{which}.max_unparsed "
            f"({params.max_unparsed:.0%}); are imported.{which}.label_words those that the LLM was to answer with?"
        )
    method = params.calibration
    if method == "batch" and (mode == "text" or told[0].kind in ("reply", "label")):
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
        lines,
        scoring=mode or told[0].kind,
        calibration=method,
        calibration_labels=int((~np.isnan(known)).sum()) if method == "platt" else 0,
        unparsed=int(np.isnan(scores).sum()),
    )
    write_costs(name, costs)
    print(
        f"{name}: {train.sum():,} train and {(~train).sum():,} test tweets, {unparsed:.1%} unparsed"
        + (f"; left out: {left_out}" if left_out else "")
    )
