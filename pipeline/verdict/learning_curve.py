"""How well one classifier scores held-out tweets after n labels: the points of its learning curve.

For each seed a fold is held out, the folds in turn, and the training rows of the others are put in an order that all classifiers
share: the subset of n labels is the first n of them, so subsets are nested; hyperparameters are tuned within a subset.

in:  data/prepared, data/embed, and what the classifier needs
out: study/learning_curve/<classifier>.parquet: size, seed, fold, id, score
run: make study   (or python -m pipeline.stage --study verdict.learning_curve naive_bayes)

Every point is kept in the store under all that determines it: an interrupted curve goes on where it was.
"""

import argparse
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from tqdm import tqdm

from pipeline.classifiers.cross_fit import Trainer, training_rows
from pipeline.classifiers.subsets import nested_order
from pipeline.contracts import (
    InputError,
    Name,
    Params,
    Prepared,
    named,
    plain_name,
    read_params,
    read_prepared,
    written_whole,
)
from pipeline.places import STUDY
from pipeline.store import store_folder

OUT = STUDY / "learning_curve"


class CurveParams(Params):
    family: str
    """Module under `pipeline` with a function `trainer`."""
    preset: str | None = None
    """What `trainer` is given: an encoder or a preset; null for nothing."""
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


def sizes_of(prepared: Prepared, params: LearningCurveParams, largest: int | None) -> list[int]:
    """The numbers of labels that every fold has training rows for, rising."""
    most = min(len(training_rows(prepared.train, fold)[0]) for fold in prepared.train["fold"].unique())
    limit = most if largest is None else min(most, largest)
    return sorted({size or most for size in params.sizes if (size or most) <= limit})


def score_point(trainer: Trainer, prepared: Prepared, fold: int, size: int, seed: int) -> np.ndarray:
    """Scores of the fold's rows, shape (rows,), by a model that was given `size` labels of the other folds."""
    tweets, labels = training_rows(prepared.train, fold)
    known = nested_order(tweets, labels, seed)[:size]
    if trainer.semi_supervised:
        labels = np.where(np.isin(np.arange(len(labels)), known), labels, -1)
    else:
        tweets, labels = tweets.iloc[known], labels[known]
    return trainer.predict(trainer.fit(tweets, labels, seed), prepared.train[prepared.train["fold"] == fold])


def load_trainer(family: str, preset: str | None) -> Trainer:
    """The family's, with its params."""
    try:
        module = importlib.import_module(f"pipeline.{family}")
        trainer: Trainer = module.trainer(*([preset] if preset else []))
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"family {family}, preset {preset}: {error}") from None
    return trainer


def code_digest() -> str:
    """Hash of all of the pipeline's code that has been loaded, but for the verdict's."""
    files = {
        Path(str(module.__file__))
        for name, module in sys.modules.items()
        if name.startswith("pipeline.") and not name.startswith("pipeline.verdict.")
    }
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def stored(
    trainer: Trainer, prepared: Prepared, code: str, at: Sequence[int | str], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """The scores that `compute` finds, from the store if they are there; `at` is what they depend on beside the rest."""
    point = {"by": trainer.determined_by, "prepared": prepared.digest, "code": code, "at": list(at)}
    key = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()
    path = store_folder() / "learning_curve" / f"{key}.npy"
    if not path.exists():
        scores = compute()
        with written_whole(path) as partial, partial.open("wb") as file:
            np.save(file, scores, allow_pickle=False)
    return np.asarray(np.load(path, allow_pickle=False))


def stored_point(trainer: Trainer, prepared: Prepared, code: str, fold: int, size: int, seed: int) -> np.ndarray:
    """The scores of a point, from the store if it is there."""
    at = [fold, size, seed]
    return stored(trainer, prepared, code, at, lambda: score_point(trainer, prepared, fold, size, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=plain_name, help="a key of learning_curve.curves in study/params.yaml")
    name = parser.parse_args().classifier
    params = read_params("learning_curve", LearningCurveParams)
    curve = named(name, params.curves, "learning_curve.classifiers")
    trainer = load_trainer(curve.family, curve.preset)
    prepared = trainer.with_inputs(read_prepared())
    code, folds = code_digest(), sorted(prepared.train["fold"].unique().tolist())
    # Seeds outside, sizes inside: whenever it is interrupted, whole curves are there.
    points = [(seed, size) for seed in range(curve.seeds) for size in sizes_of(prepared, params, curve.largest)]
    found = []
    for seed, size in tqdm(points, desc=f"learning_curve {name}", unit="point"):
        fold = folds[seed % len(folds)]
        scores = stored_point(trainer, prepared, code, fold, size, seed)
        ids = prepared.train.loc[prepared.train["fold"] == fold, "id"].to_numpy()
        found.append(pd.DataFrame({"size": size, "seed": seed, "fold": fold, "id": ids, "score": scores}))
    frame = pd.concat(found, ignore_index=True)
    frame.attrs = {"name": name, "prepared": prepared.digest}
    with written_whole(OUT / f"{name}.parquet") as partial:
        frame.to_parquet(partial, index=False)
