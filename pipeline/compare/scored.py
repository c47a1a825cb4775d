"""The rows that classifiers scored, and what their scores decide."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.compare.taking_part import predictions_of, taking_part
from pipeline.contracts import PREDICTIONS, InputError, Params, Predictions, Prepared, read_predictions
from pipeline.stats.bootstrap import bootstrap_means


class BootstrapParams(Params):
    """What all stages with intervals share."""

    draws: int = Field(1000, ge=100)
    """Of the bootstrap, for each interval."""
    seed: int = Field(0, ge=0)


class TwinsParams(Params):
    pairs: list[Annotated[tuple[str, str], Field(strict=False)]]
    """A generative and a discriminative classifier of the same features, each with hyperparameters of its own."""


def scored_rows(prepared: Prepared, predictions: Predictions) -> pd.DataFrame:
    """The train rows that a classifier covers, indexed by id: `target`, `group`, `score`."""
    scores = predictions.train.set_index("id")["score"]
    return prepared.train.set_index("id").loc[scores.index, ["target", "group"]].assign(score=scores)


def accuracy_interval(right: pd.Series, groups: pd.Series, params: BootstrapParams) -> list[float | None]:
    """Ends of the 95 % interval of the accuracy; None where a single group, or none, says nothing of it. Both are by id."""
    if not len(right):
        return [None, None]
    ends = bootstrap_means(right.to_numpy(dtype=float), groups[right.index].to_numpy(), params.draws, params.seed)
    return [None if np.isnan(end[0]) else float(end[0]) for end in ends]


def whole(predictions: Predictions, prepared: Prepared) -> bool:
    """Whether a classifier scored every train row and every test row."""
    scored = predictions.train["score"].count() + predictions.test["score"].count()
    return bool(scored == len(prepared.train) + len(prepared.test))


def read_all(prepared: Prepared, folder: Path = PREDICTIONS) -> tuple[list[Predictions], list[str]]:
    """The predictions of all that take part, made from these prepared tweets, and lines on what was left out or is not there.

    What lies in the folder without a name in the lists does not compete.
    """
    found, left_out, missing = [], [], []
    paths = {name: predictions_of(name, folder) for name in sorted(taking_part())}
    strangers = sorted({*folder.glob("*.parquet")} - {*paths.values()})
    left_out += [f"left out {path}: params.yaml names no such classifier (any more)" for path in strangers]
    for name, path in paths.items():
        try:
            if path.exists():
                found.append(read_predictions(path, prepared))
            else:
                missing.append(name)
        except InputError as error:
            left_out.append(f"left out {error}")
    if missing:
        left_out.append(f"not compared, for want of predictions: {', '.join(missing)} (failed or not run; `dvc repro`)")
    if not found:
        raise InputError(f"{folder}: no predictions to compare; {'; '.join(left_out) or 'run `dvc repro` first'}")
    return found, left_out
