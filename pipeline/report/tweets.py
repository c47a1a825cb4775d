"""What tweets show: slices, disagreements, confident errors, doubtful labels, and what each classifier saw."""

from typing import Any

import altair as alt
import pandas as pd

from pipeline.compare.table import p_value
from pipeline.errors.disagreements import SCHOOLS, by_pair
from pipeline.report import charts
from pipeline.report.cells import Column_, classifier, number, of_ends, of_number, table, text
from pipeline.report.charts import in_points
from pipeline.report.parts import Cell, Column, Explained, Figure, Panel, Section, Seen, Table, Word
from pipeline.report.sentences import joined
from pipeline.stats.decisions import THRESHOLD

TWEET: Column_ = (Column("Text", wide=True), lambda row: text(row["raw_text"]))
KEYWORD: Column_ = (Column("Keyword"), lambda row: text(row["keyword"]))
SLICES = 25
"""Drawn of each classifier: a chart with more is not read."""


def label_of(labels: list[str], column: str = "target", title: str = "Label") -> Column_:
    return Column(title), lambda row: Cell(labels[int(row[column])])


def with_keywords(columns: list[Column_], found: pd.DataFrame) -> list[Column_]:
    """The columns, and the keyword as the last where any tweet has one."""
    return [*columns, KEYWORD] if found["keyword"].notna().any() else columns


def slices(found: pd.DataFrame, schools: dict[str, str]) -> Figure:
    """Those of each classifier that differ most from its other tweets, worst first."""
    names = list(dict.fromkeys(found["classifier"]))
    kept = (
        found.sort_values("p", kind="stable").groupby("classifier", sort=False).head(SLICES).sort_values("difference")
    )
    specs, rows = [], []
    for name in names:
        own = kept.loc[kept["classifier"] == name].drop(columns=["low", "high"])  # of the accuracy
        own = own.rename(columns={"difference": "value", "difference_low": "low", "difference_high": "high"})
        own = own.assign(verdict=own["worse"].map({True: "worse", False: "no real difference"}))
        colour = alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=["worse", "no real difference"], range=["var(--bad)", "var(--muted)"]),
            legend=alt.Legend(),
        )
        title = "Points against the rest"
        specs.append(
            charts.dots_with_intervals("slice", title, list(own["slice"]), colour, f"Slices of {name}, worst first.")
        )
        rows.append(in_points(own, "slice", "verdict"))
    worse = found[found["worse"]].groupby("classifier", sort=False).size()
    return Figure(
        name="slices-chart",
        caption=f"Up to {SLICES} slices that differ most from the classifier's other texts, with 95 % intervals; worse: after "
        "Holm's correction for many slices",
        description=f"{int((worse > 0).sum())} of {len(names)} classifiers are worse on some slice.",
        panels=[Panel(specs, rows)],
        table=table(
            "slices-table",
            "Slices",
            kept,
            [
                classifier(schools),
                (Column("Slice"), lambda row: text(row["slice"])),
                of_number("Texts", "rows"),
                of_ends("Accuracy", "accuracy"),
                of_ends("− rest, points", "difference", "difference_low", "difference_high", "+.1f", 100),
                (Column("p, Holm", numeric=True), lambda row: Cell(p_value(row["p_holm"]), order=row["p_holm"])),
                (Column("Worse"), lambda row: Cell("worse" if row["worse"] else "no")),
            ],
        ),
        choice="Classifier",
        choices=names,
    )


def disagreements(found: pd.DataFrame, labels: list[str]) -> Table:
    columns: list[Column_] = [
        TWEET,
        label_of(labels),
        (Column("Right"), lambda row: text(row["right"])),
        (Column("Twins"), lambda row: Cell(f"{row['generative']}, {row['discriminative']}")),
        of_number("Generative", "score_generative", 2),
        of_number("Discriminative", "score_discriminative", 2),
        of_number("Gap", "gap", 2),
    ]
    caption = f"Texts that twins decide differently: P({labels[1]}) of both, of each pair the widest gap first"
    by = {"Twins": 3, "Right": 2, "Label": 1}
    return table("disagreements-table", caption, found, with_keywords(columns, found), search=True, by=by)


def confident_errors(found: pd.DataFrame, schools: dict[str, str], labels: list[str], rows: int) -> Table:
    kept = found.groupby("classifier", sort=False).head(rows)
    columns = [TWEET, label_of(labels), of_number(f"P({labels[1]})", "score", 3), classifier(schools)]
    caption = "The most confident errors of each classifier"
    return table(
        "confident-errors-table",
        caption,
        kept,
        with_keywords(columns, kept),
        search=True,
        by={"Classifier": 3, "Label": 1},
    )


def label_noise(found: pd.DataFrame, labels: list[str], rows: int) -> Table:
    columns = [
        TWEET,
        label_of(labels),
        label_of(labels, "suggested", "Suggested"),
        of_number("Quality", "quality", 3),
        (
            Column("Near-duplicate with the other label"),
            lambda row: Cell("yes" if row["conflict"] else "no"),
        ),
    ]
    caption = "Labels in doubt, the most doubtful first: listed, never changed"
    return table(
        "label-noise",
        caption,
        found.head(rows),
        with_keywords(columns, found),
        search=True,
        by={"Label": 1, "Near-duplicate": 4},
    )


def relabelled(found: pd.DataFrame, schools: dict[str, str]) -> Table:
    columns = [
        classifier(schools),
        (
            Column("Doubtful labels in training"),
            lambda row: Cell({"keep": "kept", "drop": "dropped", "relabel": "changed"}[row["treatment"]]),
        ),
        (Column("Texts treated", numeric=True), lambda row: number(row["trained_without"])),
        of_ends("Accuracy", "accuracy"),
        of_ends("− kept, points", "difference", "difference_low", "difference_high", "+.2f", 100),
    ]
    return table(
        "relabelled", "What treating doubtful labels does to accuracy on the labels as they are", found, columns
    )


def errors(tables: dict[str, Any], schools: dict[str, str], labels: list[str], rows: int) -> list[Section]:
    found, apart = tables["slices"], tables["disagreements"]
    worse = found[found["worse"].astype(bool)]["slice"].value_counts()
    lead = (
        "Slices that are really worse for most classifiers, and for how many: "
        f"{joined([f'{name} ({count})' for name, count in worse.head(3).items()])}."
        if len(worse)
        else "No classifier is really worse on any slice than elsewhere."
    )
    made = [Section("slices", "Where they fail", lead, [slices(found, schools)])] if len(found) else []
    lead = "No text is decided differently by twins: no two of them ran, or they agree on all."
    if len(apart):
        lead = " ".join(
            f"{a} and {b} decide {n:,} texts differently: the generative one is right about {right:,} of them."
            for a, b, n, right in by_pair(apart)
        )
        apart = apart.groupby(SCHOOLS, sort=False).head(rows)
    parts: list[Table | Figure] = [disagreements(apart, labels)] if len(apart) else []
    made.append(Section("disagreements", "Where twins disagree", lead, parts))
    if len(tables["confident_errors"]):
        listed = confident_errors(tables["confident_errors"], schools, labels, rows)
        made.append(Section("confident-errors", "Sure, and wrong", "", [listed]))
    if len(tables["label_noise"]):
        noisy = tables["label_noise"]
        lead = (
            f"{len(noisy):,} labels are in doubt; {int(noisy['conflict'].sum()):,} of these texts have a near-duplicate with "
            "the other label."
        )
        parts = [label_noise(noisy, labels, rows)]
        parts += [relabelled(tables["relabelled"], schools)] if len(tables["relabelled"]) else []
        made.append(Section("doubtful-labels", "Labels in doubt", lead, parts))
    return made


def word(content: str, weight: float, largest: float) -> Word:
    """A word with the part that it had, from 0 to 4 of the largest; the sign is shown from 1 on."""
    strength = round(4 * abs(weight) / largest) if largest else 0
    sign = "" if not strength else "+" if weight > 0 else "−"
    return Word(content, sign, f"{weight:+.2f}", strength)


def seen(one: dict[str, Any], target: int, schools: dict[str, str]) -> Seen:
    words = one.get("words") or []
    largest = max((abs(weight) for _, weight in words), default=0.0)
    score = one["score"]
    return Seen(
        classifier=one["classifier"],
        school=schools.get(one["classifier"], "other"),
        score="unparsed" if score is None else f"{score:.2f}",
        right=score is not None and (score > THRESHOLD) == bool(target),
        words=[word(str(content), float(weight), largest) for content, weight in words],
        reply=str(one.get("reply") or ""),
    )


def explanations(lines: list[dict[str, Any]], schools: dict[str, str], labels: list[str]) -> list[Section]:
    explained = [
        Explained(
            text=str(line["raw_text"]),
            label=labels[line["target"]],
            keyword=str(line["keyword"] or ""),
            seen=[seen(one, line["target"], schools) for one in line["seen"]],
        )
        for line in lines
    ]
    lead = (
        "What each classifier saw, by a model that was not trained on the text: words marked + speak for "
        f"{labels[1]}, words marked − against, stronger colours more so. An LLM is shown by its reply."
    )
    return [Section("explanations", "What each saw", lead, explained=explained)] if explained else []
