"""The page of errors: numbers alone. The tweets are in the csv files beside it, since this page may be shared."""

from dataclasses import replace

import pandas as pd

from pipeline.compare.table import CLASSIFIER
from pipeline.errors.disagreements import SCHOOLS, by_pair
from pipeline.tables import DASH, LOW_HIGH, Column, Row, Table, interval, p_value, page, points

MOST_SLICES = 40
ACCURACY = Column("Accuracy", "accuracy", ".3f", ends=LOW_HIGH)
SLICES = [
    Column("Slice", "slice"),
    Column("Texts", "rows", ",.0f"),
    Column("Classifiers worse there", "classifiers", ",.0f"),
    Column("Most so", "classifier"),
    replace(ACCURACY, title="Its accuracy"),
    points("Minus the rest, points"),
    Column("p", "p_holm", p_value),
]
APART = [
    Column("Twins", lambda row: f"{row['generative']}, {row['discriminative']}"),
    Column("Texts", "rows", ",.0f"),
    Column("The generative one right", "right", ",.0f"),
    Column("The discriminative one right", lambda row: row["rows"] - row["right"], ",.0f"),
]


def minus_keep(row: Row) -> str:
    return DASH if row["treatment"] == "keep" else interval(row, "difference", "+.2f", 100)


RELABELLED = [
    CLASSIFIER,
    Column("Suspected labels", "treatment"),
    Column("Per training set", "trained_without", ",.0f"),
    ACCURACY,
    Column("Minus keep, points", minus_keep, order="difference"),
]


def worse_slices(slices: pd.DataFrame) -> pd.DataFrame:
    """The slices on which classifiers are worse than on the rest, those of most classifiers first; each by the worst of them."""
    worse = slices[slices["worse"].astype(bool)]
    counts = worse["slice"].value_counts().head(MOST_SLICES).rename("classifiers")
    lowest = worse.sort_values("difference", kind="stable").drop_duplicates("slice").set_index("slice")
    return counts.to_frame().join(lowest).reset_index()


def render(
    *,
    slices: pd.DataFrame,
    disagreements: pd.DataFrame,
    confident_errors: pd.DataFrame,
    label_noise: pd.DataFrame,
    relabelled: pd.DataFrame,
    classifiers: int,
    rows: int,
    labels: list[str],
    left_out: list[str],
) -> str:
    """The tables that main() writes, as sentences and tables."""
    parts = [
        (
            f"{classifiers} classifiers that scored each of {rows:,} texts, out-of-fold, on {slices['slice'].nunique()} slices "
            "(`errors/slices.csv`). Intervals are by bootstrap over groups; p is Fisher's, a group counted as one text, after "
            "Holm's correction over the slices of a classifier."
        )
    ]
    if len(slices) and slices["worse"].any():
        worse = Table(worse_slices(slices), SLICES).markdown()
        parts += ["Slices on which a classifier is worse than on the rest:", worse]
    else:
        parts.append("On no slice is a classifier worse than on the rest.")
    if len(disagreements):
        parts += [
            "Texts that a generative classifier and its discriminative twin decide differently (`errors/disagreements.csv`):",
            Table(pd.DataFrame(by_pair(disagreements), columns=[*SCHOOLS, "rows", "right"]), APART).markdown(),
        ]
    else:
        parts.append("No text is decided differently by twins: no two of them ran, or they agree on all.")
    parts += [
        f"The {len(confident_errors):,} surest errors of all classifiers are in `errors/confident_errors.csv`.",
        (
            f"Confident learning suspects {len(label_noise):,} labels ({len(label_noise) / rows:.1%}; `errors/label_noise.csv`), "
            f"{int((label_noise['target'] == 1).sum()):,} of them {labels[1]} by their label; "
            f"{int(label_noise['conflict'].sum()):,} "
            "have a near-duplicate with the other label. All rows stay, and are scored against the label that they came with."
        ),
    ]
    if len(relabelled):
        parts += [
            "What it is worth to drop or turn the labels that are suspected inside the training folds:",
            Table(relabelled, RELABELLED).markdown(),
        ]
    return page(*parts, *left_out)
