"""Score every train row by a model that never saw its group, and every test row by the average of those models."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from tqdm import tqdm

from pipeline.contracts import InputError, Prepared
from pipeline.data.folds import stratified_group_folds
from pipeline.places import results

Fitted = TypeVar("Fitted")
Kept = TypeVar("Kept")

MODELS = Path("models")
"""A folder for each trained classifier, in it one for each model that scored the test rows: `part` says which."""

REFIT = -1
"""The fold of the model that learns from all train rows: none is held out."""


def part(fold: int) -> str:
    """The folder of a fold's model inside that of its classifier."""
    return "refit" if fold == REFIT else f"fold-{fold}"


@dataclass(frozen=True)
class CrossFit(Generic[Kept]):
    """`train` out-of-fold scores of shape (n_train,), `test` scores of shape (n_test,), made as `test_rows` says."""

    train: np.ndarray
    test: np.ndarray
    test_rows: Literal["mean log-odds", "refit"]
    parts: list[str]
    """Of the models that scored the test rows."""
    kept: list[Kept]
    """What was kept of each fold's model: all of it, or what is reported where models are large."""
    fit_seconds: float


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


def inner_splits(
    labels: np.ndarray, groups: np.ndarray | pd.Series, folds: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to learn from and positions held out, for each inner fold: stratified, no group in two of them."""
    if folds > (commoner := int(np.bincount(labels).max())):
        raise InputError(f"params.yaml: inner_folds: {folds} is too many; the commoner label has {commoner} tweets")
    if folds > (count := len(np.unique(groups))):
        raise InputError(f"params.yaml: inner_folds: {folds} is too many; groups of tweets to learn from: {count}")
    fold = stratified_group_folds(labels, np.asarray(groups), folds, seed)
    return [(np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)) for held_out in range(folds)]


def cross_fit(
    name: str,
    prepared: Prepared,
    fit: Callable[[int, pd.DataFrame, np.ndarray], Fitted],
    predict: Callable[[Fitted, pd.DataFrame], np.ndarray],
    keep: Callable[[Fitted], Kept],
    *,
    refit: bool = False,
    save: Callable[[Fitted, Path], None] | None = None,
) -> CrossFit[Kept]:
    """Fit one model per fold by `fit(fold, tweets, labels)`, let it score the fold's rows and all test rows, `keep` a part.

    With `refit` the test rows are scored by one model more, fitted on all train rows as fold -1. Those that score
    the test rows are written by `save` into `models/<name>/`, which is emptied before.
    """
    if save:
        shutil.rmtree(results(MODELS) / name, ignore_errors=True)
    train, test = prepared.train, prepared.test
    folds = sorted(train["fold"].unique().tolist())
    scoring = [REFIT] if refit else folds
    out_of_fold, on_test = np.full(len(train), np.nan), []
    kept, fitting = [], 0.0
    for fold in tqdm([*folds, REFIT] if refit else folds, desc=name, unit="fold"):
        start = time.perf_counter()
        model = fit(fold, *training_rows(train, fold))
        fitting += time.perf_counter() - start
        if fold != REFIT:
            held_out = (train["fold"] == fold).to_numpy()
            out_of_fold[held_out] = predict(model, train[held_out])
        if fold in scoring:
            on_test.append(predict(model, test) if len(test) else np.empty(0))
            if save:
                save(model, results(MODELS) / name / part(fold))
        kept.append(keep(model))
    how: Literal["mean log-odds", "refit"] = "refit" if refit else "mean log-odds"
    return CrossFit(out_of_fold, mean_log_odds(np.stack(on_test)), how, list(map(part, scoring)), kept, fitting)
