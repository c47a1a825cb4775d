"""The first screen: who is in which place, and accuracy against cost; and what each classifier cost."""

import numpy as np
import pandas as pd

from pipeline.compare.table import against_best, p_value
from pipeline.report import charts
from pipeline.report.cells import barred, classifier, number, of_metric, of_number, short, table, text, with_ends
from pipeline.report.parts import Cell, Column, Figure, Panel, Records, Section, Table
from pipeline.report.sentences import JUDGED, Pairs, joined, of_twins
from pipeline.stats.paired import judged

DRAWN, WIDTHS = 0.12, 3
"""Below the best interval's end so much accuracy is drawn, or so many intervals' widths: of all, with those that guess,
little would be seen."""
COSTS = {
    "ms_per_text": "Scoring many texts at once, ms a text",
    "latency_ms_p50": "Scoring one text alone, ms (p50)",
    "fit_seconds": "Fitting, seconds",
}


def ranking(scores: pd.DataFrame, costs: pd.DataFrame) -> Table:
    """All classifiers, in their places, and what the difference to the best says of each."""
    frame = scores.merge(costs[["classifier", *COSTS]], on="classifier", how="left")
    everywhere = frame[frame["rows"] == frame["rows"].max()]  # the interval of few rows would set the scale of all
    highest = everywhere["accuracy_high"].max()
    window = max(DRAWN, WIDTHS * (everywhere["accuracy_high"] - everywhere["accuracy_low"]).median())
    lowest = max(everywhere["accuracy_low"].min(), highest - window)
    school = dict(zip(scores["classifier"], scores["school"], strict=True))
    columns = [
        (Column("Place", numeric=True), lambda row: number(row["rank"])),
        classifier(school),
        (Column("Accuracy, %", numeric=True), lambda row: barred(row, "accuracy", lowest, highest)),
        (Column("Against the best, points"), lambda row: Cell(against_best(row), order=row["to_best"])),
        of_number("F1", "f1", 3),
        of_number("Log loss", "log_loss", 3),
        of_number("ECE", "ece", 3),
        of_number("Rows", "rows"),
        (Column("Fit, s", numeric=True), lambda row: short(row["fit_seconds"])),
        (Column("ms a text", numeric=True), lambda row: short(row["ms_per_text"])),
    ]
    return table(
        "ranking",
        "In the order of the difference to the best, on the rows that the two share; with too few of them there is no place; in "
        "brackets 95 % intervals. Lower is better for log loss and ECE. A heading sorts",
        frame,
        columns,
    )


def frontier(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Whether nothing is both cheaper and more accurate, for costs and accuracies of shape (n,)."""
    better = (cost[None] <= cost[:, None]) & (accuracy[None] > accuracy[:, None])
    better |= (cost[None] < cost[:, None]) & (accuracy[None] == accuracy[:, None])
    return np.asarray(~better.any(axis=1))


def points(scores: pd.DataFrame, costs: pd.DataFrame, cost: str) -> Records:
    """A dot for each classifier that costs something; those that nothing beats at less cost are named."""
    frame = scores.merge(costs, on="classifier", suffixes=("", "_of_costs"))
    frame = frame[frame[cost] > 0].assign(cost=lambda rows: rows[cost])
    best = frontier(frame["cost"].to_numpy(), frame["accuracy"].to_numpy())
    span = np.log(frame["cost"].max() / frame["cost"].min()) if len(frame) else 1
    frame = frame.assign(
        label=frame["classifier"].where(best, ""),
        right=np.log(frame["cost"] / frame["cost"].min()) > 0.7 * span,
        above=frame["accuracy_high"].max(),
    ).sort_values("cost")
    # Names go down like stairs, so that no name stands on the line that leads to another.
    step = 0.055 * (frame["accuracy_high"].max() - frame["accuracy_low"].min())
    stairs = np.cumsum((frame["label"] != "").to_numpy()[::-1])[::-1]
    frame["above"] += step * stairs
    frame = frame.rename(columns={"accuracy_low": "low", "accuracy_high": "high"})
    kept = ["classifier", "school", "accuracy", "low", "high", "cost", "label", "right", "above"]
    return charts.records(frame[kept])


def cost_figure(scores: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    rows = {title: points(scores, costs, cost) for cost, title in COSTS.items()}
    named = [row["label"] for row in next(iter(rows.values())) if row["label"]]
    description = (
        f"Accuracy by cost, on a logarithmic scale. Of many texts at once, nothing beats {joined(named)} at less cost."
        if named
        else "Accuracy by cost."
    )
    schools = [school for school in charts.SCHOOLS if school in set(scores["school"])]
    frame = scores.merge(costs[["classifier", *COSTS]], on="classifier")
    columns = [
        classifier(dict(zip(scores["classifier"], scores["school"], strict=True))),
        of_metric("Accuracy", "accuracy"),
        *((Column(title, numeric=True), lambda row, cost=cost: short(row[cost])) for cost, title in COSTS.items()),
    ]
    return Figure(
        name="accuracy-cost",
        caption="Accuracy against cost, with 95 % intervals. Named: those that nothing beats at less cost. What costs nothing "
        "is not drawn",
        description=description,
        panels=[
            Panel([charts.against_cost(title, schools, description) for title in rows], list(rows.values())),
        ],
        table=table("accuracy-cost-table", "Accuracy and cost", frame, columns),
        choice="Cost of",
        choices=list(rows),
    )


def twins_table(paired: pd.DataFrame, twins: Pairs) -> Table:
    """Each generative classifier against its discriminative twin."""
    columns = [
        (Column("Generative"), lambda row: Cell(row["a"], school="generative")),
        (Column("Discriminative"), lambda row: Cell(row["b"], school="discriminative")),
        (
            Column("Generative − discriminative, points", numeric=True),
            lambda row: with_ends(row, "difference", "low", "high", "+.2f", 100),
        ),
        of_number("Shared rows", "rows"),
        (Column("McNemar p", numeric=True), lambda row: Cell(p_value(row["mcnemar_p"]), order=row["mcnemar_p"])),
        (Column("Verdict"), lambda row: Cell(JUDGED[judged(row)])),
    ]
    return table(
        "twins",
        "Twins: of either school, on the same features; each has its own hyperparameters",
        of_twins(paired, twins),
        columns,
    )


def costs_table(costs: pd.DataFrame, schools: dict[str, str]) -> Table:
    """All that was measured of each classifier, in the order of the comparison."""
    titles = {
        "fit_seconds": "Fit, s",
        "latency_ms_p50": "Latency p50, ms",
        "latency_ms_p95": "Latency p95, ms",
        "tweets_per_second": "Texts a second",
        "peak_memory_mb": "Peak memory, MB",
        "trainable_parameters": "Trained parameters",
        "total_parameters": "All parameters",
        "requests": "Requests",
        "prompt_tokens": "Prompt tokens",
        "completion_tokens": "Completion tokens",
        "money": "Money",
        "unparsed": "Unparsed",
    }
    shown = {column: title for column, title in titles.items() if column in costs and costs[column].notna().any()}
    columns = [
        classifier(schools),
        *(
            (Column(title, numeric=True), lambda row, column=column: short(row[column]))
            for column, title in shown.items()
        ),
    ]
    if "model" in costs and costs["model"].notna().any():
        columns.append((Column("LLM"), lambda row: text(row["model"])))
    return table("costs-table", "What each classifier cost, on the machine below", costs, columns)


def costs(found: pd.DataFrame, schools: dict[str, str]) -> Section:
    ordered = found.dropna(subset="ms_per_text").sort_values("ms_per_text")
    lead = ""
    if len(ordered) > 1:
        cheapest, dearest = ordered.iloc[0], ordered.iloc[-1]
        times = short(dearest["ms_per_text"] / cheapest["ms_per_text"]).text
        lead = f"Of many texts at once, one takes {dearest['classifier']} {times} times as long as {cheapest['classifier']}."
    return Section("costs", "What it costs", lead, [costs_table(found, schools)])
