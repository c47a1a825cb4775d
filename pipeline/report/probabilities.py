"""Calibration: whether scores mean what they say."""

from pipeline.report import charts
from pipeline.report.parts import About, Figure, Panel, Section
from pipeline.report.results import Tables
from pipeline.tables import LOW_HIGH, Column, Table, measured, present

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
    return [Section("calibration", "Do scores mean what they say", lead, [figure, by_method])]
