"""Score every train row by a model that never saw its group, and every test row by the average of those models."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from tqdm import tqdm

from pipeline.contracts import (
    Costs,
    Prepared,
    School,
    peak_memory_mb,
    predictions_frame,
    write_costs,
    write_predictions,
)

Fitted = TypeVar("Fitted")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class CrossFit(Generic[Kept]):
    """`train` out-of-fold scores of shape (n_train,), `test` mean log-odds over the folds as scores of shape (n_test,)."""

    train: np.ndarray
    test: np.ndarray
    kept: list[Kept]
    """What was kept of each fold's model; the models themselves are let go, they may be large."""
    fit_seconds: float
    predict_ms_per_tweet: float


def mean_log_odds(scores: np.ndarray) -> np.ndarray:
    """Probabilities of shape (models, n) to one per row, shape (n,): the logistic of their mean log-odds.

    Scores are held 1e-6 off 0 and 1, so that no single model's certainty outvotes all others.
    """
    scores = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(expit(logit(scores).mean(axis=0)))


def training_rows(train: pd.DataFrame, held_out: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The tweets of the other folds that training may learn from, and their labels, shape (n,)."""
    rows = train[(train["fold"] != held_out) & train["train_target"].notna()]
    return rows, rows["train_target"].to_numpy(dtype="int64")


def cross_fit(
    name: str,
    prepared: Prepared,
    fit: Callable[[int, pd.DataFrame, np.ndarray], Fitted],
    predict: Callable[[Fitted, pd.DataFrame], np.ndarray],
    keep: Callable[[Fitted], Kept],
) -> CrossFit[Kept]:
    """Fit one model per fold by `fit(fold, tweets, labels)`, let it score the fold's rows and all test rows, `keep` a part."""
    train, test = prepared.train, prepared.test
    folds = sorted(train["fold"].unique().tolist())
    out_of_fold, on_test = np.full(len(train), np.nan), np.empty((len(folds), len(test)))
    kept, fitting, predicting = [], 0.0, 0.0
    for i, fold in enumerate(tqdm(folds, desc=name, unit="fold")):
        start = time.perf_counter()
        model = fit(fold, *training_rows(train, fold))
        fitting += (fitted := time.perf_counter()) - start
        held_out = (train["fold"] == fold).to_numpy()
        out_of_fold[held_out] = predict(model, train[held_out])
        on_test[i] = predict(model, test)
        predicting += time.perf_counter() - fitted
        kept.append(keep(model))
    scored = len(train) + len(folds) * len(test)
    return CrossFit(out_of_fold, mean_log_odds(on_test), kept, fitting, 1000 * predicting / scored)


def write_cross_fit(
    name: str, school: School, prepared: Prepared, fitted: CrossFit[Kept], *, trainable: int, total: int
) -> None:
    """Write `predictions/<name>.parquet` and `costs/<name>.json`; the parameter counts are those of one fold's model."""
    train = predictions_frame(prepared.train, "train", fitted.train)
    test = predictions_frame(prepared.test, "test", fitted.test)
    write_predictions(name, [train, test], prepared, school, "mean log-odds")
    write_costs(
        name,
        Costs(
            fit_seconds=fitted.fit_seconds,
            predict_ms_per_tweet=fitted.predict_ms_per_tweet,
            peak_memory_mb=peak_memory_mb(),
            trainable_parameters=trainable,
            total_parameters=total,
        ),
    )
