"""Whether each classifier's probabilities can be believed, and what calibrating them after the fact would mend.

Out-of-fold scores are compared with themselves after temperature scaling and isotonic regression, fitted on the other folds.
A prompted classifier's are those it competes with, after its own calibration (`evaluate/uncalibrated.csv` has them before).

in:  data/prepared, predictions/*.parquet
out: calibration/: table.md, scores.csv (measures with intervals), reliability.csv (the points of reliability diagrams)
run: dvc repro calibration   (or python -m pipeline.stage compare.calibration)
"""

import pandas as pd
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams, read_all, scored_rows
from pipeline.compare.table import CLASSIFIER, ROWS
from pipeline.contracts import InputError, read_params, read_prepared, write_text
from pipeline.contracts.files import write_csv
from pipeline.places import results
from pipeline.stats.decisions import decided_rightly, rank
from pipeline.stats.post_hoc_calibration import METHODS, calibrated_by_fold
from pipeline.stats.reliability import MEASURES, PARTS, Scored, measures, reliability_diagram
from pipeline.tables import Column, Table, interval, measured, page

NAME = "calibration"
COLUMNS = {
    "scores": ["classifier", "method", "rows", "temperature"]
    + [f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")],
    "reliability": ["classifier", "method", "bin", "predicted", "observed", "low", "high", "rows"],
}


class CalibrationParams(BootstrapParams):
    """Of the intervals alone."""


def before_and_after(rows: pd.DataFrame, params: CalibrationParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A classifier's `MEASURES` and its reliability diagram's points, by `method` of calibration."""
    targets, raw, folds, groups = (rows[column].to_numpy() for column in ("target", "score", "fold", "group"))
    found, points = [], []
    for method in METHODS:
        scores, temperature = calibrated_by_fold(raw, targets, folds, method)
        scored = Scored(targets, scores, groups, folds)
        row: dict[str, object] = {"method": method, "rows": len(rows), "temperature": temperature}
        found.append(row | measures(scored, params.draws, params.seed))
        points.append(reliability_diagram(scored).assign(method=method))
    return pd.DataFrame(found), pd.concat(points)


def render(scores: pd.DataFrame, draws: int, left_out: list[str]) -> str:
    intro = (
        "Out-of-fold scores as they are, and after temperature scaling and isotonic regression fitted on the other folds, with "
        f"95 % intervals by bootstrap over groups ({draws:,} draws); rows that could not be read are left out. A temperature "
        "over 1 says that the scores were too sure, an infinite one that they are worse than chance. Calibration error: the "
        "root-mean-square gap between what a classifier says and what happens, over bins of as many rows each, less what noise "
        "alone would add, within folds, as new texts would meet it; below 0, no gap can be seen."
    )
    raw, scaled = (scores[scores["method"] == method] for method in ("none", "temperature"))
    found = {(row["classifier"], row["method"]): row for row in scores.to_dict("records")}

    def of_method(method: str, title: str, measure: str) -> Column:
        title = title if method == "none" else f"after {method}"
        return Column(title, lambda row: interval(found[row["classifier"], method], measure), order=measure)

    def each_method(title: str, measure: str) -> list[Column]:
        return [of_method(method, title, measure) for method in METHODS]

    raw = raw.assign(temperature=raw["classifier"].map(scaled.set_index("classifier")["temperature"]))
    gaps = [CLASSIFIER, ROWS, Column("Temperature", "temperature", ",.2f")]
    return page(
        intro,
        Table(raw, [*gaps, *each_method("Calibration error", "ece_debiased")]).markdown(),
        "Log loss, which calibration can lower as far as scores were too sure or not sure enough:",
        Table(raw, [CLASSIFIER, *each_method("Log loss", "log_loss")]).markdown(),
        "The Brier score taken apart: reliability (what calibration can mend; lower is better) − resolution (how far scores "
        "tell rows apart; higher is better) + uncertainty (of the labels, whatever the classifier).",
        Table(raw, [CLASSIFIER, *(measured(part.capitalize(), part) for part in ("brier", *PARTS))]).markdown(),
        *left_out,
    )


def main() -> None:
    params, out, prepared = read_params(NAME, CalibrationParams), results(NAME), read_prepared()
    classifiers, left_out = read_all(prepared)
    rows, folds = {one.name: scored_rows(prepared, one) for one in classifiers}, prepared.train.set_index("id")["fold"]
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in COLUMNS}
    ranked = rank({name: decided_rightly(one) for name, one in rows.items()})
    for name in tqdm(ranked, desc=NAME, unit="classifier"):
        read = rows[name].assign(fold=folds).dropna(subset="score")
        if read["target"].nunique() < 2:
            left_out.append(f"left out {name}: of the rows that it scored, none or all are positive")
            continue
        for frames, frame in zip(found.values(), before_and_after(read, params), strict=True):
            frames.append(frame.assign(classifier=name))
    if not found["scores"]:
        raise InputError(f"calibration: nothing to measure; {'; '.join(left_out)}")
    tables = {name: pd.concat(frames)[COLUMNS[name]] for name, frames in found.items()}
    for name, table in tables.items():
        write_csv(out / f"{name}.csv", table, 6)
    write_text(out / "table.md", render(tables["scores"], params.draws, left_out))
    for line in left_out:
        print(line)
