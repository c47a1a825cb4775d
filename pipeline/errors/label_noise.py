"""Labels that are probably wrong, by confident learning, and what a training without them would be worth.

Confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068): how many labels of a class are wrong is estimated
from the rows that score at least as high for the other class as rows of that class do on average; so many of them, those whose
scores contradict their label most, are suspected.
"""

from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from tqdm import tqdm

from pipeline.contracts import Prepared, near_duplicates
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import mean_log_odds, training_rows

Treatment = Literal["keep", "drop", "relabel"]
TREATMENTS: tuple[Treatment, ...] = ("keep", "drop", "relabel")


class Suspected(NamedTuple):
    """`mislabelled` or not, and the `quality` of each label: P(label | tweet), both of shape (n,)."""

    mislabelled: np.ndarray
    quality: np.ndarray


def suspect(labels: np.ndarray, scores: np.ndarray) -> Suspected:
    """Which labels contradict the scores of models that have not seen them; both of shape (n,).

    Nothing is suspected where all labels are the same: there is no other class to belong to.
    """
    p = np.stack([1 - scores, scores], axis=1)
    quality = np.where(labels == 1, scores, 1 - scores)
    if len(np.unique(labels)) < 2:
        return Suspected(np.zeros(len(labels), dtype=bool), quality)
    mislabelled = find_label_issues(labels, p, n_jobs=1)
    return Suspected(np.asarray(mislabelled, dtype=bool), np.asarray(get_label_quality_scores(labels, p)))


def platt_scaled_mean(scores: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The mean log-odds of several classifiers as probabilities, by Platt scaling on the other folds.

    Scores have shape (classifiers, n); the result, like targets and folds, has shape (n,).
    """
    mean = logit(mean_log_odds(scores))[:, None]
    calibrated = cross_val_predict(
        LogisticRegression(C=np.inf), mean, targets, cv=PredefinedSplit(folds), method="predict_proba"
    )
    return np.asarray(calibrated[:, 1])


def list_suspects(train: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """The suspected labels of the prepared train rows, worst first; scores have shape (n,).

    `conflict`: another of its near-duplicates has the other label.
    """
    targets = train["target"].to_numpy()
    found = suspect(targets, scores)
    conflict = train.groupby(near_duplicates(train))["target"].transform("nunique") > 1
    table = train.assign(suggested=1 - targets, quality=found.quality, conflict=conflict)[found.mislabelled]
    columns = ["id", "target", "suggested", "quality", "keyword", "raw_text", "group", "conflict"]
    return table.sort_values(["quality", "id"])[columns]


def treat(
    tweets: pd.DataFrame, labels: np.ndarray, suspected: np.ndarray, treatment: Treatment
) -> tuple[pd.DataFrame, np.ndarray]:
    """The training rows and labels with the suspected ones kept, dropped or given the other label."""
    if treatment == "drop":
        return tweets[~suspected], labels[~suspected]
    return tweets, np.where(suspected, 1 - labels, labels) if treatment == "relabel" else labels


def inner_scores(own: Classifier, train: pd.DataFrame, progress: "tqdm[Any]") -> dict[tuple[int, int], np.ndarray]:
    """Scores of the training rows of fold b, by a model that saw neither a nor b, under (a, b).

    For a as the held-out fold these are the out-of-fold scores of an inner cross-fit; one model serves (a, b) and (b, a).
    """
    found = {}
    for a, b in combinations(sorted(train["fold"].unique().tolist()), 2):
        model = own.fit(*training_rows(train[train["fold"] != a], b), 0)
        for held_out, scored in ((a, b), (b, a)):
            rows = train[(train["fold"] == scored) & train["train_target"].notna()]
            found[held_out, scored] = own.predict(model, rows)
        progress.update()
    return found


def suspected_in_training(
    train: pd.DataFrame, scores: dict[tuple[int, int], np.ndarray], held_out: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The training rows of the other folds, their labels, and which of these are suspected: nothing of the held-out fold."""
    tweets, labels = training_rows(train, held_out)
    p = np.empty(len(labels))
    for fold in tweets["fold"].unique():
        p[(tweets["fold"] == fold).to_numpy()] = scores[held_out, fold]
    return tweets, labels, suspect(labels, p).mislabelled


class Treated(NamedTuple):
    """What a treatment comes to: out-of-fold scores of shape (n,), and how many labels of a training set it took away."""

    scores: np.ndarray
    trained_without: float


def compare_treatments(own: Classifier, prepared: Prepared, name: str = "") -> dict[Treatment, Treated]:
    """Every train row scored by models that kept, dropped or turned the labels suspected inside their training folds."""
    train, folds = prepared.train, sorted(prepared.train["fold"].unique().tolist())
    scores = {treatment: np.full(len(train), np.nan) for treatment in TREATMENTS}
    without: dict[Treatment, list[int]] = {treatment: [] for treatment in TREATMENTS}
    models = len(folds) * (len(folds) - 1) // 2 + len(folds) * len(TREATMENTS)
    with tqdm(total=models, desc=f"errors {name}", unit="model") as progress:
        inner = inner_scores(own, train, progress)
        for fold in folds:
            held_out = (train["fold"] == fold).to_numpy()
            tweets, labels, suspected = suspected_in_training(train, inner, fold)
            for treatment in TREATMENTS:
                model = own.fit(*treat(tweets, labels, suspected, treatment), 0)
                scores[treatment][held_out] = own.predict(model, train[held_out])
                without[treatment].append(0 if treatment == "keep" else int(suspected.sum()))
                progress.update()
    return {treatment: Treated(scores[treatment], float(np.mean(without[treatment]))) for treatment in TREATMENTS}
