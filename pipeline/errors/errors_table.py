"""The page of errors: numbers alone. The tweets are in the csv files beside it, since this page may be shared."""

import pandas as pd

from pipeline.compare.table import markdown, number, p_value
from pipeline.errors.disagreements import by_pair

MOST_SLICES = 40


def points(row: pd.Series) -> str:
    """A difference in accuracy in points, with its interval."""
    low, high = (100 * row[f"difference_{end}"] for end in ("low", "high"))
    return f"{100 * row['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"


def accuracy(row: pd.Series) -> str:
    return f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def worse_slices(slices: pd.DataFrame) -> str:
    """The slices on which classifiers are worse than on the rest, those of most classifiers first."""
    worse = slices[slices["worse"].astype(bool)]
    names = worse["slice"].value_counts(sort=True).head(MOST_SLICES).index
    rows = []
    for name in names:
        part = worse[worse["slice"] == name]
        lowest = part.loc[part["difference"].idxmin()]
        rows.append(
            [
                str(name),
                number(lowest["rows"]),
                number(len(part)),
                str(lowest["classifier"]),
                accuracy(lowest),
                points(lowest),
                p_value(lowest["p_holm"]),
            ]
        )
    header = ["Slice", "Texts", "Classifiers worse there", "Most so", "Its accuracy", "Minus the rest, points", "p"]
    return markdown(header, rows)


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
    judged = slices["slice"].nunique()
    intro = (
        f"{classifiers} classifiers that scored each of {rows:,} texts, out-of-fold, on {judged} slices (`errors/slices.csv`). "
        "Intervals are by bootstrap over groups; p is Fisher's, a group counted as one text, after "
        "Holm's correction over the slices of a classifier."
    )
    parts = [intro]
    if len(slices) and slices["worse"].any():
        parts += ["Slices on which a classifier is worse than on the rest:", worse_slices(slices)]
    else:
        parts.append("On no slice is a classifier worse than on the rest.")
    if len(disagreements):
        parts += [
            "Texts that a generative classifier and its discriminative twin decide differently (`errors/disagreements.csv`):",
            markdown(
                ["Twins", "Texts", "The generative one right", "The discriminative one right"],
                [[f"{a}, {b}", *map(number, (n, right, n - right))] for a, b, n, right in by_pair(disagreements)],
            ),
        ]
    else:
        parts.append("No text is decided differently by twins: no two of them ran, or they agree on all.")
    parts.append(
        f"The {len(confident_errors):,} surest errors of all classifiers are in `errors/confident_errors.csv`."
    )
    parts.append(
        f"Confident learning suspects {len(label_noise):,} labels ({len(label_noise) / rows:.1%}; `errors/label_noise.csv`), "
        f"{int((label_noise['target'] == 1).sum()):,} of them {labels[1]} by their label; {int(label_noise['conflict'].sum()):,} "
        "have a near-duplicate with the other label. All rows stay, and are scored against the label that they came with."
    )
    if len(relabelled):
        table = [
            [
                str(row["classifier"]),
                str(row["treatment"]),
                number(row["trained_without"]),
                accuracy(row),
                "–" if row["treatment"] == "keep" else points(row),
            ]
            for _, row in relabelled.iterrows()
        ]
        header = ["Classifier", "Suspected labels", "Per training set", "Accuracy", "Minus keep, points"]
        parts += [
            "What it is worth to drop or turn the labels that are suspected inside the training folds:",
            markdown(header, table),
        ]
    return "\n\n".join(parts + left_out) + "\n"
