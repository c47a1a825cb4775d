"""How good scores are, for many weightings of the rows at a time: what bootstraps are made of.

Scores are P(target = 1), shape (n,), with NaN for a reply that could not be read: such a row is wrong in every metric of
decisions, and left out of the metrics of probabilities.
"""

import numpy as np
from scipy.special import logit

from pipeline.stats.decisions import decide

DECISIONS = ("accuracy", "f1", "precision", "recall")
PROBABILITIES = ("roc_auc", "log_loss", "brier", "ece")
METRICS = DECISIONS + PROBABILITIES

BINS = 10
CLIP = 1e-6  # keeps the log loss of a certain and wrong score finite; votes and hard replies are 0 or 1


def log_odds(scores: np.ndarray) -> np.ndarray:
    """log p / (1 - p) of scores, held `CLIP` off 0 and 1; of their shape."""
    return np.asarray(logit(np.clip(scores, CLIP, 1 - CLIP)))


def equal_mass_bins(scores: np.ndarray) -> np.ndarray:
    """Bin of each score, shape (n,): about as many scores in each bin, equal scores in one (Nguyen & O'Connor 2015)."""
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(scores, inner)) if len(scores) else np.array([])
    return np.searchsorted(edges, scores, side="left")


def weighted(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """All `METRICS` for each row of weights, shape (draws, n): an array of shape (len(METRICS), draws)."""
    decisions = decide(targets, scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        hit, true, called = (weights @ mask.astype(float) for mask in (decisions & targets, targets, decisions))
        accuracy = weights @ (decisions == targets).astype(float) / weights.sum(axis=1)
        f1 = np.nan_to_num(2 * hit / (true + called))
        precision, recall = np.nan_to_num(hit / called), np.nan_to_num(hit / true)
        read = ~np.isnan(scores)
        targets, scores, weights = targets[read], scores[read], weights[:, read]
        total = weights.sum(axis=1)
        clipped = np.clip(scores, CLIP, 1 - CLIP)
        log_loss = -(weights @ np.where(targets == 1, np.log(clipped), np.log(1 - clipped))) / total
        brier = weights @ (targets - scores) ** 2 / total
        bins = equal_mass_bins(scores)
        gaps = [np.abs(weights[:, bins == b] @ (targets - scores)[bins == b]) for b in np.unique(bins)]
        ece = np.sum(gaps, axis=0) / total
        auc = weighted_auc(targets, scores, weights)
    return np.stack([accuracy, f1, precision, recall, auc, log_loss, brier, ece])


def weighted_auc(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for each row of weights, shape (draws,): P(a positive outscores a negative), ties half."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    positive, negative = (np.add.reduceat((weights * (targets == label))[:, order], starts, axis=1) for label in (1, 0))
    below = np.cumsum(negative, axis=1) - negative / 2
    return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))
