"""What scores decide, whether that is right, and who is right most often."""

import numpy as np
import pandas as pd

THRESHOLD = 0.5


def decide(targets: np.ndarray, scores: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """0/1 decisions, shape (n,): above the threshold is 1, and an unparsed row is decided against its target."""
    return np.where(np.isnan(scores), 1 - targets, scores > threshold).astype(int)


def decided_rightly(rows: pd.DataFrame) -> pd.Series:
    """Whether each of the `scored_rows` is decided rightly at one half, indexed by id."""
    targets = rows["target"].to_numpy()
    return pd.Series(decide(targets, rows["score"].to_numpy()) == targets, index=rows.index)


def rank(right: dict[str, pd.Series]) -> list[str]:
    """Names of classifiers, best first, from whether each row that they cover was decided rightly, indexed by id.

    By their lead over the best of those with the most rows, on the rows that the two share: who was asked about a part of the
    rows must win there, and not by having got the easier ones.
    """
    if not right:
        return []
    reference = max(right.values(), key=lambda rows: (len(rows), rows.mean()))

    def lead(name: str) -> tuple[float, int]:
        shared = right[name].index.intersection(reference.index)
        return float(right[name][shared].mean() - reference[shared].mean()), len(right[name])

    return sorted(right, key=lead, reverse=True)
