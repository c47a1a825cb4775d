"""What tweets show: slices, disagreements, confident errors, doubtful labels, and what each classifier saw."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from pipeline.data.clean import mended
from pipeline.errors.disagreements import SCHOOLS, by_pair
from pipeline.report import charts
from pipeline.report.charts import in_points
from pipeline.report.parts import About, Figure, Panel, Section
from pipeline.report.results import Tables
from pipeline.report.sentences import joined
from pipeline.stats.decisions import THRESHOLD
from pipeline.tables import LOW_HIGH, Column, Table, number, p_value, points

ACCURACY = Column("Accuracy", "accuracy", ".3f", ends=LOW_HIGH)

TWEET = Column("Text", lambda row: mended(row["raw_text"]), wide=True)
"""As it was written; the stages' csv files have it as it came."""
LARGEST = 25
"""The slices drawn of each classifier: a chart with more is not read."""
SLICES = [
    Column("Slice", "slice"),
    Column("Texts", "rows", ",.0f"),
    ACCURACY,
    points("− rest, points", form="+.1f"),
    Column("p, Holm", "p_holm", p_value),
    Column("Worse", lambda row: "worse" if row["worse"] else "no"),
]
TREATED = {"keep": "kept", "drop": "dropped", "relabel": "changed"}
RELABELLED = [
    Column("Doubtful labels in training", lambda row: TREATED[row["treatment"]]),
    Column("Texts treated", "trained_without", ",.0f"),
    ACCURACY,
    points("− kept, points"),
]


def label(about: About, title: str = "Label", column: str = "target") -> Column:
    return Column(title, lambda row: about.labels[int(row[column])])


def listed(found: pd.DataFrame, columns: list[Column], name: str, caption: str, by: Sequence[str]) -> Table:
    """Tweets that can be searched, with the keyword as the last column where any has one."""
    keyword = [Column("Keyword", "keyword")] if found["keyword"].notna().any() else []
    return Table(found, [TWEET, *columns, *keyword], name, caption, searchable=True, by=tuple(by))


def where_they_fail(found: pd.DataFrame, about: About) -> Section:
    """The slices of each classifier that differ most from its other tweets, worst first."""
    kept = found.sort_values("p", kind="stable").groupby("classifier", sort=False).head(LARGEST)
    kept = kept.sort_values("difference")
    ends = {"difference": "value", "difference_low": "low", "difference_high": "high"}
    drawn = kept[["classifier", "slice", *ends]].rename(columns=ends)
    drawn["verdict"] = kept["worse"].map({True: "worse", False: "no real difference"})
    scale = alt.Scale(domain=["worse", "no real difference"], range=["var(--bad)", "var(--muted)"])
    colour, title = alt.Color("verdict:N", scale=scale, legend=alt.Legend()), "Points against the rest"
    specs, rows = {}, []
    for name in dict.fromkeys(about.best_first(found)["classifier"]):
        own = drawn[drawn["classifier"] == name]
        said = f"Slices of {name}, worst first."
        specs[name] = charts.differences("slice", title, colour, said, rows=len(own))
        rows.append(in_points(own, "slice", "verdict"))
    worse = found[found["worse"].astype(bool)]
    figure = Figure(
        name="slices-chart",
        caption=f"Up to {LARGEST} slices that differ most from the classifier's other texts, with 95 % intervals; worse: after "
        "Holm's correction for many slices",
        description=f"{worse['classifier'].nunique()} of {len(specs)} classifiers are worse on some slice.",
        panels=[Panel([*specs.values()], rows)],
        table=Table(kept, [about.classifier(), *SLICES], "slices-table", "Slices"),
        choice="Classifier",
        choices=[*specs],
    )
    most = joined([f"{name} ({count})" for name, count in worse["slice"].value_counts().head(3).items()])
    lead = f"Slices that are really worse for most classifiers, and for how many: {most}."
    if worse.empty:
        lead = "No classifier is really worse on any slice than elsewhere."
    return Section("slices", lead, [figure])


def disagreements(apart: pd.DataFrame, about: About) -> Section:
    if not len(apart):
        lead = "No text is decided differently by twins: no two of them ran, or they agree on all."
        return Section("disagreements-of-twins", lead)
    lead = " ".join(
        f"{a} and {b} decide {n:,} texts differently: the generative one is right about {right:,} of them."
        for a, b, n, right in by_pair(apart)
    )
    columns = [
        label(about),
        Column("Right", "right"),
        Column("Twins", lambda row: f"{row['generative']}, {row['discriminative']}"),
        Column("Generative", "score_generative", ".2f"),
        Column("Discriminative", "score_discriminative", ".2f"),
        Column("Gap", "gap", ".2f"),
    ]
    caption = f"Texts that twins decide differently: P({about.labels[1]}) of both, of each pair the widest gap first"
    shown = apart.groupby(SCHOOLS, sort=False).head(about.rows)
    table = listed(shown, columns, "disagreements-table", caption, ("Twins", "Right", "Label"))
    return Section("disagreements-of-twins", lead, [table])


def confident_errors(found: pd.DataFrame, about: About) -> Section:
    columns = [label(about), Column(f"P({about.labels[1]})", "score", ".3f"), about.classifier()]
    shown = about.best_first(found).groupby("classifier", sort=False).head(about.rows)
    caption = "The most confident errors of each classifier"
    table = listed(shown, columns, "confident-errors-table", caption, ("Classifier", "Label"))
    return Section("confident-errors", "", [table])


def doubtful_labels(noisy: pd.DataFrame, relabelled: pd.DataFrame, about: About) -> Section:
    lead = (
        f"{len(noisy):,} labels are in doubt; {int(noisy['conflict'].sum()):,} of these texts have a near-duplicate with "
        "the other label."
    )
    conflict = "Near-duplicate with the other label"
    columns = [
        label(about),
        label(about, "Suggested", "suggested"),
        Column("Quality", "quality", ".3f"),
        Column(conflict, lambda row: "yes" if row["conflict"] else "no"),
    ]
    caption = "Labels in doubt, the most doubtful first: listed, never changed"
    tables = [listed(noisy.head(about.rows), columns, "label-noise", caption, ("Label", conflict))]
    if len(relabelled):
        caption = "What treating doubtful labels does to accuracy on the labels as they are"
        tables.append(Table(relabelled, [about.classifier(), *RELABELLED], "relabelled", caption))
    return Section("doubtful-labels", lead, [*tables])


def errors(tables: Tables, about: About) -> list[Section]:
    found, wrong, noisy = tables["slices"], tables["confident_errors"], tables["label_noise"]
    return [
        *([where_they_fail(found, about)] if len(found) else []),
        disagreements(tables["disagreements"], about),
        *([confident_errors(wrong, about)] if len(wrong) else []),
        *([doubtful_labels(noisy, tables["relabelled"], about)] if len(noisy) else []),
    ]


class Word(NamedTuple):
    text: str
    sign: str
    """`+` speaks for target 1, `−` against; nothing where the word hardly matters."""
    weight: str
    strength: int
    """From 0 to 4: how much, against the weightiest word that this classifier saw in the tweet."""


def word(text: str, weight: float, largest: float) -> Word:
    strength = round(4 * abs(weight) / largest) if largest else 0
    sign = "" if not strength else "+" if weight > 0 else "−"
    return Word(text, sign, number(weight, "+.2f"), strength)


def seen(one: dict[str, Any], target: int, about: About) -> dict[str, Any]:
    """What a classifier saw in a tweet: words with weights, or the reply that it gave."""
    words, score = one.get("words") or [], one["score"]
    largest = max((abs(weight) for _, weight in words), default=0.0)
    return {
        "classifier": one["classifier"],
        "school": about.schools.get(one["classifier"], "other"),
        "score": "unparsed" if score is None else f"{score:.2f}",
        "right": score is not None and (score > THRESHOLD) == bool(target),
        "words": [word(text, weight, largest) for text, weight in words],
        "reply": one.get("reply") or "",
        "sum": summed(words, score),
    }


def summed(words: list[tuple[str, float]], score: float | None) -> str:
    """How the words' weights and what holds without any word make the score."""
    if not words or score is None or not 0 < score < 1:
        return ""
    total, spoken = math.log(score / (1 - score)), sum(weight for _, weight in words)
    silent, words_say, both = (number(value, "+.2f") for value in (total - spoken, spoken, total))
    return f"log-odds: {silent} without a word, words {words_say}, together {both}, so {score:.2f}"


def explanations(tables: Tables, about: About) -> list[Section]:
    explained = [
        {
            "text": mended(line["raw_text"]),
            "label": about.labels[line["target"]],
            "seen": [seen(one, line["target"], about) for one in line["seen"]],
        }
        for line in tables["explanations"]
    ]
    lead = (
        "What each classifier saw, by a model that was not trained on the text: words marked + speak for "
        f"{about.labels[1]}, words marked − against, stronger colours more so. An LLM is shown by its reply."
    )
    return [Section("what-each-saw", lead, explained=explained)] if explained else []
