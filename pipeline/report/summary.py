"""The report in Markdown, for a pull request."""

import pandas as pd

from pipeline.compare.table import against_best, markdown, number, pairs_table, with_interval
from pipeline.report.sentences import Pairs, of_twins

SHOWN = 10


def summary(
    title: str,
    sentences: list[str],
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    twins: Pairs,
    commit: str | None,
) -> str:
    """The verdict, the best classifiers (all that tie with the best, and up to `SHOWN`), and the twins."""
    shown = scores[scores["standing"].isin(["ahead", "best", "ties"]) | (scores.index < SHOWN)]
    lines = [
        [number(row["rank"]), str(row["classifier"]), row["school"], number(row["rows"]), against_best(row)]
        + [with_interval(row, metric) for metric in ("accuracy", "f1", "log_loss")]
        for _, row in shown.iterrows()
    ]
    header = ["Place", "Classifier", "School", "Rows", "Against the best, points", "Accuracy", "F1", "Log loss"]
    parts = [f"## {title}", " ".join(sentences), markdown(header, lines)]
    if len(scores) > len(shown):
        parts.append(f"And {len(scores) - len(shown)} more.")
    if len(pairs := of_twins(paired, twins)):
        parts += ["Twins (generative − discriminative):", pairs_table(pairs)]
    parts.append(
        f"Out-of-fold, with 95 % intervals; the whole report is `report/index.html`{f', made at {commit}' if commit else ''}."
    )
    return "\n\n".join(parts) + "\n"
