"""How much a blend gains from scores of models that have seen the labels of the fold it decides.

The weights for a fold are fitted on the out-of-fold scores of the other folds, and the models that made those have learnt from
the fold itself: its labels reach the weights, by a long way round. Here the cheap classifiers are blended twice, by the same
models' scores of each fold, and by weights that were fitted

- cross-fitted: on those scores of the other folds, as the stage blend does it
- nested: on scores of the other folds by models that have not learnt from this one either

Nested weights are fitted on models that learnt from one fold less, so they lose a little where the others gain a little: the
difference is an estimate with noise of its own, of these classifiers alone.

in:  data/prepared, data/embed, and what the classifiers need
out: study/nested/: nested.csv, metrics.json, table.md
run: make study   (or python -m pipeline.stage --study curves.nested)

All scores are kept in the store, as those of learning curves are.
"""

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import expit
from tqdm import tqdm

from pipeline.compare.blend import gain_of, measured
from pipeline.compare.blending import BlendParams, cross_fitted, fit_weights, to_log_odds
from pipeline.compare.table import ACCURACY
from pipeline.contracts import (
    InputError,
    Params,
    Prepared,
    named,
    read_params,
    read_prepared,
    write_text,
    written_whole,
)
from pipeline.curves.learning_curve import LearningCurveParams
from pipeline.curves.points import made_by, stored_without
from pipeline.fit.classifier import Classifier, read_classifier_of
from pipeline.places import STUDY
from pipeline.stats.paired import compare_pair
from pipeline.tables import Column, Table, interval, page, points

OUT = STUDY / "nested"
WAYS = {"best_single": "best single classifier", "cross_fitted": "cross-fitted weights", "nested": "nested weights"}


class NestedParams(Params):
    classifiers: list[str] = Field(["naive_bayes", "logistic", "gaussian_minilm", "logistic_minilm"], min_length=2)
    """Keys of learning_curve.curves."""


def scores_by_fold_out(own: Classifier, prepared: Prepared, made: str, progress: "tqdm[Any]") -> np.ndarray:
    """Scores of shape (n, folds): of each row by a model that has seen neither its own fold nor that of the column.

    Where the two are the same these are the ordinary out-of-fold scores; `made` is what `made_by` says.
    """
    fold_of_row = prepared.train["fold"].to_numpy()
    folds = np.unique(fold_of_row).tolist()
    scores = np.empty((len(fold_of_row), len(folds)))
    for a, b in itertools.combinations_with_replacement(folds, 2):
        out = tuple(sorted({a, b}))
        found = np.empty(len(fold_of_row))
        found[np.isin(fold_of_row, out)] = stored_without(own, prepared, made, out)
        for rows, column in ((a, b), (b, a)):
            scores[fold_of_row == rows, folds.index(column)] = found[fold_of_row == rows]
        progress.update()
    return scores


def blend_nested(
    log_odds: np.ndarray, labels: np.ndarray, folds: np.ndarray, groups: np.ndarray, params: BlendParams
) -> np.ndarray:
    """The blend's log-odds of each row, shape (n,), from those of shape (n, classifiers, folds) as `scores_by_fold_out`."""
    blended = np.empty(len(labels))
    for column, fold in enumerate(np.unique(folds)):
        held_out = folds == fold
        of_fold = log_odds[:, :, column]
        blended[held_out] = fit_weights(of_fold[~held_out], labels[~held_out], groups[~held_out], params)(
            of_fold[held_out]
        )
    return blended


def scored_in_each_way(log_odds: np.ndarray, train: pd.DataFrame, params: BlendParams) -> dict[str, pd.DataFrame]:
    """As `scored_rows`, for each of `WAYS`; log-odds have shape (n, classifiers, folds), as `scores_by_fold_out`."""
    labels, folds, groups = (train[column].to_numpy() for column in ("target", "fold", "group"))
    own_fold = log_odds[np.arange(len(labels)), :, np.searchsorted(np.unique(folds), folds)]
    best = max(own_fold.T, key=lambda one: float(((one > 0) == labels).mean()))
    of_ways = {
        "best_single": best,
        "cross_fitted": cross_fitted(own_fold, labels, folds, groups, params)[0],
        "nested": blend_nested(log_odds, labels, folds, groups, params),
    }
    target = train.set_index("id")[["target", "group"]]
    return {way: target.assign(score=expit(one)) for way, one in of_ways.items()}


def compare(ways: dict[str, pd.DataFrame], params: BlendParams) -> tuple[pd.DataFrame, dict[str, float]]:
    """`nested.csv`, a row for each way, and `metrics.json`; the leak is what cross-fitted weights are above nested ones."""
    lines = {}
    for way, rows in ways.items():
        found = measured(rows, params)
        lines[way] = {key: found[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "log_loss")}
        if way != "best_single":
            lines[way] |= gain_of(compare_pair(rows, ways["best_single"], params.draws, params.seed))
    leak = gain_of(compare_pair(ways["cross_fitted"], ways["nested"], params.draws, params.seed), "leak")
    gained = {f"gain_{way}": line["gain"] for way, line in lines.items() if way != "best_single"}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("way"), gained | leak


def render(table: pd.DataFrame, leak: dict[str, float], classifiers: list[str]) -> str:
    """The page: what either way of fitting weights gains, and by how much the two differ."""
    decided_by = Column("Decided by", lambda row: WAYS[row["way"]])
    columns = [decided_by, ACCURACY, Column("Log loss", "log_loss", ".4f"), points("Gain, points", "gain")]
    return page(
        f"The blend of {', '.join(classifiers)}, out-of-fold, in brackets the 95 % interval by bootstrap over "
        "near-duplicate groups; the best single classifier is chosen on the same rows:",
        Table(table.reset_index(), columns).markdown(),
        f"Cross-fitted weights are {interval(leak, 'leak', '+.2f', 100)} points more accurate than nested ones, to which no "
        "label of the fold they decide has come.",
    )


def main() -> None:
    params, blending = read_params("nested", NestedParams), read_params("blend", BlendParams)
    known, tweets = read_params("learning_curve", LearningCurveParams).curves, read_prepared()
    curves = [named(name, known, "nested.classifiers") for name in params.classifiers]
    count = tweets.train["fold"].nunique()
    if count < 3:
        raise InputError(f"nested: needs 3 folds, or none are left to learn from; prepare.folds is {count}")
    families = [read_classifier_of(one.family, one.preset, "nested.classifiers") for one in curves]
    with tqdm(total=len(families) * count * (count + 1) // 2, desc="nested", unit="model") as progress:
        scores = [scores_by_fold_out(one, one.with_inputs(tweets), made_by(one), progress) for one in families]
    ways = scored_in_each_way(to_log_odds(np.stack(scores, axis=1)), tweets.train, blending)
    table, found = compare(ways, blending)
    with written_whole(OUT / "nested.csv") as unfinished:
        table.round(5).to_csv(unfinished)
    write_text(OUT / "metrics.json", json.dumps(found, indent=2) + "\n")
    write_text(OUT / "table.md", render(table, found, params.classifiers))
