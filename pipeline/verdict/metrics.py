"""How good scores are: each metric once with scikit-learn through `evaluate`, and once for many weightings at a time.

The two are held equal by a test. Both take scores P(target = 1) of shape (n,) with NaN for a reply that could not be read:
such a row is wrong in every metric of decisions, and left out of the metrics of probabilities.
"""

import datasets
import numpy as np
from sklearn import metrics

import evaluate
from pipeline.verdict.scored import decide

DECISIONS = ("accuracy", "f1", "precision", "recall")
PROBABILITIES = ("roc_auc", "log_loss", "brier", "ece")
METRICS = DECISIONS + PROBABILITIES

BINS = 10
CLIP = 1e-6  # keeps the log loss of a certain and wrong score finite


def equal_mass_bins(scores: np.ndarray) -> np.ndarray:
    """Bin of each score, shape (n,): about as many scores in each bin, equal scores in one (Nguyen & O'Connor 2015)."""
    edges: np.ndarray = (
        np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1])) if len(scores) else np.array([])
    )
    return np.searchsorted(edges, scores, side="left")


class Classification(evaluate.Metric):
    """All metrics of one classifier, in `evaluate`'s form and without its hub."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, F1, precision, recall, ROC-AUC, log loss, Brier score and expected calibration error.",
            citation="",
            inputs_description="predictions: P(target = 1), NaN where unparsed; references: 0 or 1.",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        scores, targets = np.array(predictions, dtype=float), np.array(references)
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


def score(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All `METRICS` of one classifier."""
    computed = Classification(keep_in_memory=True).compute(predictions=scores, references=targets)
    return {name: float(computed[name]) for name in METRICS}


def weighted(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """All `METRICS` for each row of weights, shape (draws, n), at once: an array of shape (len(METRICS), draws).

    What is linear in the weights is one matrix product; a bootstrap of thousands of draws takes seconds.
    """
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
    area: np.ndarray = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return area
