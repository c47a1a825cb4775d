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

from pipeline.compare.blend_table import render
from pipeline.compare.blend_weights import ALL_ROWS, BlendParams, cross_fitted, fit_weights, to_log_odds
from pipeline.compare.scored import read_all, scored_rows, whole
from pipeline.contracts import (
    InputError,
    Predictions,
    predictions_frame,
    read_params,
    read_prepared,
    write_predictions,
    write_text,
)
from pipeline.contracts.files import write_csv
from pipeline.stats.bootstrap import group_bootstrap
from pipeline.stats.decisions import decided_rightly
from pipeline.stats.metrics import METRICS, weighted
from pipeline.stats.paired import compare_pair, helps

NAME = "blend"
OUT = Path(NAME)


def log_odds_of(classifiers: list[Predictions], split: str) -> np.ndarray:
    """The classifiers' log-odds for the tweets of a split, shape (tweets, classifiers)."""
    return to_log_odds(np.stack([getattr(one, split)["score"] for one in classifiers], axis=1))


def measured(rows: pd.DataFrame, params: BlendParams) -> dict[str, float]:
    """Each metric of `scored_rows`, and the interval of the accuracy."""
    targets, scores, groups = (rows[column].to_numpy() for column in ("target", "score", "group"))
    low, high = group_bootstrap(lambda weights: weighted(targets, scores, weights), groups, params.draws, params.seed)
    at = METRICS.index("accuracy")
    values = dict(zip(METRICS, weighted(targets, scores, np.ones((1, len(rows))))[:, 0].tolist(), strict=True))
    return values | {"accuracy_low": float(low[at]), "accuracy_high": float(high[at])}


def compare(blended: pd.DataFrame, singles: dict[str, pd.DataFrame], params: BlendParams) -> dict[str, Any]:
    """The blend against the best single classifier, as in `comparison.json`; all frames are those of `scored_rows`."""
    best = max(singles, key=lambda name: float(decided_rightly(singles[name]).mean()))
    found: dict[str, Any] = {"classifiers": len(singles), "best_single": best}
    for which, rows in (("best_single", singles[best]), (NAME, blended)):
        scores = measured(rows, params)
        found |= {f"accuracy_{which}{end}": scores[f"accuracy{end}"] for end in ("", "_low", "_high")}
        found |= {f"{metric}_{which}": scores[metric] for metric in ("f1", "log_loss")}
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
