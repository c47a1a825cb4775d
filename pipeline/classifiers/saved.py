"""The trained classifiers, to score new tweets with: fitted anew, as in cross-fitting, from the params of their curves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.classifiers.cross_fit import Trainer, mean_log_odds, training_rows
from pipeline.contracts import InputError, Prepared, read_params, read_prepared
from pipeline.verdict.learning_curve import LearningCurveParams, load_trainer


@dataclass(frozen=True)
class Classifier:
    """P(target = 1), shape (n,), of tweets with `text` (cleaned), `keyword`, `location` and `raw_text`."""

    name: str
    models: int
    score: Callable[[pd.DataFrame], np.ndarray] = field(repr=False)

    def __call__(self, tweets: pd.DataFrame) -> np.ndarray:
        return self.score(tweets)


def read_classifier(name: str, folder: Path = Path("models")) -> Classifier:
    curves = read_params("learning_curve", LearningCurveParams).curves
    if name not in curves:
        raise InputError(f"{folder / name}: no such model; run `dvc repro {name}`")
    trainer = load_trainer(curves[name])
    prepared = trainer.with_inputs(read_prepared())
    return fitted(name, trainer, prepared) if (name, prepared.digest) not in KNOWN else KNOWN[name, prepared.digest]


KNOWN: dict[tuple[str, str], Classifier] = {}


def fitted(name: str, trainer: Trainer, prepared: Prepared) -> Classifier:
    folds = sorted(prepared.train["fold"].unique().tolist())
    models = [trainer.fit_fold(fold, *training_rows(prepared.train, fold)) for fold in folds]

    def score(tweets: pd.DataFrame) -> np.ndarray:
        seen = trainer.read_new(tweets)
        return mean_log_odds(np.stack([trainer.predict(model, seen) for model in models]))

    KNOWN[name, prepared.digest] = Classifier(name, len(models), score)
    return KNOWN[name, prepared.digest]
