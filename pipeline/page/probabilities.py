"""Calibration, confusion and the blend: what scores say, and what they decide."""

from typing import Any

import pandas as pd

from pipeline.page import charts
from pipeline.page.cells import classifier, interval, named, of_ends, of_number, short, table
from pipeline.page.parts import Cell, Column, Figure, Panel, Section
from pipeline.page.sentences import between, percent, points

METHODS = {"none": "As they are", "temperature": "After temperature", "isotonic": "After isotonic regression"}
CALIBRATED = {"log_loss": "Log loss", "brier": "Brier", "ece": "ECE", "ece_debiased": "ECE, debiased"}


def known(row: Any, metric: str) -> Cell:
    """A metric with its interval, or alone where it has none."""
    return interval({f"{metric}_low": None, f"{metric}_high": None} | row, metric)


def calibration(tables: dict[str, Any], schools: dict[str, str]) -> list[Section]:
    points_, scores = tables["reliability"], tables["scores"]
    names = list(dict.fromkeys(points_["classifier"]))
    methods = {method: title for method, title in METHODS.items() if method in set(points_["method"])}
    points_ = points_.assign(school=points_["classifier"].map(schools))
    columns = ["predicted", "observed", "low", "high", "rows", "school"]
    panels = []
    for method, title in methods.items():
        spec = charts.reliability(f"Observed by predicted share of disasters, {title.lower()}.")
        of_method = points_[points_["method"] == method]
        by_name = [of_method.loc[of_method["classifier"] == name, columns].to_dict("records") for name in names]
        panels.append(Panel([spec], by_name, title))
    before = scores[scores["method"] == "none"].set_index("classifier")
    after = (
        scores[scores["method"] != "none"].sort_values("log_loss").drop_duplicates("classifier").set_index("classifier")
    )
    helped = int((after["log_loss"] < before["log_loss"].reindex(after.index)).sum())
    lead = f"Calibration across folds lowers the log loss of {helped} of {len(after)} classifiers."
    figure = Figure(
        name="reliability",
        caption="Of tweets with about the same score, how many tell of a disaster, with 95 % intervals: on the diagonal scores "
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
                of_number("Tweets", "rows"),
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


def confusion(cells: pd.DataFrame, schools: dict[str, str], labels: list[str]) -> list[Section]:
    names = list(dict.fromkeys(cells["series"]))
    said = cells.assign(
        actual=cells["actual"].map(labels.__getitem__), predicted=cells["predicted"].map(labels.__getitem__)
    )
    wide = cells.pivot_table(index="series", columns=["actual", "predicted"], values="rows").loc[names]
    rates = pd.DataFrame(
        {
            "missed": wide[1, 0] / (wide[1, 0] + wide[1, 1]),
            "alarm": wide[0, 1] / (wide[0, 0] + wide[0, 1]),
            "misses": wide[1, 0],
            "alarms": wide[0, 1],
        }
    ).reset_index()
    best = rates.iloc[0]
    lead = (
        f"{best['series']} misses {percent(best['missed'])} of what is {labels[1]}, and takes {percent(best['alarm'])} of what "
        f"is {labels[0]} for it."
    )
    figure = Figure(
        name="confusion-matrix",
        caption="What tweets are, and what was said of them: shares of each row, and tweets",
        description=lead,
        panels=[
            Panel(
                [charts.confusion(labels, "Confusion matrix.")],
                [
                    said.loc[said["series"] == name, ["actual", "predicted", "rows", "share"]].to_dict("records")
                    for name in names
                ],
            )
        ],
        table=table(
            "confusion-table",
            "Errors of both kinds",
            rates,
            [
                classifier(schools, "series"),
                of_number("Missed, %", "missed", 1, 100),
                of_number("Missed", "misses"),
                of_number("False alarms, %", "alarm", 1, 100),
                of_number("False alarms", "alarms"),
            ],
        ),
        choice="Classifier",
        choices=names,
    )
    return [Section("confusion", "Misses and false alarms", lead, [figure])]


def blend(tables: dict[str, Any], schools: dict[str, str]) -> list[Section]:
    found, weights, steps = tables["metrics"], tables["weights"], tables["cascade"]
    side = "above" if found["gain"] >= 0 else "below"
    lead = (
        f"The blend of all is right about {percent(found['accuracy_blend'])} of tweets, {points(found['gain'])} {side} the best "
        f"alone, {found['best_single']} {between(found['gain_low'], found['gain_high'])}; it is "
        f"{'used' if found['used'] else 'not used'} for the submission."
    )
    whole = weights[(weights["fold"] == -1) & (weights["weight"] > 0)].sort_values("weight", ascending=False)
    parts: list[Any] = [
        table(
            "blend-weights",
            "Weights of the log-odds, fitted on all rows",
            whole,
            [classifier(schools), of_number("Weight", "weight", 3)],
        )
    ]
    if len(steps):
        pairs = list(dict.fromkeys(steps[["first", "second"]].itertuples(index=False, name=None)))
        choices = [f"{first}, then {second}" for first, second in pairs]
        named_ = steps.assign(series=steps["first"] + ", then " + steps["second"])
        parts.append(
            Figure(
                name="cascade",
                caption="A cheap classifier first, which passes on the tweets that it is least sure of, with 95 % bands",
                description=f"Accuracy by the share of tweets passed on, for {len(pairs)} pairs.",
                panels=[
                    Panel(
                        [charts.cascade([choice], choice) for choice in choices],
                        [named_[named_["series"] == choice].to_dict("records") for choice in choices],
                    )
                ],
                table=table(
                    "cascade-table",
                    "Cascades",
                    steps,
                    [
                        named("First", "first"),
                        named("Then", "second"),
                        of_number("Passed on, %", "share", 0, 100),
                        of_ends("Accuracy", "accuracy"),
                        (Column("ms a tweet", numeric=True), lambda row: short(row["ms_per_tweet"])),
                        (Column("Money for 1,000", numeric=True), lambda row: short(row["money_per_1000"])),
                    ],
                ),
                choice="Pair",
                choices=choices,
            )
        )
    return [Section("blend", "All together", lead, parts)]
