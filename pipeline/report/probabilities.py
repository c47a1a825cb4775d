"""Calibration: whether scores mean what they say."""

from typing import Any

from pipeline.report import charts
from pipeline.report.cells import classifier, interval, of_ends, of_number, table
from pipeline.report.parts import Cell, Column, Figure, Panel, Section

METHODS = {"none": "As they are", "temperature": "After temperature", "isotonic": "After isotonic regression"}
CALIBRATED = {"log_loss": "Log loss", "brier": "Brier", "ece": "ECE", "ece_debiased": "ECE, debiased"}


def known(row: Any, metric: str) -> Cell:
    """A metric with its interval, or alone where it has none."""
    return interval({f"{metric}_low": None, f"{metric}_high": None} | row, metric)


def calibration(tables: dict[str, Any], schools: dict[str, str], labels: list[str]) -> list[Section]:
    points_, scores = tables["reliability"], tables["scores"]
    names = list(dict.fromkeys(points_["classifier"]))
    methods = {method: title for method, title in METHODS.items() if method in set(points_["method"])}
    points_ = points_.assign(school=points_["classifier"].map(schools))
    columns = ["predicted", "observed", "low", "high", "rows", "school"]
    panels = []
    for method, title in methods.items():
        spec = charts.reliability(f"Observed by predicted share of {labels[1]}, {title.lower()}.")
        of_method = points_[points_["method"] == method]
        by_name = [charts.records(of_method.loc[of_method["classifier"] == name, columns]) for name in names]
        panels.append(Panel([spec], by_name, title))
    before = scores[scores["method"] == "none"].set_index("classifier")
    after = (
        scores[scores["method"] != "none"].sort_values("log_loss").drop_duplicates("classifier").set_index("classifier")
    )
    helped = int((after["log_loss"] < before["log_loss"].reindex(after.index)).sum())
    lead = (
        "The better of the two calibrations, each fitted on the other folds, lowers the log loss of "
        f"{helped} of {len(after)} classifiers."
    )
    figure = Figure(
        name="reliability",
        caption=f"Of texts with about the same score, how many are {labels[1]}, with 95 % intervals: on the diagonal scores "
        "mean what they say",
        description=lead,
        panels=panels,
        table=table(
            "reliability-table",
            "Reliability by bin",
            points_,
            [
                classifier(schools),
                (Column("Method"), lambda row: Cell(METHODS.get(row["method"], row["method"]))),
                of_number("Bin", "bin"),
                of_number("Predicted", "predicted", 3),
                of_ends("Observed", "observed"),
                of_number("Texts", "rows"),
            ],
        ),
        choice="Classifier",
        choices=names,
    )
    shown = {metric: title for metric, title in CALIBRATED.items() if metric in scores}
    columns_ = [
        classifier(schools),
        (Column("Method"), lambda row: Cell(METHODS.get(row["method"], row["method"]))),
        *(
            (Column(title, numeric=True), lambda row, metric=metric: known(row, metric))
            for metric, title in shown.items()
        ),
    ]
    by_method = table("calibration-table", "Before and after", scores, columns_, by={"Method": 1})
    return [Section("calibration", "Do scores mean what they say", lead, [figure, by_method])]
