"""What classifiers say: misses and false alarms, calibration, the blend of all, and cascades of two."""

import altair as alt
import pandas as pd

from pipeline.report import charts
from pipeline.report.charts import Field
from pipeline.report.parts import About, Figure, Panel, Section
from pipeline.report.results import Tables
from pipeline.report.sentences import between, percent, points
from pipeline.tables import LOW_HIGH, Column, Table, measured, present, short

PASSED_ON = Field("share", "Share of texts passed on", ".0%")
MISSES = [
    Column("Missed, %", "missed", ",.1f", 100),
    Column("Missed", "misses", ",.0f"),
    Column("False alarms, %", "alarm", ",.1f", 100),
    Column("False alarms", "alarms", ",.0f"),
]


def confusion(tables: Tables, about: About) -> list[Section]:
    cells, labels = tables["confusion"], about.labels
    if not len(cells):
        return []
    names = list(dict.fromkeys(cells["series"]))
    said = cells.replace({"actual": dict(enumerate(labels)), "predicted": dict(enumerate(labels))})
    wide = cells.pivot_table(index="series", columns=["actual", "predicted"], values="rows").loc[names]
    rates = pd.DataFrame({"misses": wide[1, 0], "alarms": wide[0, 1]}).reset_index()
    rates["missed"] = (wide[1, 0] / (wide[1, 0] + wide[1, 1])).to_numpy()
    rates["alarm"] = (wide[0, 1] / (wide[0, 0] + wide[0, 1])).to_numpy()
    best = rates.iloc[0]
    lead = (
        f"{best['series']} misses {percent(best['missed'])} of what is {labels[1]}, and takes {percent(best['alarm'])} of what "
        f"is {labels[0]} for it."
    )
    rows = [
        charts.records(own) for _, own in said.groupby("series", sort=False)[["actual", "predicted", "rows", "share"]]
    ]
    figure = Figure(
        name="confusion-matrix",
        caption="What texts are, and what was said of them: shares of each row, and texts",
        description=lead,
        panels=[Panel([charts.confusion(labels, "Confusion matrix.")], rows)],
        table=Table(rates, [about.classifier("series"), *MISSES], "confusion-table", "Errors of both kinds"),
        choice="Classifier",
        choices=names,
    )
    return [Section("misses-and-false-alarms", lead, [figure])]


METHODS = {"none": "As they are", "temperature": "After temperature", "isotonic": "After isotonic regression"}
METHOD = Column("Method", lambda row: METHODS.get(row["method"], row["method"]))
BINS = [
    METHOD,
    Column("Bin", "bin", ",.0f"),
    Column("Predicted", "predicted", ".3f"),
    Column("Observed", "observed", ".3f", ends=LOW_HIGH),
    Column("Texts", "rows", ",.0f"),
]
MEASURES = {"log_loss": "Log loss", "brier": "Brier", "ece": "ECE", "ece_debiased": "ECE, debiased"}


def calibration(tables: Tables, about: About) -> list[Section]:
    bins, scores, positive = tables["reliability"], tables["scores"], about.labels[1]
    names = list(dict.fromkeys(bins["classifier"]))
    drawn = bins.assign(school=bins["classifier"].map(about.schools)).rename(columns={"observed": "value"})
    panels = []
    for method in (method for method in METHODS if method in set(bins["method"])):
        spec = charts.reliability(f"Observed by predicted share of {positive}, {METHODS[method].lower()}.")
        of_each = [drawn[(drawn["classifier"] == name) & (drawn["method"] == method)] for name in names]
        panels.append(Panel([spec], [charts.records(rows[charts.RELIABILITY]) for rows in of_each], METHODS[method]))
    raw = scores["method"] == "none"
    before = scores[raw].set_index("classifier")["log_loss"]
    after = scores[~raw].groupby("classifier")["log_loss"].min()
    lead = (
        "The better of the two calibrations, each fitted on the other folds, lowers the log loss of "
        f"{int((after < before.reindex(after.index)).sum())} of {len(after)} classifiers."
    )
    figure = Figure(
        name="reliability",
        caption=f"Of texts with about the same score, how many are {positive}, with 95 % intervals: on the diagonal scores "
        "mean what they say",
        description=lead,
        panels=panels,
        table=Table(bins, [about.classifier(), *BINS], "reliability-table", "Reliability by bin"),
        choice="Classifier",
        choices=names,
    )
    measures = present([measured(title, name) for name, title in MEASURES.items()], scores)
    columns = [about.classifier(), METHOD, *measures]
    by_method = Table(scores, columns, "calibration-table", "Before and after", by=("Method",))
    return [Section("calibration", lead, [figure, by_method])]


def blend(tables: Tables, about: About) -> list[Section]:
    found, weights, costs = tables["comparison"], tables["weights"], about.costs
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
        lead += f" Those that have a weight take {short(ms)} ms a text of many at once, a shared embedding once."
    caption = "Weights of the classifiers' log-odds, fitted on all rows; those not listed have none"
    columns = [about.classifier(), Column("Weight", "weight", ".3f")]
    return [Section("blend", lead, [Table(whole, columns, "blend-weights", caption)])]


def cascade(tables: Tables, about: About) -> list[Section]:
    """Pairs of a cheap classifier and a better one, by the share of tweets that the first passes on."""
    steps = tables["cascade"]
    if not len(steps):
        return []
    steps = steps.assign(pair=steps["first"] + ", then " + steps["second"], value=steps["accuracy"])
    by_pair = dict([*steps.groupby("pair", sort=False)])
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
        about.classifier("first", "First"),
        about.classifier("second", "Then"),
        Column("Passed on, %", "share", ",.0f", 100),
        Column("Accuracy", "accuracy", ".3f", ends=LOW_HIGH),
        Column("ms a text of many", "ms_per_text", short),
        Column("Money for 1,000", "money_per_1000", short),
    ]
    accuracy, ms = Field("value", "Accuracy", ".1%"), Field("ms_per_text", "ms a text", ",.3~r")
    colour, said = alt.value("var(--accent)"), "Accuracy by share passed on."
    spec = charts.by_number(PASSED_ON, accuracy, colour, said, band=True, line=True, hover=[ms])
    drawn = ["share", "value", "low", "high", "ms_per_text"]
    figure = Figure(
        name="cascade-curve",
        caption="A cheap classifier first, which passes on the texts that it is least sure of, with 95 % bands",
        description=lead,
        panels=[Panel([spec], [charts.records(rows[drawn]) for rows in by_pair.values()])],
        table=Table(steps, columns, "cascade-table", "Cascades"),
        choice="Pair",
        choices=[*by_pair],
    )
    return [Section("cascades", lead, [figure])]
