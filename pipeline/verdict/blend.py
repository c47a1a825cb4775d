"""Blend all classifiers that scored every tweet, by weights on their log-odds, and hold it against the best single one.

The rows of a fold are scored by weights that were fitted on the other folds, the test rows by weights fitted on all. The best
single classifier is chosen on the very rows that the two are compared on, which favours it; beside it stands the one that is
best on the other folds, which is chosen as the weights are.

in:  data/prepared, predictions/*.parquet, costs/*.json
out: blend/: blend.parquet (the predictions contract), weights.csv, metrics.json, table.md
run: dvc repro blend   (or python -m pipeline.verdict.blend)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from pipeline.contracts import (
    InputError,
    Predictions,
    predictions_frame,
    read_costs,
    read_params,
    read_prepared,
    run,
    write_predictions,
    write_text,
    written_whole,
)
from pipeline.verdict.blending import BlendParams, Weights, cross_fitted, fit_weights, to_log_odds
from pipeline.verdict.evaluate import EvaluateParams, compare_pair, score_classifier
from pipeline.verdict.scored import decided_rightly, read_all, scored_rows, whole
from pipeline.verdict.table import markdown, number, p_value, with_interval
from pipeline.verdict.threshold import fit_rule

NAME = "blend"
OUT = Path(NAME)
ALL_ROWS = -1
"""The fold of the weights that were fitted on all rows: none is held out."""


def log_odds_of(classifiers: list[Predictions], split: str) -> np.ndarray:
    """The classifiers' log-odds for the tweets of a split, shape (tweets, classifiers)."""
    return to_log_odds(np.stack([getattr(one, split)["score"] for one in classifiers], axis=1))


def best_of_other_folds(singles: dict[str, pd.DataFrame], folds: np.ndarray) -> pd.DataFrame:
    """The `scored_rows` of a classifier that is chosen for each fold: the most accurate one on the others."""
    right = pd.DataFrame({name: decided_rightly(rows) for name, rows in singles.items()})
    chosen = next(iter(singles.values())).copy()
    for fold in np.unique(folds):
        best = str(right[folds != fold].mean().idxmax())
        chosen.loc[folds == fold, "score"] = singles[best].loc[folds == fold, "score"]
    return chosen


def compare(
    blended: pd.DataFrame, singles: dict[str, pd.DataFrame], folds: np.ndarray, params: BlendParams
) -> dict[str, Any]:
    """The blend against the best single classifier, as in `metrics.json`; all frames are those of `scored_rows`."""
    draws = EvaluateParams(draws=params.draws, seed=params.seed)
    best = max(singles, key=lambda name: float(decided_rightly(singles[name]).mean()))
    found: dict[str, Any] = {"classifiers": len(singles), "best_single": best}
    for which, rows in (("best_single", singles[best]), (NAME, blended)):
        scores = score_classifier(rows, rows.index, draws)
        found |= {f"accuracy_{which}{end}": float(scores[f"accuracy{end}"]) for end in ("", "_low", "_high")}
        found |= {f"{metric}_{which}": scores[metric] for metric in ("f1", "log_loss")}
    against_best = compare_pair(blended, singles[best], draws)
    against_chosen = compare_pair(blended, best_of_other_folds(singles, folds), draws)
    for gain, pair in (("gain", against_best), ("gain_other_folds", against_chosen)):
        found |= {gain: pair["difference"], f"{gain}_low": float(pair["low"]), f"{gain}_high": float(pair["high"])}
    rule = fit_rule(NAME, blended, folds)
    return found | {
        "only_blend_right": against_best["only_a_right"],
        "only_best_single_right": against_best["only_b_right"],
        "mcnemar_p": against_best["mcnemar_p"],
        "threshold": rule.fitted_threshold,
        "accuracy_at_threshold": rule.accuracy_cross_fitted,
        "used": len(singles) > 1 and found["gain"] > 0 and found["gain_low"] > -params.margin,
    }


def weights_table(names: list[str], weights: dict[int, Weights]) -> pd.DataFrame:
    """`weights.csv`: each classifier's weight for the rows of each fold, and how the weights of that fold were found."""
    return pd.DataFrame(
        {"classifier": name, "fold": fold, "weight": weight, "intercept": fitted.intercept, "method": fitted.method}
        for fold, fitted in weights.items()
        for name, weight in zip(names, fitted.weights, strict=True)
    )


def render(found: dict[str, Any], weights: pd.DataFrame, accuracies: dict[str, float], left_out: list[str]) -> str:
    """The page: what the blend gains, and whose weight it carries."""

    def points(gain: str) -> str:
        value, low, high = (100 * found[key] for key in (gain, f"{gain}_low", f"{gain}_high"))
        return f"{value:+.2f} points [{low:+.2f}, {high:+.2f}]"

    blend, single = (with_interval(pd.Series(found), f"accuracy_{which}") for which in (NAME, "best_single"))
    by_fold = weights.pivot_table(index="classifier", columns="fold", values="weight", sort=False)
    of_all, of_folds = by_fold[ALL_ROWS].sort_values(ascending=False), by_fold.drop(columns=ALL_ROWS)
    lightest, heaviest = of_folds.min(axis=1), of_folds.max(axis=1)
    rows = [
        [name, f"{accuracies[name]:.3f}", f"{weight:.3f}", f"{lightest[name]:.3f} to {heaviest[name]:.3f}"]
        for name, weight in of_all.items()
    ]
    methods = weights.groupby("fold")["method"].first()
    scores = [
        [NAME, blend, f"{found['f1_blend']:.3f}", f"{found['log_loss_blend']:.3f}"],
        [found["best_single"], single, f"{found['f1_best_single']:.3f}", f"{found['log_loss_best_single']:.3f}"],
    ]
    parts = [
        (
            f"The log-odds of {found['classifiers']} classifiers, added up by weights that were fitted on the other folds; in "
            "brackets the 95 % interval by bootstrap over near-duplicate groups:"
        ),
        markdown(["Out-of-fold", "Accuracy", "F1", "Log loss"], scores),
        (
            f"The blend gains {points('gain')} over {found['best_single']}, although that is the best on these very rows "
            f"(McNemar p {p_value(found['mcnemar_p'])}; of the rows that one of the two alone decides rightly, "
            f"{number(found['only_blend_right'])} are the blend's and {number(found['only_best_single_right'])} the other's), "
            f"and {points('gain_other_folds')} over the classifier that is best on the other folds. "
            + ("It is submitted." if found["used"] else "That is too little for it to be submitted.")
        ),
        (
            f"With the threshold that is best on the other folds its accuracy is {found['accuracy_at_threshold']:.4f}, at one "
            f"half {found['accuracy_blend']:.4f}. The classifiers that have a weight take {found['ms_per_tweet']:.1f} ms a tweet "
            "together, the embedding of the tweets not counted."
        ),
        markdown(["Classifier", "Accuracy", "Weight, all rows", "Weight by fold"], rows),
        (
            f"What holds the weights back is chosen on inner folds: {methods[ALL_ROWS]} for all rows, "
            f"{', '.join(methods.drop(ALL_ROWS))} for the folds."
        ),
    ]
    return "\n\n".join(parts + left_out) + "\n"


def main() -> None:
    params, prepared = read_params("blend", BlendParams), read_prepared()
    classifiers, left_out = read_all(prepared)
    members = [one for one in classifiers if whole(one, prepared)]
    if not members:
        raise InputError("blend: no classifier scored every tweet")
    labels, folds, groups = (prepared.train[column].to_numpy() for column in ("target", "fold", "group"))
    log_odds = log_odds_of(members, "train")
    with tqdm(total=3, desc=NAME, unit="step") as progress:
        blended, weights = cross_fitted(log_odds, labels, folds, groups, params)
        progress.update()
        weights[ALL_ROWS] = fit_weights(log_odds, labels, groups, params)
        progress.update()
        singles = {one.name: scored_rows(prepared, one) for one in members}
        rows = prepared.train.set_index("id")[["target", "group"]].assign(score=expit(blended))
        found = compare(rows, singles, folds, params)
        progress.update()
    table = weights_table(list(singles), weights)
    asked = [name for name, weight in zip(singles, weights[ALL_ROWS].weights, strict=True) if weight > 0]
    found["ms_per_tweet"] = sum(read_costs(name).predict_ms_per_tweet for name in asked)
    frames = [
        predictions_frame(prepared.train, "train", expit(blended)),
        predictions_frame(prepared.test, "test", expit(weights[ALL_ROWS](log_odds_of(members, "test")))),
    ]
    write_predictions(NAME, frames, prepared, "blend", "refit", folder=OUT)
    with written_whole(OUT / "weights.csv") as partial:
        table.round(5).to_csv(partial, index=False)
    write_text(OUT / "metrics.json", json.dumps(found, indent=2) + "\n")
    accuracies = {name: float(decided_rightly(one).mean()) for name, one in singles.items()}
    write_text(OUT / "table.md", render(found, table, accuracies, left_out))


if __name__ == "__main__":
    run(main)
