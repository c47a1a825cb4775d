"""The report in Markdown, for a pull request."""

import pandas as pd

from pipeline.page.sentences import Pairs, of_twins
from pipeline.verdict.table import markdown, number, pairs_table, with_interval

SHOWN = 10


def summary(
    title: str,
    sentences: list[str],
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    twins: Pairs,
    commit: str | None,
) -> str:
    """The verdict, the best classifiers (all that tie for the first rank, and up to `SHOWN`), and the twins."""
    shown = scores[(scores["rank"] == 1) | (scores.index < SHOWN)]
    lines = [
        [str(row["classifier"]), row["school"], number(row["rank"]), number(row["rows"])]
        + [with_interval(row, metric) for metric in ("accuracy", "f1", "log_loss")]
        for _, row in shown.iterrows()
    ]
    header = ["Classifier", "School", "Rank", "Rows", "Accuracy", "F1", "Log loss"]
    parts = [f"## {title}", " ".join(sentences), markdown(header, lines)]
    if len(scores) > len(shown):
        parts.append(f"And {len(scores) - len(shown)} more. Ties share a rank.")
    if len(pairs := of_twins(paired, twins)):
        parts += ["Twins (generative − discriminative):", pairs_table(pairs)]
    parts.append(
        f"Out-of-fold, with 95 % intervals; the whole report is `report/index.html`{f', made at {commit}' if commit else ''}."
    )
    return "\n\n".join(parts) + "\n"
