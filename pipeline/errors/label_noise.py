"""Labels that are probably wrong, by confident learning, and what a training without them would be worth.

Confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068): how many labels of a class are wrong is estimated
from the rows that score at least as high for the other class as rows of that class do on average; so many of them, those whose
scores contradict their label most, are suspected.
"""

from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from tqdm import tqdm

from pipeline.contracts import Prepared, near_duplicates
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import mean_log_odds, training_rows

Treatment = Literal["keep", "drop", "relabel"]
TREATMENTS: tuple[Treatment, ...] = ("keep", "drop", "relabel")


def suspect(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which labels contradict the scores of models that have not seen them, none if all are the same; each of shape (n,)."""
    if len(np.unique(labels)) < 2:
        return np.zeros(len(labels), dtype=bool)
    return np.asarray(find_label_issues(labels, np.stack([1 - scores, scores], axis=1), n_jobs=1), dtype=bool)


def platt_scaled_mean(scores: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The mean log-odds of several classifiers as probabilities, by Platt scaling on the other folds.

    Scores have shape (classifiers, n); the result, like targets and folds, has shape (n,).
    """
    mean, scaling = logit(mean_log_odds(scores))[:, None], LogisticRegression(C=np.inf)
    return np.asarray(
        cross_val_predict(scaling, mean, targets, cv=PredefinedSplit(folds), method="predict_proba")[:, 1]
    )


def list_suspects(train: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """The suspected labels of the prepared train rows by `quality`, P(label | tweet), worst first; scores have shape (n,).

    `conflict`: another of its near-duplicates has the other label.
    """
    targets = train["target"].to_numpy()
    quality = np.where(targets == 1, scores, 1 - scores)
    conflict = train.groupby(near_duplicates(train))["target"].transform("nunique") > 1
    table = train.assign(suggested=1 - targets, quality=quality, conflict=conflict)[suspect(targets, scores)]
    columns = ["id", "target", "suggested", "quality", "keyword", "raw_text", "group", "conflict"]
    return table.sort_values(["quality", "id"])[columns]


def inner_scores(own: Classifier, train: pd.DataFrame, progress: "tqdm[Any]") -> dict[int, np.ndarray]:
    """By held-out fold the scores of all other rows, shape (n,), each by a model that saw neither that fold nor the row's own.

    One model serves two: with a held out it scores b, with b held out a.
    """
    folds = train["fold"].to_numpy()
    found = {fold: np.full(len(train), np.nan) for fold in np.unique(folds).tolist()}
    for a, b in combinations(found, 2):
        model = own.fit(*training_rows(train[folds != a], b), 0)
        for held_out, scored in ((a, b), (b, a)):
            found[held_out][folds == scored] = own.predict(model, train[folds == scored])
        progress.update()
    return found


def suspected_in_training(
    train: pd.DataFrame, scores: np.ndarray, held_out: int
) -> tuple[pd.DataFrame, Any, np.ndarray]:
    """The training rows of the other folds, their labels, and which of these are suspected by `inner_scores`."""
    tweets, labels = training_rows(train, held_out)
    return tweets, labels, suspect(labels, scores[train.index.isin(tweets.index)])


def compare_treatments(
    own: Classifier, prepared: Prepared, name: str = ""
) -> tuple[dict[Treatment, np.ndarray], float]:
    """Out-of-fold scores of each train row, shape (n,), by models that kept, dropped or turned the labels suspected in training.

    And how many these are in a training set, on average.
    """
    train, folds = prepared.train, sorted(prepared.train["fold"].unique().tolist())
    scores = {treatment: np.full(len(train), np.nan) for treatment in TREATMENTS}
    suspects = []
    models = len(folds) * (len(folds) - 1) // 2 + len(folds) * len(TREATMENTS)
    with tqdm(total=models, desc=f"errors {name}", unit="model") as progress:
        inner = inner_scores(own, train, progress)
        for fold in folds:
            held_out = (train["fold"] == fold).to_numpy()
            tweets, labels, suspected = suspected_in_training(train, inner[fold], fold)
            suspects.append(int(suspected.sum()))
            treated: dict[Treatment, tuple[pd.DataFrame, np.ndarray]] = {
                "keep": (tweets, labels),
                "drop": (tweets[~suspected], labels[~suspected]),
                "relabel": (tweets, np.where(suspected, 1 - labels, labels)),
            }
            for treatment, rows_and_labels in treated.items():
                model = own.fit(*rows_and_labels, 0)
                scores[treatment][held_out] = own.predict(model, train[held_out])
                progress.update()
    return scores, float(np.mean(suspects))
