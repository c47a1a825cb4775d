"""The first screen: who is in which place, and accuracy against cost; and what each classifier cost."""

import numpy as np
import pandas as pd

from pipeline.compare.table import ACCURACY, AGAINST_BEST, COSTS, PAIRS, PLACE, ROWS, pairs_among
from pipeline.report import charts
from pipeline.report.parts import About, Figure, Panel, Records, Section
from pipeline.report.results import Tables
from pipeline.report.sentences import JUDGED, Pairs, beaten_by_none_before, joined
from pipeline.stats.paired import judged
from pipeline.tables import Column, Table, measured, points, present, short

DRAWN, WIDTHS = 0.12, 3
"""Below the best interval's end so much accuracy is drawn, or so many intervals' widths: of all, with those that guess,
little would be seen."""
BY_COST = {
    "ms_per_text": "Scoring many texts at once, ms a text",
    "latency_ms_p50": "Scoring one text alone, ms (p50)",
    "fit_seconds": "Fitting, seconds",
}


def ranking(scores: pd.DataFrame, about: About) -> Table:
    """All classifiers, in their places, and what the difference to the best says of each."""
    everywhere = scores[scores["rows"] == scores["rows"].max()]  # the interval of few rows would set the scale of all
    highest = everywhere["accuracy_high"].max()
    window = max(DRAWN, WIDTHS * (everywhere["accuracy_high"] - everywhere["accuracy_low"]).median())
    lowest = max(everywhere["accuracy_low"].min(), highest - window)
    columns = [
        PLACE,
        about.classifier(),
        measured("Accuracy, %", "accuracy", ".1f", 100, drawn=(lowest, highest)),
        AGAINST_BEST,
        Column("F1", "f1", ".3f"),
        Column("Log loss", "log_loss", ".3f"),
        Column("ECE", "ece", ".3f"),
        ROWS,
        Column("Fit, s", "fit_seconds", short),
        Column("ms a text", "ms_per_text", short),
    ]
    caption = (
        "In the order of the difference to the best, on the rows that the two share; with too few of them there is no place; in "
        "brackets 95 % intervals. Lower is better for log loss and ECE. A heading sorts"
    )
    frame = scores.merge(about.costs[["classifier", *BY_COST]], on="classifier", how="left")
    return Table(frame, columns, "ranking", caption)


def dots(scores: pd.DataFrame, costs: pd.DataFrame, cost: str) -> Records:
    """A dot for each classifier that costs something; those that nothing beats at less cost have a `label`, `above`."""
    frame = scores.merge(costs[["classifier", cost]], on="classifier").rename(
        columns={cost: "cost", "accuracy": "value", "accuracy_low": "low", "accuracy_high": "high"}
    )
    frame = frame[frame["cost"] > 0].sort_values(["cost", "value"], ascending=[True, False])
    unbeaten = beaten_by_none_before(frame["value"])
    dearer = np.log(frame["cost"] / frame["cost"].min())
    # Dots of about the same cost stand beside one another, a hundredth of the width apart: as far to the left as to the right.
    apart = 0.012 * (dearer.max() or 1) * np.arange(len(frame))
    to_right, to_left = (dearer - apart).cummax(), (dearer - apart)[::-1].cummin()[::-1]
    # Names go down like stairs, so that no name stands on the line that leads to another.
    step = 0.07 * (frame["high"].max() - frame["low"].min())
    frame = frame.assign(
        label=frame["classifier"].where(unbeaten, ""),
        right=dearer > 0.7 * dearer.max(),
        at=np.exp((to_right + to_left) / 2 + apart) * frame["cost"].min(),
        above=frame["high"].max() + step * unbeaten[::-1].cumsum(),
    )
    return charts.records(
        frame[["classifier", "school", "value", "low", "high", "cost", "at", "label", "right", "above"]]
    )


def cost_figure(scores: pd.DataFrame, about: About) -> Figure:
    rows = {title: dots(scores, about.costs, cost) for cost, title in BY_COST.items()}
    named = [row["label"] for row in next(iter(rows.values())) if row["label"]]
    best = (
        f", on a logarithmic scale. Of many texts at once, nothing beats {joined(named)} at less cost" if named else ""
    )
    description = f"Accuracy by cost{best}."
    schools = [school for school in charts.SCHOOLS if school in set(scores["school"])]
    columns = [about.classifier(), ACCURACY, *(Column(title, cost, short) for cost, title in BY_COST.items())]
    frame = scores.merge(about.costs[["classifier", *BY_COST]], on="classifier")
    return Figure(
        name="accuracy-cost",
        caption="Accuracy against cost, with 95 % intervals. Named: those that nothing beats at less cost. Dots of about "
        "the same cost stand side by side; what costs nothing is not drawn",
        description=description,
        panels=[Panel([charts.against_cost(title, schools, description) for title in rows], [*rows.values()])],
        table=Table(frame, columns, "accuracy-cost-table", "Accuracy and cost"),
        choice="Cost of",
        choices=[*rows],
    )


def twins_table(paired: pd.DataFrame, twins: Pairs, about: About) -> Table:
    """Each generative classifier against its discriminative twin."""
    columns = [
        about.classifier("a", "Generative"),
        about.classifier("b", "Discriminative"),
        points("Generative − discriminative, points", ends=("low", "high")),
        *(column for column in PAIRS if column.of in ("rows", "mcnemar_p")),
        Column("Verdict", lambda row: JUDGED[judged(row)]),
    ]
    caption = "Twins: of either school, on the same features; each has its own hyperparameters"
    return Table(pairs_among(paired, twins), columns, "twins", caption)


def costs(tables: Tables, about: About) -> list[Section]:
    """All that was measured of each classifier, in the order of the comparison."""
    found = tables["costs"]
    ordered = found.dropna(subset="ms_per_text").sort_values("ms_per_text")
    lead = ""
    if len(ordered) > 1:
        cheapest, dearest = ordered.iloc[0], ordered.iloc[-1]
        times = short(dearest["ms_per_text"] / cheapest["ms_per_text"])
        lead = f"Of many texts at once, one takes {dearest['classifier']} {times} times as long as {cheapest['classifier']}."
    counts = {"Completion tokens": "completion_tokens", "of them thought": "reasoning_tokens", "Unparsed": "unparsed"}
    more = [*(Column(title, name, ",.0f") for title, name in counts.items()), Column("LLM", "model")]
    columns = [about.classifier(), *present([*COSTS, *more], found)]
    listed = Table(found, columns, "costs-table", "What each classifier cost, on the machine below")
    return [Section("costs", lead, [listed])]
