"""Learning curves, robustness and generation: what changes with labels, noise and samples."""

from typing import Any

import altair as alt
import pandas as pd

from pipeline.curves.twins import Twins
from pipeline.report import charts
from pipeline.report.cells import classifier, named, number, of_ends, of_metric, of_number, table, with_ends
from pipeline.report.charts import in_points, records
from pipeline.report.parts import Cell, Column, Figure, Panel, Section
from pipeline.report.sentences import joined

SHOWN = {"accuracy": "Accuracy", "log_loss": "Log loss", "ece": "Calibration error"}
LABELS = charts.By("size", "Labels", log=True)


def with_value(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The frame with a metric and its ends as `value`, `low` and `high`."""
    return frame.rename(columns={metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"})


def domain(frame: pd.DataFrame) -> tuple[float, float]:
    """From the lowest to the highest end of an interval, with a little room."""
    low, high = float(frame["low"].min()), float(frame["high"].quantile(0.98))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def with_variants(names: list[str]) -> list[list[str]]:
    """The names, each with those that begin with it: a prompt, and the same after Platt scaling."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(next((other for other in found if name.startswith(f"{other}_")), name), []).append(name)
    return list(found.values())


def learning(tables: dict[str, Any], schools: dict[str, str]) -> list[Section]:
    curves, twins = tables["curves"], [Twins(**row) for row in tables["twins"].to_dict("records")]
    series = list(dict.fromkeys(curves["series"]))
    alone = [name for name in series if not any(name in (pair.generative, pair.discriminative) for pair in twins)]
    drawn: list[tuple[str, list[str], Twins | None]] = [
        (f"{pair.generative} and {pair.discriminative}", [pair.generative, pair.discriminative], pair) for pair in twins
    ]
    drawn += [(joined(names), names, None) for names in with_variants(alone)]
    by_metric = {title: with_value(curves, metric) for metric, title in SHOWN.items()}
    panels = []
    for title, names, pair in drawn:
        crosses = pair is not None and pair.share >= 0.5
        specs = [
            charts.with_bands(
                LABELS,
                metric,
                domain(frame),
                names,
                [schools.get(name, "other") for name in names],
                description=f"{metric} of {title} by number of labels, with 95 % bands.",
                extra=charts.crossing(pair.crossing, pair.low, pair.high)
                if pair and crosses and metric == "Accuracy"
                else (),
            )
            for metric, frame in by_metric.items()
        ]
        rows = [
            records(frame.loc[frame["series"].isin(names), ["series", "size", "value", "low", "high"]])
            for frame in by_metric.values()
        ]
        panels.append(Panel(specs, rows, title))
    figure = Figure(
        name="learning-curves",
        caption="By number of labels, on held-out texts; bands are 95 % intervals over subsets and texts. Where twins cross in "
        "most draws of the bootstrap, a dashed line says where, in its interval",
        description=" ".join(pair.verdict() for pair in twins) or "Learning curves.",
        panels=panels,
        table=table(
            "learning-curves-table",
            "Learning curves",
            curves,
            [
                classifier(schools, "series"),
                of_number("Labels", "size"),
                *(of_metric(title, metric) for metric, title in SHOWN.items()),
                of_number("Models with one answer for all, %", "one_answer", scale=100),
            ],
        ),
        choice="Measure",
        choices=list(by_metric),
    )
    lead = " ".join(pair.verdict() for pair in twins) or "No two twins have a learning curve."
    return [Section("labels", "From how many labels on", lead, [figure])]


def robustness(tables: dict[str, Any], schools: dict[str, str]) -> list[Section]:
    noise, shift = tables["noise"], tables["shift"]
    names = list(dict.fromkeys(noise["classifier"]))
    rate = charts.By("rate", "Share of words", form=".0%")
    clean = noise[noise["kind"] == "none"]
    panels = []
    for kind, title in {"drop": "Words dropped", "substitute": "Words replaced by others"}.items():
        rows = pd.concat([clean, noise[noise["kind"] == kind]]).rename(columns={"classifier": "series"})
        spec = charts.with_bands(
            rate,
            "Accuracy",
            domain(noise),
            names,
            [schools.get(name, "other") for name in names],
            description=f"Accuracy, {title.lower()}.",
        )
        panels.append(Panel([spec], [records(rows)], title))
    figure = Figure(
        name="noise",
        caption="Accuracy on held-out texts whose words are dropped or replaced, with 95 % bands",
        description=f"Accuracy of {joined(names)} by share of words that are garbled.",
        panels=panels,
        table=table(
            "noise-table",
            "Accuracy by noise",
            noise,
            [
                classifier(schools),
                named("Noise", "kind"),
                of_number("Words, %", "rate", 0, 100),
                of_ends("Accuracy", "value"),
            ],
        ),
    )
    if shift.empty:
        lead = "What unseen keywords cost was not measured: there are too few keywords."
        return [Section("robustness", "Noise", lead, [figure])]
    lost = shift[shift["what"] == "lost"].sort_values("value")
    lead = (
        "Texts whose keyword training has not seen cost "
        + joined([f"{row['classifier']} {100 * row['value']:.1f} points" for _, row in lost.iterrows()])
        + "."
    )
    wide = shift.set_index(["classifier", "what"])[["value", "low", "high"]].unstack()  # noqa: PD010 - keeps the order
    wide.columns = [f"{what}_{name}" for name, what in wide.columns]
    columns = [classifier(schools)]
    for what, title in {"seen": "Seen, %", "unseen": "Unseen, %", "lost": "Lost, points"}.items():
        columns.append(of_ends(title, f"{what}_value", f"{what}_low", f"{what}_high", ".1f", 100))
    by_shift = table(
        "shift", "Accuracy on keywords that training has seen, and has not", wide.loc[names].reset_index(), columns
    )
    return [Section("robustness", "Noise and new keywords", lead, [figure, by_shift])]


def generation(tables: dict[str, Any], labels: list[str]) -> list[Section]:
    metrics = tables["metrics"].assign(value=lambda rows: rows["generated"] - rows["real"])
    learnt, few = (metrics[metrics["measure"] == measure] for measure in ("accuracy score", "few labels"))
    order = [str(name) for name in learnt.sort_values("value", ascending=False)["family"]]
    colour = alt.value("var(--generative)")
    as_good = learnt[learnt["high"] >= 0]
    lead = (
        f"A classifier that learns from generated texts alone is as good as one that learns from as many real ones for "
        f"{len(as_good)} of {len(learnt)} families, as far as the intervals tell."
    )
    rows = [learnt.assign(at="Samples alone")]
    rows += [
        few[few["rows"] == size].assign(at=f"{size:,} labels and samples") for size in sorted(few["rows"].unique())
    ]
    rows = [frame for frame in rows if len(frame)]
    title = "Points against real texts"
    spec = charts.dots_with_intervals("family", title, order, colour, "What samples are worth to a classifier.")
    figure = Figure(
        name="samples",
        caption="What a classifier loses that learns from samples instead of as many real texts; and, with few labels, what "
        "samples add to them. 95 % intervals",
        description=lead,
        panels=[Panel([spec], [in_points(frame, "family") for frame in rows])],
        table=table(
            "samples-table",
            "All that was measured of samples, beside real texts",
            metrics,
            [
                named("Family", "family"),
                named("Measure", "measure"),
                of_number("Learnt from", "rows"),
                of_number("Samples", "generated", 3),
                of_number("Real texts", "real", 3),
                (Column("Difference", numeric=True), lambda row: with_ends(row, "value", "low", "high", "+.3f")),
            ],
        ),
        choice="Learnt from",
        choices=[str(frame["at"].iloc[0]) for frame in rows],
    )
    samples = pd.DataFrame(tables["samples"])
    texts = samples[samples["text"].notna()].groupby(["family", "target"], sort=False).head(3)
    shown = table(
        "sampled-texts",
        "The first samples of those that write texts, and the training text next to each",
        texts,
        [
            named("Family", "family"),
            (Column("Meant as"), lambda row: Cell(labels[row["target"]])),
            named("Sample", "text", wide=True),
            named("Nearest text", "nearest_text", wide=True),
            (Column("Distance", numeric=True), lambda row: number(row["distance"], 2)),
        ],
    )
    return [Section("generation", "New texts", lead, [figure, *([shown] if len(texts) else [])])]
