"""How much a blend gains from scores of models that have seen the labels of the fold it decides.

The weights for a fold are fitted on the out-of-fold scores of the other folds, and the models that made those have learnt from
the fold itself: its labels reach the weights, by a long way round. Here the cheap classifiers are blended twice, by the same
models' scores of each fold, and by weights that were fitted

- cross-fitted: on those scores of the other folds, as the stage blend does it
- nested: on scores of the other folds by models that have not learnt from this one either

Nested weights are fitted on models that learnt from one fold less, so they lose a little where the others gain a little: the
difference is a bound.

in:  data/prepared, data/embed, and what the classifiers need
out: nested/: nested.csv, metrics.json, table.md
run: dvc repro nested   (or python -m pipeline.verdict.nested)

All scores are kept in the store, as those of learning curves are.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import expit
from tqdm import tqdm

from pipeline.classifiers.cross_fit import Trainer, training_rows
from pipeline.contracts import InputError, Params, Prepared, read_params, read_prepared, run, write_text, written_whole
from pipeline.verdict.blending import BlendParams, cross_fitted, fit_weights, to_log_odds
from pipeline.verdict.evaluate import EvaluateParams, compare_pair, score_classifier
from pipeline.verdict.learning_curve import LearningCurveParams, code_digest, load_trainer, stored
from pipeline.verdict.scored import decided_rightly
from pipeline.verdict.table import markdown, with_interval

OUT = Path("nested")
WAYS = {"best_single": "best single classifier", "cross_fitted": "cross-fitted weights", "nested": "nested weights"}


class NestedParams(Params):
    classifiers: list[str] = Field(min_length=2)
    """Keys of learning_curve.curves."""


def score_without(trainer: Trainer, prepared: Prepared, out: tuple[int, ...]) -> np.ndarray:
    """Scores of the rows of the folds `out`, in their order, by a model of the rows of the other folds."""
    train = prepared.train
    held_out = train["fold"].isin(out)
    tweets, labels = training_rows(train[~held_out], out[0])
    return trainer.predict(trainer.fit(tweets, labels, 0), train[held_out])


def scores_by_fold_out(trainer: Trainer, prepared: Prepared, code: str, progress: "tqdm[Any]") -> np.ndarray:
    """Scores of shape (n, folds): of each row by a model that has seen neither its own fold nor that of the column.

    Where the two are the same these are the ordinary out-of-fold scores.
    """
    fold_of_row = prepared.train["fold"].to_numpy()
    folds = np.unique(fold_of_row).tolist()
    scores = np.empty((len(fold_of_row), len(folds)))
    for a, b in itertools.combinations_with_replacement(folds, 2):
        out = tuple(sorted({a, b}))
        found = np.empty(len(fold_of_row))
        found[np.isin(fold_of_row, out)] = stored(
            trainer, prepared, code, ["without", *out], lambda out=out: score_without(trainer, prepared, out)
        )
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


def render(table: pd.DataFrame, found: dict[str, Any]) -> str:
    """The page: what either way of fitting weights gains, and by how much the two differ."""

    def points(row: Any, key: str) -> str:
        value, low, high = (100 * row[name] for name in (key, f"{key}_low", f"{key}_high"))
        return "–" if pd.isna(value) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"

    rows = [
        [WAYS[str(way)], with_interval(row, "accuracy"), f"{row['log_loss']:.4f}", points(row, "gain")]
        for way, row in table.iterrows()
    ]
    return (
        f"The blend of {', '.join(found['classifiers'])}, out-of-fold, in brackets the 95 % interval by bootstrap over "
        "near-duplicate groups; the best single classifier is chosen on the same rows:\n\n"
        f"{markdown(['Decided by', 'Accuracy', 'Log loss', 'Gain, points'], rows)}\n\n"
        f"Cross-fitted weights are {points(found, 'leak')} points more accurate than nested ones, to which no label of the fold "
        "they decide has come.\n"
    )


def main() -> None:
    params, blending = read_params("nested", NestedParams), read_params("blend", BlendParams)
    curves, tweets = read_params("learning_curve", LearningCurveParams).curves, read_prepared()
    if unknown := [name for name in params.classifiers if name not in curves]:
        raise InputError(f"nested.classifiers: {unknown[0]} is no key of learning_curve.curves")
    labels, folds, groups = (tweets.train[column].to_numpy() for column in ("target", "fold", "group"))
    count = len(np.unique(folds))
    if count < 3:
        raise InputError(f"nested: needs 3 folds, or none are left to learn from; prepare.folds is {count}")
    trainers = [load_trainer(curves[name]) for name in params.classifiers]
    code = code_digest()
    with tqdm(total=len(trainers) * count * (count + 1) // 2, desc="nested", unit="model") as progress:
        scores = np.stack(
            [scores_by_fold_out(one, one.with_inputs(tweets), code, progress) for one in trainers], axis=1
        )
    log_odds = to_log_odds(scores)
    own_fold = log_odds[np.arange(len(labels)), :, np.searchsorted(np.unique(folds), folds)]
    target = tweets.train.set_index("id")[["target", "group"]]
    singles = [target.assign(score=expit(one)) for one in own_fold.T]
    rows = {
        "best_single": max(singles, key=lambda one: float(decided_rightly(one).mean())),
        "cross_fitted": target.assign(score=expit(cross_fitted(own_fold, labels, folds, groups, blending)[0])),
        "nested": target.assign(score=expit(blend_nested(log_odds, labels, folds, groups, blending))),
    }
    draws = EvaluateParams(draws=blending.draws, seed=blending.seed)
    lines = {}
    for way, one in rows.items():
        of_way, gain = score_classifier(one, one.index, draws), compare_pair(one, rows["best_single"], draws)
        lines[way] = {key: of_way[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "log_loss")}
        if way != "best_single":
            lines[way] |= {"gain": gain["difference"], "gain_low": gain["low"], "gain_high": gain["high"]}
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("way")
    leak = compare_pair(rows["cross_fitted"], rows["nested"], draws)
    found = {
        "classifiers": params.classifiers,
        "gain_cross_fitted": float(table.loc["cross_fitted", "gain"]),
        "gain_nested": float(table.loc["nested", "gain"]),
        "leak": leak["difference"],
        "leak_low": float(leak["low"]),
        "leak_high": float(leak["high"]),
    }
    with written_whole(OUT / "nested.csv") as partial:
        table.round(5).to_csv(partial)
    write_text(OUT / "metrics.json", json.dumps(found, indent=2) + "\n")
    write_text(OUT / "table.md", render(table, found))


if __name__ == "__main__":
    run(main)
