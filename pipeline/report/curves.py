"""Learning curves, robustness and generation: what changes with labels, noise and samples."""

from itertools import groupby

import altair as alt
import pandas as pd

from pipeline.curves.twins import Twins
from pipeline.report import charts
from pipeline.report.charts import Field, in_points, records
from pipeline.report.parts import About, Figure, Panel, Section
from pipeline.report.results import Tables
from pipeline.report.sentences import joined, points
from pipeline.tables import LOW_HIGH, Column, Table, measured

SHOWN = {"accuracy": "Accuracy", "log_loss": "Log loss", "ece": "Calibration error"}
LABELS, WORDS = Field("size", "Labels", ",~g", log=True), Field("rate", "Share of words", ".0%")


def shared_axis(title: str, frame: pd.DataFrame) -> Field:
    """Of several charts: from the lowest to the highest end of an interval, with a little room."""
    low, high = float(frame["low"].min()), float(frame["high"].quantile(0.98))
    room = 0.03 * (high - low)
    return Field("value", title, ".3f", domain=(low - room, high + room))


def learning(tables: Tables, about: About) -> list[Section]:
    curves = tables["curves"]
    twins = {(row["generative"], row["discriminative"]): Twins(**row) for row in tables["twins"].to_dict("records")}
    alone = sorted({*curves["series"]} - {name for pair in twins for name in pair})
    drawn = [*twins, *(tuple(names) for _, names in groupby(alone, lambda name: name.removesuffix("_platt")))]
    measures = {}
    for metric, title in SHOWN.items():
        ends = {metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"}
        measures[title] = curves[["series", "size", *ends]].rename(columns=ends)
    panels = []
    for names in drawn:
        pair, specs, rows = twins.get(names), [], []
        for title, frame in measures.items():
            crosses = title == "Accuracy" and pair and pair.share >= 0.5
            below = charts.crossing(pair.crossing, pair.low, pair.high) if pair and crosses else []
            said = f"{title} of {joined([*names])} by number of labels, with 95 % bands."
            axis = shared_axis(title, frame)
            specs.append(charts.curves(LABELS, axis, names, about.school_of(names), said, below))
            rows.append(records(frame[frame["series"].isin(names)]))
        panels.append(Panel(specs, rows, joined([*names])))
    verdicts = " ".join(pair.verdict() for pair in twins.values())
    columns = [
        about.classifier("series"),
        Column("Labels", "size", ",.0f"),
        *(measured(title, metric) for metric, title in SHOWN.items()),
        Column("Models with one answer for all, %", "one_answer", ",.0f", 100),
    ]
    figure = Figure(
        name="learning-curves",
        caption="By number of labels, on held-out texts; bands are 95 % intervals over subsets and texts. Where twins cross in "
        "most draws of the bootstrap, a dashed line says where, in its interval",
        description=verdicts or "Learning curves.",
        panels=panels,
        table=Table(curves, columns, "learning-curves-table", "Learning curves"),
        choice="Measure",
        choices=[*measures],
    )
    return [Section("by-number-of-labels", verdicts or "No two twins have a learning curve.", [figure])]


def robustness(tables: Tables, about: About) -> list[Section]:
    noise, shift = tables["noise"], tables["shift"]
    names, accuracy = list(dict.fromkeys(noise["classifier"])), shared_axis("Accuracy", noise)
    panels = []
    for kind, title in {"drop": "Words dropped", "substitute": "Words replaced by others"}.items():
        spec = charts.curves(WORDS, accuracy, names, about.school_of(names), f"Accuracy, {title.lower()}.")
        rows = noise[noise["kind"].isin(["none", kind])].rename(columns={"classifier": "series"})
        panels.append(Panel([spec], [records(rows)], title))
    columns = [
        about.classifier(),
        Column("Noise", "kind"),
        Column("Words, %", "rate", ",.0f", 100),
        Column("Accuracy", "value", ".3f", ends=LOW_HIGH),
    ]
    figure = Figure(
        name="noise",
        caption="Accuracy on held-out texts whose words are dropped or replaced, with 95 % bands",
        description=f"Accuracy of {joined(names)} by share of words that are garbled.",
        panels=panels,
        table=Table(noise, columns, "noise-table", "Accuracy by noise"),
    )
    if shift.empty:
        lead = "What unseen keywords cost was not measured: there are too few keywords."
        return [Section("robustness", lead, [figure])]
    lost = shift[shift["what"] == "lost"].sort_values("value")
    each = [
        f"{name} {'gains' if value < -0.0005 else 'loses'} {points(value)}"
        for name, value in zip(lost["classifier"], lost["value"], strict=True)
    ]
    lead = f"On texts whose keyword training has not seen, {joined(each)}, against the same texts when it has."
    wide = shift.pivot_table(index="classifier", columns="what", values=["value", "low", "high"], sort=False)
    wide.columns = [f"{what}_{name}" for name, what in wide.columns]
    columns = [about.classifier()]
    for what, title in {"seen": "Seen, %", "unseen": "Unseen, %", "lost": "Lost, points"}.items():
        columns.append(Column(title, f"{what}_value", ".1f", 100, (f"{what}_low", f"{what}_high")))
    by_shift = Table(wide.reset_index(), columns, "shift", "Accuracy on keywords that training has seen, and has not")
    return [Section("robustness", lead, [figure, by_shift])]


FAMILY = Column("Family", "family")
MEASURED = [
    FAMILY,
    Column("Measure", "measure"),
    Column("Learnt from", "rows", ",.0f"),
    Column("Samples", "generated", ",.3f"),
    Column("Real texts", "real", ",.3f"),
    Column("Difference", "value", "+.3f", ends=LOW_HIGH),
]


def generation(tables: Tables, about: About) -> list[Section]:
    metrics = tables["metrics"].assign(value=lambda rows: rows["generated"] - rows["real"])
    best_first = metrics.sort_values("value", ascending=False)
    learnt, few = (best_first[best_first["measure"] == measure] for measure in ("accuracy score", "few labels"))
    lead = (
        f"A classifier that learns from generated texts alone is as good as one that learns from as many real ones for "
        f"{int((learnt['high'] >= 0).sum())} of {len(learnt)} families, as far as the intervals tell."
    )
    rows = {"Samples alone": learnt} | {f"{size:,} labels and samples": part for size, part in few.groupby("rows")}
    colour, said = alt.value("var(--generative)"), "What samples are worth to a classifier."
    spec = charts.differences("family", "Points against real texts", colour, said, rows=learnt["family"].nunique())
    figure = Figure(
        name="samples",
        caption="What a classifier loses that learns from samples instead of as many real texts; and, with few labels, what "
        "samples add to them. 95 % intervals",
        description=lead,
        panels=[Panel([spec], [in_points(frame, "family") for frame in rows.values()])],
        table=Table(metrics, MEASURED, "samples-table", "All that was measured of samples, beside real texts"),
        choice="Learnt from",
        choices=[*rows],
    )
    samples = pd.DataFrame(tables["samples"])
    texts = samples[samples["text"].notna()].groupby(["family", "target"], sort=False).head(3)
    of_real = metrics[metrics["measure"] == "nearest distance"].set_index("family")["real"]
    texts.loc[~(texts["distance"] < texts["family"].map(of_real)), "nearest_text"] = None
    columns = [
        FAMILY,
        Column("Meant as", lambda row: about.labels[row["target"]]),
        Column("Sample", "text", wide=True),
        Column("Nearest text", "nearest_text", wide=True),
        Column("Distance", "distance", ".2f"),
    ]
    caption = (
        "The first samples of those that write texts; the training text next to one, where it is nearer than to half of the "
        "held-out texts"
    )
    listed = [Table(texts, columns, "sampled-texts", caption)] if len(texts) else []
    return [Section("generated-texts", lead, [figure, *listed])]
