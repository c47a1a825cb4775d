"""How well one classifier scores held-out tweets after n labels: the points of its learning curve.

For each seed a fold is held out, the folds in turn, and the training rows of the others are put in an order that all classifiers
share: the subset of n labels is the first n of them, so subsets are nested; hyperparameters are tuned within a subset.

in:  data/prepared, data/embed, and what the classifier needs
out: study/learning_curve/<classifier>.parquet: size, seed, fold, id, score
run: make study   (or python -m pipeline.stage --study curves.learning_curve naive_bayes)

Every point is kept in the store: an interrupted curve goes on where it was.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from tqdm import tqdm

from pipeline.contracts import (
    InputError,
    Name,
    Params,
    Prepared,
    named,
    plain_name,
    read_params,
    read_parquet,
    read_prepared,
    written_whole,
)
from pipeline.curves.points import made_by, stored_point
from pipeline.fit.classifier import Classifier, read_classifier_of
from pipeline.fit.cross_fit import training_rows
from pipeline.places import STUDY

OUT = STUDY / "learning_curve"


class CurveParams(Params):
    family: str
    """Module of its family under `pipeline`."""
    preset: str | None = None
    """What it is read with: an encoder, or a key of its section; null for nothing."""
    seeds: int = Field(10, ge=1)
    """Subsets of each size, the folds held out in turn."""
    largest: int | None = Field(None, ge=1)
    """No subsets of more labels; null for all."""


class LearningCurveParams(Params):
    sizes: list[int | None] = Field([16, 32, 64, 128, 256, 512, 1024, 2048, 4096, None], min_length=1)
    """Numbers of labels; null for as many as the smallest training set has."""
    classifiers: list[Name]
    """Whose curves are drawn, each by a stage of its own."""
    curves: dict[str, CurveParams]
    """By classifier."""

    @model_validator(mode="after")
    def curves_are_there(self) -> Self:
        for name in self.classifiers:
            named(name, self.curves, "learning_curve.classifiers")
        return self


def read_curve_classifier(name: str, params: LearningCurveParams, where: str) -> Classifier:
    """The classifier of a key of `curves`; `where` begins the message if there is none."""
    curve = named(name, params.curves, where)
    return read_classifier_of(curve.family, curve.preset, f"learning_curve.curves: {name}")


def sizes_of(prepared: Prepared, params: LearningCurveParams, largest: int | None) -> list[int]:
    """The numbers of labels that every fold has training rows for, rising."""
    most = min(len(training_rows(prepared.train, fold)[0]) for fold in prepared.train["fold"].unique())
    limit = most if largest is None else min(most, largest)
    return sorted({size or most for size in params.sizes if (size or most) <= limit})


def draw_curve(
    name: str, tweets: pd.DataFrame, sizes: list[int], seeds: int, score: Callable[[int, int, int], np.ndarray]
) -> pd.DataFrame:
    """A row for each tweet that is scored at each point, by `score(fold, size, seed)`: scores of the fold's tweets, in order."""
    folds = sorted(tweets["fold"].unique().tolist())
    # Seeds outside, sizes inside: whenever it is interrupted, whole curves are there.
    points = [(seed, size) for seed in range(seeds) for size in sizes]
    found = []
    for seed, size in tqdm(points, desc=f"learning_curve {name}", unit="point"):
        fold = folds[seed % len(folds)]
        ids = tweets.loc[tweets["fold"] == fold, "id"].to_numpy()
        scores = score(fold, size, seed)
        found.append(pd.DataFrame({"size": size, "seed": seed, "fold": fold, "id": ids, "score": scores}))
    return pd.concat(found, ignore_index=True)


def write_curve(name: str, curve: pd.DataFrame, prepared: Prepared) -> None:
    curve.attrs = {"name": name, "prepared": prepared.digest}
    with written_whole(OUT / f"{name}.parquet") as partial:
        curve.to_parquet(partial, index=False)


def read_curve(path: Path, prepared: Prepared) -> pd.DataFrame:
    """A learning curve's points, a row for each tweet scored, with its `target` and `group`."""
    frame = read_parquet(path)
    if frame.attrs.get("prepared") != prepared.digest:
        raise InputError(f"{path}: made from other prepared tweets; run `dvc repro learning_curve@{path.stem}`")
    return frame.join(prepared.train.set_index("id")[["target", "group"]], on="id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=plain_name, help="a key of learning_curve.curves in study/params.yaml")
    name = parser.parse_args().classifier
    params = read_params("learning_curve", LearningCurveParams)
    own = read_curve_classifier(name, params, "learning_curve.classifiers")
    prepared, made, curve = own.with_inputs(read_prepared()), made_by(own), params.curves[name]
    sizes, score = sizes_of(prepared, params, curve.largest), partial(stored_point, own, prepared, made)
    write_curve(name, draw_curve(name, prepared.train, sizes, curve.seeds, score), prepared)
