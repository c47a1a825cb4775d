"""How much a blend gains from scores of models that have seen the labels of the fold it decides.

run: python -m benchmarks.nested      (after `dvc repro embed@minilm`; a minute on 646 tweets)

The weights for a fold are fitted on the out-of-fold scores of the other folds, and the models that made those have learnt from
the fold itself: its labels reach the weights, by a long way round. Here cheap classifiers are blended twice, by the same models'
scores of each fold, and by weights that were fitted

- cross-fitted: on those scores of the other folds, as the stage blend does it
- nested: on scores of the other folds by models that have not learnt from this one either

Nested weights are fitted on models that learnt from one fold less, so they lose a little where the others gain a little: the
difference is an estimate with noise of its own, of these classifiers alone.
"""

import argparse
import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from pipeline.compare.blend import measured
from pipeline.compare.blend_weights import BlendParams, cross_fitted, fit_weights, to_log_odds
from pipeline.contracts import InputError, Prepared, plain_name, read_params, read_prepared
from pipeline.curves.learning_curve import LearningCurveParams, read_curve_classifier
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import training_rows
from pipeline.process import run
from pipeline.stats.paired import compare_pair

CHEAP = ["naive_bayes", "logistic", "gaussian_minilm", "logistic_minilm"]


def scores_by_fold_out(own: Classifier, prepared: Prepared, progress: "tqdm[Any]") -> np.ndarray:
    """Scores of shape (n, folds): of each row by a model that has seen neither its own fold nor that of the column.

    Where the two are the same these are the ordinary out-of-fold scores.
    """
    train, fold_of_row = prepared.train, prepared.train["fold"].to_numpy()
    folds = np.unique(fold_of_row).tolist()
    scores = np.empty((len(train), len(folds)))
    for a, b in itertools.combinations_with_replacement(folds, 2):
        model = own.fit(*training_rows(train[fold_of_row != b], a), 0)
        for held_out, column in {(a, b), (b, a)}:
            rows = fold_of_row == held_out
            scores[rows, folds.index(column)] = own.predict(model, train[rows])
        progress.update()
    return scores


def blend_nested(
    log_odds: np.ndarray, labels: np.ndarray, folds: np.ndarray, groups: np.ndarray, params: BlendParams
) -> np.ndarray:
    """The blend's log-odds of each row, shape (n,), from those of shape (n, classifiers, folds) as `scores_by_fold_out`."""
    blended = np.empty(len(labels))
    for column, fold in enumerate(np.unique(folds)):
        others, of_fold = folds != fold, log_odds[:, :, column]
        weights = fit_weights(of_fold[others], labels[others], groups[others], params)
        blended[~others] = weights(of_fold[~others])
    return blended


def scored_in_each_way(log_odds: np.ndarray, train: pd.DataFrame, params: BlendParams) -> dict[str, pd.DataFrame]:
    """As `scored_rows`, for each way to decide; log-odds have shape (n, classifiers, folds), as `scores_by_fold_out`."""
    labels, folds, groups = (train[column].to_numpy() for column in ("target", "fold", "group"))
    own_fold = log_odds[np.arange(len(labels)), :, np.searchsorted(np.unique(folds), folds)]
    of_ways = {
        "best single": max(own_fold.T, key=lambda one: float(((one > 0) == labels).mean())),
        "cross-fitted": cross_fitted(own_fold, labels, folds, groups, params)[0],
        "nested": blend_nested(log_odds, labels, folds, groups, params),
    }
    target = train.set_index("id")[["target", "group"]]
    return {way: target.assign(score=expit(one)) for way, one in of_ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifiers", type=plain_name, nargs="*", default=CHEAP, help="of learning_curve.curves")
    names, params = parser.parse_args().classifiers, read_params("blend", BlendParams)
    curves, tweets = read_params("learning_curve", LearningCurveParams), read_prepared()
    if (count := tweets.train["fold"].nunique()) < 3:
        raise InputError(f"nested: needs 3 folds, or none are left to learn from; prepare.folds is {count}")
    families = [read_curve_classifier(name, curves, "nested") for name in names]
    with tqdm(total=len(families) * count * (count + 1) // 2, desc="nested", unit="model") as progress:
        scores = [scores_by_fold_out(one, one.with_inputs(tweets), progress) for one in families]
    ways = scored_in_each_way(to_log_odds(np.stack(scores, axis=1)), tweets.train, params)
    table = pd.DataFrame.from_dict({way: measured(rows, params) for way, rows in ways.items()}, orient="index")
    print(table[["accuracy", "accuracy_low", "accuracy_high", "log_loss"]].to_string(float_format="{:.4f}".format))
    for a, b in (("cross-fitted", "best single"), ("nested", "best single"), ("cross-fitted", "nested")):
        pair = compare_pair(ways[a], ways[b], params.draws, params.seed)
        difference, low, high = (100 * float(pair[key]) for key in ("difference", "low", "high"))
        print(f"{a} − {b}: {difference:+.2f} points [{low:+.2f}, {high:+.2f}]")


if __name__ == "__main__":
    run(main)
