"""Blend all classifiers that scored every tweet, by weights on their log-odds, and hold it against the best single one.

The rows of a fold are scored by weights that were fitted on the other folds, the test rows by weights fitted on all. The best
single classifier is chosen on the very rows that the two are compared on, which favours it.

in:  data/prepared, predictions/*.parquet
out: blend/: blend.parquet (the predictions contract), weights.csv, comparison.json, metrics.json, table.md
run: dvc repro blend   (or python -m pipeline.stage compare.blend)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from pipeline.compare.blend_weights import ALL_ROWS, BlendParams, cross_fitted, fit_weights, to_log_odds
from pipeline.compare.scored import accuracy_interval, read_all, scored_rows, whole
from pipeline.compare.table import ACCURACY, CLASSIFIER
from pipeline.contracts import InputError, Predictions, predictions_frame, read_params, read_prepared, write_predictions
from pipeline.contracts.files import write_csv, write_text
from pipeline.stats.decisions import decided_rightly
from pipeline.stats.metrics import METRICS, weighted
from pipeline.stats.paired import compare_pair, helps
from pipeline.tables import Column, Table, interval, number, p_value, page

NAME = "blend"
OUT = Path(NAME)

SCORES = [
    Column("Out-of-fold", "classifier"),
    ACCURACY,
    Column("F1", "f1", ".3f"),
    Column("Log loss", "log_loss", ".3f"),
]
WEIGHTS = [
    CLASSIFIER,
    Column("Accuracy", "accuracy", ".3f"),
    Column("Weight, all rows", "weight", ".3f"),
    Column("Weight by fold", lambda row: f"{row['least']:.3f} to {row['most']:.3f}", order="least"),
]


def log_odds_of(classifiers: list[Predictions], split: str) -> np.ndarray:
    """The classifiers' log-odds for the tweets of a split, shape (tweets, classifiers)."""
    return to_log_odds(np.stack([getattr(one, split)["score"] for one in classifiers], axis=1))


def compare(blended: pd.DataFrame, singles: dict[str, pd.DataFrame], params: BlendParams) -> dict[str, Any]:
    """The blend against the best single classifier, as in `comparison.json`; all frames are those of `scored_rows`."""
    best = max(singles, key=lambda name: float(decided_rightly(singles[name]).mean()))
    found: dict[str, Any] = {"classifiers": len(singles), "best_single": best}
    for which, rows in (("best_single", singles[best]), (NAME, blended)):
        low, high = accuracy_interval(decided_rightly(rows), rows["group"], params)
        all_once = weighted(rows["target"].to_numpy(), rows["score"].to_numpy(), np.ones((1, len(rows))))
        value = dict(zip(METRICS, all_once[:, 0].tolist(), strict=True))
        found |= {f"accuracy_{which}": value["accuracy"], f"accuracy_{which}_low": low, f"accuracy_{which}_high": high}
        found |= {f"{metric}_{which}": value[metric] for metric in ("f1", "log_loss")}
    pair = compare_pair(blended, singles[best], params.draws, params.seed)
    return found | {
        "gain": pair["difference"],
        "gain_low": float(pair["low"]),
        "gain_high": float(pair["high"]),
        "only_blend_right": pair["only_a_right"],
        "only_best_single_right": pair["only_b_right"],
        "mcnemar_p": pair["mcnemar_p"],
        "group_p": pair["group_p"],
        "margin": params.margin,
        "used": len(singles) > 1 and helps(pair, params.margin),
    }


def render(found: dict[str, Any], weights: pd.DataFrame, accuracies: dict[str, float], left_out: list[str]) -> str:
    """The page: what the blend gains, and whose weight it carries."""
    scores = pd.DataFrame(
        {key.replace(f"_{which}", ""): value for key, value in found.items() if which in key} | {"classifier": name}
        for which, name in ((NAME, NAME), ("best_single", found["best_single"]))
    )
    by_fold = weights.pivot_table(index="classifier", columns="fold", values="weight", sort=False)
    folds = by_fold.drop(columns=ALL_ROWS)
    listed = pd.DataFrame({"weight": by_fold[ALL_ROWS], "least": folds.min(axis=1), "most": folds.max(axis=1)})
    listed = listed.sort_values("weight", ascending=False).assign(accuracy=pd.Series(accuracies)).reset_index()
    methods = weights.groupby("fold")["method"].first()
    submitted = "submitted." if found["used"] else "not submitted: its gain is too small or too uncertain."
    return page(
        f"The log-odds of {found['classifiers']} classifiers, added up by weights that were fitted on the other folds; in "
        "brackets the 95 % interval by bootstrap over groups:",
        Table(scores, SCORES).markdown(),
        f"At one half the blend gains {interval(found, 'gain', '+.2f', 100, unit=' points')} over {found['best_single']}, "
        "although that is the best on these very rows. Where one of the two alone is right, it is the blend on "
        f"{number(found['only_blend_right'])} rows, the other on {number(found['only_best_single_right'])} (McNemar p "
        f"{p_value(found['mcnemar_p'])}, by groups {p_value(found['group_p'])}).",
        f"The blend is {submitted}",
        Table(listed, WEIGHTS).markdown(),
        f"What holds the weights back is chosen on inner folds: {methods[ALL_ROWS]} for all rows, "
        f"{', '.join(methods.drop(ALL_ROWS))} for the folds.",
        *left_out,
    )


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
        found = compare(rows, singles, params)
        progress.update()
    table = pd.DataFrame(
        {"classifier": name, "fold": fold, "weight": weight, "intercept": fitted.intercept, "method": fitted.method}
        for fold, fitted in weights.items()
        for name, weight in zip(singles, fitted.weights, strict=True)
    )
    frames = [
        predictions_frame(prepared.train, "train", expit(blended)),
        predictions_frame(prepared.test, "test", expit(weights[ALL_ROWS](log_odds_of(members, "test")))),
    ]
    write_predictions(NAME, frames, prepared, "blend", "refit", folder=OUT)
    write_csv(OUT / "weights.csv", table)  # to the last digit: new tweets are blended by them
    metrics = {metric: round(found[f"{metric}_{NAME}"], 6) for metric in ("accuracy", "log_loss")}
    for name, values in (("comparison", found), ("metrics", metrics)):
        write_text(OUT / f"{name}.json", json.dumps(values, indent=2) + "\n")
    accuracies = {name: float(decided_rightly(one).mean()) for name, one in singles.items()}
    write_text(OUT / "table.md", render(found, table, accuracies, left_out))
