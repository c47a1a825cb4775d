"""What samples are worth, as Markdown."""

import pandas as pd

from pipeline.tables import LOW_HIGH, Column, Row, Table, page, spread

MEASURED = (
    "Memorised or new, and how diverse; in brackets real texts. Texts are compared by the cosine of TF-IDF, vectors by Euclid "
    "in the space of the family, so that distances in one space say nothing of those in another:"
)
FAMILY = Column("Family", "family")
LEARNT = [
    FAMILY,
    Column("Learnt from", "rows", ",.0f"),
    Column("Accuracy after samples", "generated", ".3f"),
    Column("after real texts", "real", ".3f"),
    Column("Difference, points", "value", "+.1f", 100, LOW_HIGH),
]
MEASURES = {
    "nearest distance": "Distance to training, median",
    "closer than 1 % of real": "Closer than 1 % of real",
    "copies": "Copies",
    "mean pairwise distance": "Distance to each other, mean",
    "self-similarity": "Self-similarity",
    "distinct-1": "Distinct-1",
    "distinct-2": "Distinct-2",
}


def beside(row: Row) -> str:
    """`0.812 (0.790)`: of samples, and of real tweets."""
    return f"{row['generated']:.3f} ({row['real']:.3f})"


def added_to_real(row: Row) -> str:
    """`0.790 +2.1 [+0.3, +3.9]`: with real texts alone, and what samples add, in points."""
    return f"{row['real']:.3f} {LEARNT[-1].text(row)}"


def render(metrics: pd.DataFrame, fold: int, added: float, seeds: int) -> str:
    """From a row for each `Measure`."""
    metrics = metrics.assign(value=metrics["generated"] - metrics["real"])
    measured = metrics[metrics["measure"].isin(MEASURES)]
    parts = [
        f"Fitted without fold {fold}, which is what real texts mean below; 95 % intervals.",
        "A logistic regression learns from samples, or from as many real training texts (classification accuracy score):",
        Table(metrics[metrics["measure"] == "accuracy score"], LEARNT).markdown(),
        MEASURED,
        spread(measured, FAMILY, MEASURES, "measure", beside).markdown(),
    ]
    few = metrics[metrics["measure"] == "few labels"]
    if len(few):
        sizes = {size: f"{size:,} labels" for size in few["rows"].unique()}
        parts += [
            f"Accuracy after n labelled texts, and what {added:g} samples for each add, in points ({seeds} subsets):",
            spread(few, FAMILY, sizes, "rows", added_to_real).markdown(),
        ]
    return page(*parts)
