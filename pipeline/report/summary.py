"""The report in Markdown, for a pull request."""

import pandas as pd

from pipeline.compare.table import (
    ACCURACY,
    AGAINST_BEST,
    CLASSIFIER,
    F1,
    LOG_LOSS,
    PLACE,
    ROWS,
    SCHOOL,
    pairs_among,
    pairs_table,
)
from pipeline.report.sentences import Pairs
from pipeline.tables import Table, page

SHOWN = 10
COLUMNS = [PLACE, CLASSIFIER, SCHOOL, ROWS, AGAINST_BEST, ACCURACY, F1, LOG_LOSS]


def summary(
    title: str, sentences: list[str], scores: pd.DataFrame, paired: pd.DataFrame, twins: Pairs, commit: str | None
) -> str:
    """The verdict, the best classifiers (all that tie with the best, and up to `SHOWN`), and the twins."""
    shown = scores[scores["standing"].isin(["ahead", "best", "ties"]) | (scores.index < SHOWN)]
    parts = [f"## {title}", " ".join(sentences), Table(shown, COLUMNS).markdown()]
    if len(scores) > len(shown):
        parts.append(f"And {len(scores) - len(shown)} more.")
    if len(pairs := pairs_among(paired, twins)):
        parts += ["Twins (generative − discriminative):", pairs_table(pairs)]
    made = f", made at {commit}" if commit else ""
    return page(*parts, f"Out-of-fold, with 95 % intervals; the whole report is `report/index.html`{made}.")
