"""Learning curves, robustness and generation: what changes with labels, noise and samples."""

import altair as alt
import pandas as pd

from pipeline.curves.twins import Twins
from pipeline.report import charts
from pipeline.report.charts import in_points, records
from pipeline.report.parts import About, Figure, Panel, Section
from pipeline.report.results import Tables
from pipeline.report.sentences import joined
from pipeline.tables import LOW_HIGH, Column, Table, measured

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


def learning(tables: Tables, about: About) -> list[Section]:
    curves, twins = tables["curves"], [Twins(**row) for row in tables["twins"].to_dict("records")]
    paired = {name for pair in twins for name in (pair.generative, pair.discriminative)}
    alone = [name for name in dict.fromkeys(curves["series"]) if name not in paired]
    drawn: list[tuple[list[str], Twins | None]] = [([pair.generative, pair.discriminative], pair) for pair in twins]
    drawn += [(names, None) for names in with_variants(alone)]
    by_metric = {title: with_value(curves, metric) for metric, title in SHOWN.items()}
    panels = []
    for names, pair in drawn:
        crossing = charts.crossing(pair.crossing, pair.low, pair.high) if pair and pair.share >= 0.5 else []
        specs = [
            charts.with_bands(
                LABELS,
                metric,
                domain(frame),
                names,
                about.school_of(names),
                description=f"{metric} of {joined(names)} by number of labels, with 95 % bands.",
                extra=crossing if metric == "Accuracy" else [],
            )
            for metric, frame in by_metric.items()
        ]
        kept = ["series", "size", "value", "low", "high"]
        rows = [records(frame.loc[frame["series"].isin(names), kept]) for frame in by_metric.values()]
        panels.append(Panel(specs, rows, joined(names)))
    verdicts = " ".join(pair.verdict() for pair in twins)
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
        choices=[*by_metric],
    )
    return [Section("labels", "From how many labels on", verdicts or "No two twins have a learning curve.", [figure])]


NOISE = [
    Column("Noise", "kind"),
    Column("Words, %", "rate", ",.0f", 100),
    Column("Accuracy", "value", ".3f", ends=LOW_HIGH),
]


def robustness(tables: Tables, about: About) -> list[Section]:
    noise, shift = tables["noise"], tables["shift"]
    names = list(dict.fromkeys(noise["classifier"]))
    rate = charts.By("rate", "Share of words", form=".0%")
    panels = []
    for kind, title in {"drop": "Words dropped", "substitute": "Words replaced by others"}.items():
        rows = pd.concat([noise[noise["kind"] == one] for one in ("none", kind)]).rename(
            columns={"classifier": "series"}
        )
        said = f"Accuracy, {title.lower()}."
        spec = charts.with_bands(rate, "Accuracy", domain(noise), names, about.school_of(names), description=said)
        panels.append(Panel([spec], [records(rows)], title))
    figure = Figure(
        name="noise",
        caption="Accuracy on held-out texts whose words are dropped or replaced, with 95 % bands",
        description=f"Accuracy of {joined(names)} by share of words that are garbled.",
        panels=panels,
        table=Table(noise, [about.classifier(), *NOISE], "noise-table", "Accuracy by noise"),
    )
    if shift.empty:
        lead = "What unseen keywords cost was not measured: there are too few keywords."
        return [Section("robustness", "Noise", lead, [figure])]
    lost = shift[shift["what"] == "lost"].sort_values("value")
    each = [f"{row['classifier']} {100 * row['value']:.1f} points" for _, row in lost.iterrows()]
    lead = f"Texts whose keyword training has not seen cost {joined(each)}."
    titles = {"seen": "Seen, %", "unseen": "Unseen, %", "lost": "Lost, points"}
    ends = {what: (f"{what}_low", f"{what}_high") for what in titles}
    wide = shift.pivot_table(index="classifier", columns="what", values=["value", "low", "high"], sort=False)
    wide.columns = [f"{what}_{name}" for name, what in wide.columns]
    columns = [Column(title, f"{what}_value", ".1f", 100, ends[what]) for what, title in titles.items()]
    caption = "Accuracy on keywords that training has seen, and has not"
    by_shift = Table(wide.reset_index(), [about.classifier(), *columns], "shift", caption)
    return [Section("robustness", "Noise and new keywords", lead, [figure, by_shift])]


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
    learnt, few = (metrics[metrics["measure"] == measure] for measure in ("accuracy score", "few labels"))
    order = [str(name) for name in learnt.sort_values("value", ascending=False)["family"]]
    lead = (
        f"A classifier that learns from generated texts alone is as good as one that learns from as many real ones for "
        f"{int((learnt['high'] >= 0).sum())} of {len(learnt)} families, as far as the intervals tell."
    )
    rows = {"Samples alone": learnt} if len(learnt) else {}
    rows |= {f"{size:,} labels and samples": part for size, part in few.groupby("rows")}
    spec = charts.dots_with_intervals(
        "family",
        "Points against real texts",
        order,
        alt.value("var(--generative)"),
        "What samples are worth to a classifier.",
    )
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
    columns = [
        FAMILY,
        Column("Meant as", lambda row: about.labels[row["target"]]),
        Column("Sample", "text", wide=True),
        Column("Nearest text", "nearest_text", wide=True),
        Column("Distance", "distance", ".2f"),
    ]
    caption = "The first samples of those that write texts, and the training text next to each"
    listed = [Table(texts, columns, "sampled-texts", caption)] if len(texts) else []
    return [Section("generation", "New texts", lead, [figure, *listed])]
