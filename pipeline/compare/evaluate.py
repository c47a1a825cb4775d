"""Compare all classifiers that there are predictions of, on the same rows, with intervals.

in:  data/prepared, predictions/*.parquet, costs/*.json
out: evaluate/: table.md, metrics.json, scores.csv, uncalibrated.csv, paired.csv, costs.csv and the points of the plots
run: dvc repro evaluate   (or python -m pipeline.stage compare.evaluate)
"""

import itertools
import json
from functools import reduce
from typing import Any

import datasets
import numpy as np
import pandas as pd
from pydantic import Field
from sklearn import metrics
from tqdm import tqdm

import evaluate
from pipeline.compare.scored import BootstrapParams, TwinsParams, read_all, scored_rows
from pipeline.compare.table import render
from pipeline.compare.taking_part import predictions_of
from pipeline.contracts import PREPARED, UNCALIBRATED, Costs, read_costs, read_params, read_predictions, read_prepared
from pipeline.contracts.files import read_json, write_csv, write_text
from pipeline.places import results
from pipeline.stats.bootstrap import effective_groups, group_bootstrap
from pipeline.stats.decisions import THRESHOLD, decide, decided_rightly, rank
from pipeline.stats.metrics import CLIP, METRICS, PROBABILITIES, equal_mass_bins, weighted
from pipeline.stats.paired import compare_pairs, places, with_verdicts

NAME = "evaluate"
PLOTS = ("confusion", "roc", "precision_recall", "calibration")
LINES = 8
"""Curves of a plot: more are not told apart."""


class EvaluateParams(BootstrapParams):
    draws: int = Field(2000, ge=100)


class Classification(evaluate.Metric):
    """`METRICS` with scikit-learn, in `evaluate`'s form and without its hub; a test holds those of `weighted` equal to them."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=", ".join(METRICS),
            citation="",
            inputs_description="predictions: P(target = 1), NaN where unparsed; references: 0 or 1.",
            features=datasets.Features(predictions=datasets.Value("float64"), references=datasets.Value("int64")),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        scores, targets = np.array(predictions, dtype=float), np.array(references)
        decisions = decide(targets, scores)
        measured = metrics.precision_recall_fscore_support(targets, decisions, average="binary", zero_division=0)
        found = dict(zip(("precision", "recall", "f1"), measured, strict=False))  # the last is no metric
        found["accuracy"] = metrics.accuracy_score(targets, decisions)
        read = ~np.isnan(scores)
        targets, scores = targets[read], scores[read]
        if len(np.unique(targets)) < 2:
            return found | dict.fromkeys(PROBABILITIES, float("nan"))
        bins = equal_mass_bins(scores)
        gaps = [abs(np.sum(targets[bins == b] - scores[bins == b])) for b in np.unique(bins)]
        return found | {
            "roc_auc": metrics.roc_auc_score(targets, scores),
            "log_loss": metrics.log_loss(targets, np.clip(scores, CLIP, 1 - CLIP)),
            "brier": metrics.brier_score_loss(targets, scores),
            "ece": sum(gaps) / len(targets),
        }


def score(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All `METRICS` of one classifier."""
    computed = Classification(keep_in_memory=True).compute(predictions=scores, references=targets)
    return {name: float(computed[name]) for name in METRICS}


def by_classifier(rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("classifier")


def score_classifier(rows: pd.DataFrame, shared: pd.Index, params: EvaluateParams) -> dict[str, float]:
    """Each metric with the ends of its interval, the number of rows, and the accuracy on the rows that all cover."""
    targets, scores, groups = (rows[column].to_numpy() for column in ("target", "score", "group"))
    low, high = group_bootstrap(lambda drawn: weighted(targets, scores, drawn), groups, params.draws, params.seed)
    found: dict[str, float] = {"rows": len(rows), "unparsed": int(np.isnan(scores).sum())}
    found["groups"] = effective_groups(rows["group"].value_counts().to_numpy())
    found["positives"] = float((scores > THRESHOLD).mean())
    for i, (metric, value) in enumerate(score(targets, scores).items()):
        found |= {metric: value, f"{metric}_low": low[i], f"{metric}_high": high[i]}
    right = decided_rightly(rows.loc[shared])
    return found | {"shared_rows": len(shared), "shared_accuracy": float(right.mean()) if len(shared) else float("nan")}


def compare(
    rows: dict[str, pd.DataFrame], twins: list[tuple[str, str]], params: EvaluateParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `places` of all, by the `scored_rows` of each, and all pairs `with_verdicts`."""
    ranked = rank({name: decided_rightly(one) for name, one in rows.items()})
    best = max(ranked, key=lambda name: len(rows[name]))  # the first of those with the most
    pairs = [pair[::-1] if pair[::-1] in twins else pair for pair in itertools.combinations(ranked[::-1], 2)]
    found = compare_pairs(rows, pairs, params.draws, params.seed)
    paired = with_verdicts(pd.DataFrame([{"a": a, "b": b} | pair for (a, b), pair in found.items()]), best, twins)
    return places(ranked, best, paired), paired


def metrics_of_best(table: pd.DataFrame, rows: int) -> dict[str, float]:
    """As in metrics.json: of the best of those that scored all train rows, or the best of all if none did."""
    whole = table[(table["rows"] == rows) & (table["unparsed"] == 0)]
    best = (whole if len(whole) else table).iloc[0]
    return {metric: round(float(best[metric]), 6) for metric in ("accuracy", "f1", "log_loss")}


def flat_costs(costs: Costs) -> dict[str, object]:
    """One row of the cost table: an LLM's costs beside the others."""
    own, of_llm = costs.model_dump(exclude={"llm", "embedding_seconds"}), costs.llm.model_dump() if costs.llm else {}
    return own | {"ms_per_text": costs.ms_per_text} | of_llm


def thin(curve: pd.DataFrame, points: int = 200) -> pd.DataFrame:
    """At most `points` points of a curve, its ends among them: a plot shows no more."""
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, points).round().astype(int))]


def lines_of(table: pd.DataFrame) -> list[str]:
    """Whose curves are drawn, eight at most: the best of each school, and then the best of all; the table is ranked."""
    return [*dict.fromkeys([*table.drop_duplicates("school").index, *table.index])][:LINES]


def plot_points(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of a classifier's `PLOTS`, without unparsed rows."""
    rows = rows.dropna(subset="score")
    if rows["target"].nunique() < 2:
        return {name: pd.DataFrame() for name in PLOTS}
    targets, scores = rows["target"].to_numpy(), rows["score"].to_numpy()
    roc = dict(zip(("false_positive_rate", "true_positive_rate"), metrics.roc_curve(targets, scores)[:2], strict=True))
    precision, recall, _ = metrics.precision_recall_curve(targets, scores)
    decided = pd.DataFrame({"actual": targets, "predicted": decide(targets, scores)})
    cells = pd.MultiIndex.from_product([[0, 1], [0, 1]], names=["actual", "predicted"])
    confusion = decided.value_counts().reindex(cells, fill_value=0).rename("rows").reset_index()
    reliability = pd.DataFrame({"bin": equal_mass_bins(scores), "predicted": scores, "observed": targets})
    return {
        "confusion": confusion.assign(share=confusion["rows"] / confusion.groupby("actual")["rows"].transform("sum")),
        "roc": thin(pd.DataFrame(roc)),
        "precision_recall": thin(pd.DataFrame({"recall": recall, "precision": precision})),
        "calibration": reliability.groupby("bin").mean(),
    }


def main() -> None:
    out, params, prepared = results(NAME), read_params(NAME, EvaluateParams), read_prepared()
    twins, report = read_params("twins", TwinsParams).pairs, read_json(PREPARED / "report.json")
    classifiers, left_out = read_all(prepared)
    costs = {one.name: read_costs(one.name) for one in classifiers}
    rows = {one.name: scored_rows(prepared, one) for one in classifiers}
    shared = reduce(lambda a, b: a.intersection(b, sort=False), (one.index for one in rows.values()))
    placed, paired = compare(rows, twins, params)
    scores, uncalibrated = {}, {}
    for one in tqdm(classifiers, desc=NAME, unit="classifier"):
        own = score_classifier(rows[one.name], shared, params)
        scores[one.name] = {"school": one.school, "noise": one.noise, **own}
        path, llm = predictions_of(one.name, UNCALIBRATED), costs[one.name].llm
        if llm and llm.calibration != "none" and path.is_file():
            before = scored_rows(prepared, read_predictions(path, prepared))
            uncalibrated[one.name] = score_classifier(before, shared, params)
    table, before_calibration = placed.join(by_classifier(scores)), by_classifier(uncalibrated)
    costs_table = by_classifier({name: flat_costs(costs[name]) for name in table.index})
    for name, frame in (("scores", table), ("uncalibrated", before_calibration), ("costs", costs_table)):
        write_csv(out / f"{name}.csv", frame, index=True)
    write_csv(out / "paired.csv", paired)
    write_text(out / "metrics.json", json.dumps(metrics_of_best(table, len(prepared.train)), indent=2) + "\n")
    points = {name: plot_points(rows[name]) for name in table.index}
    drawn = lines_of(table)
    for plot in PLOTS:
        names = table.index if plot == "confusion" else drawn
        series = [points[name][plot].assign(series=name, school=table["school"][name]) for name in names]
        write_csv(out / "plots" / f"{plot}.csv", pd.concat(series), 5)
    tables = {"paired": paired, "costs": costs_table, "uncalibrated": before_calibration}
    page = render(table, **tables, twins=twins, report=report, draws=params.draws, left_out=left_out)
    write_text(out / "table.md", page)
    for line in left_out:
        print(line)
