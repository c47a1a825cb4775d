"""The metrics of one classifier by scikit-learn: a test holds those of pipeline.stats.metrics equal to them."""

import numpy as np
from sklearn import metrics

from pipeline.stats.decisions import decide
from pipeline.stats.metrics import CLIP, PROBABILITIES, equal_mass_bins


def score(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All `METRICS`, of targets and P(target = 1), both of shape (n,); a score is NaN where a reply could not be read."""
    decisions = decide(targets, scores)
    found = {
        "accuracy": metrics.accuracy_score(targets, decisions),
        "f1": metrics.f1_score(targets, decisions, zero_division=0),
        "precision": metrics.precision_score(targets, decisions, zero_division=0),
        "recall": metrics.recall_score(targets, decisions, zero_division=0),
    }
    read = ~np.isnan(scores)
    targets, scores = targets[read], scores[read]
    if len(np.unique(targets)) < 2:
        return found | dict.fromkeys(PROBABILITIES, float("nan"))
    bins = equal_mass_bins(scores)
    gaps = [abs(np.sum(targets[bins == b] - scores[bins == b])) for b in np.unique(bins)]
    return found | {
        "roc_auc": metrics.roc_auc_score(targets, scores),
        "log_loss": metrics.log_loss(targets, np.clip(scores, CLIP, 1 - CLIP)),
        "brier": metrics.brier_score_loss(targets, scores),
        "ece": sum(gaps) / len(targets),
    }
