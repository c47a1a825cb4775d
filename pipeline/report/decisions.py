"""What classifiers decide: misses and false alarms, the blend of all, and cascades of two."""

from typing import Any

import pandas as pd

from pipeline.report import charts
from pipeline.report.cells import classifier, of_ends, of_number, short, table
from pipeline.report.parts import Column, Figure, Panel, Section
from pipeline.report.sentences import between, percent, points


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
        caption="What texts are, and what was said of them: shares of each row, and texts",
        description=lead,
        panels=[
            Panel(
                [charts.confusion(labels, "Confusion matrix.")],
                [
                    charts.records(said.loc[said["series"] == name, ["actual", "predicted", "rows", "share"]])
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


def blend(tables: dict[str, Any], costs: pd.DataFrame, schools: dict[str, str]) -> list[Section]:
    found, weights = tables["comparison"], tables["weights"]
    side = "above" if found["gain"] >= 0 else "below"
    lead = (
        f"The blend of all is right about {percent(found['accuracy_blend'])} of texts, {points(found['gain'])} {side} the best "
        f"alone, {found['best_single']} {between(found['gain_low'], found['gain_high'])}; it is "
        f"{'used' if found['used'] else 'not used'} for the submission."
    )
    whole = weights[(weights["fold"] == -1) & (weights["weight"] > 0)].sort_values("weight", ascending=False)
    asked = costs[costs["classifier"].isin(whole["classifier"])]
    again = asked["reading_ms"].where(asked["reads"].notna() & asked.duplicated("reads"), 0.0)
    ms = (asked["ms_per_text"] - again).sum(skipna=False)
    if pd.notna(ms):
        lead += f" Those that have a weight take {short(ms).text} ms a text of many at once, a shared embedding once."
    caption = "Weights of the classifiers' log-odds, fitted on all rows; those not listed have none"
    listed = table("blend-weights", caption, whole, [classifier(schools), of_number("Weight", "weight", 3)])
    return [Section("blend", "All together", lead, [listed])]


def cascade(steps: pd.DataFrame, schools: dict[str, str]) -> list[Section]:
    """Pairs of a cheap classifier and a better one, by the share of tweets that the first passes on."""
    if not len(steps):
        return []
    by_pair = {
        f"{first}, then {second}": rows for (first, second), rows in steps.groupby(["first", "second"], sort=False)
    }
    reached = []
    for rows in by_pair.values():
        alone = rows.sort_values("share").iloc[-1]
        enough = rows[rows["accuracy"] >= alone["accuracy"] - 0.005]["share"].min()
        if enough > 0:  # else the first alone is as good
            reached.append((enough, alone["second"], alone["first"]))
    lead = "In no pair is the second more than half a point better than the first alone."
    if reached:
        least, second, first = min(reached)
        lead = (
            f"{second} needs to see only {percent(least, 0)} of the texts, those that {first} is least sure of, to come within "
            "half a point of what it reaches alone."
        )
    columns = [
        classifier(schools, "first", "First"),
        classifier(schools, "second", "Then"),
        of_number("Passed on, %", "share", 0, 100),
        of_ends("Accuracy", "accuracy"),
        (Column("ms a text of many", numeric=True), lambda row: short(row["ms_per_text"])),
        (Column("Money for 1,000", numeric=True), lambda row: short(row["money_per_1000"])),
    ]
    figure = Figure(
        name="cascade-curve",
        caption="A cheap classifier first, which passes on the texts that it is least sure of, with 95 % bands",
        description=lead,
        panels=[
            Panel([charts.cascade("Accuracy by share passed on.")], [charts.records(rows) for rows in by_pair.values()])
        ],
        table=table("cascade-table", "Cascades", steps, columns),
        choice="Pair",
        choices=list(by_pair),
    )
    return [Section("cascade", "Cheap first", lead, [figure])]
