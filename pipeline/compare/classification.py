"""The same metrics with scikit-learn, through `evaluate`: a test holds those of pipeline.stats.metrics equal to them."""

import datasets
import numpy as np
from sklearn import metrics

import evaluate
from pipeline.stats.decisions import decide
from pipeline.stats.metrics import CLIP, METRICS, PROBABILITIES, equal_mass_bins


class Classification(evaluate.Metric):
    """All metrics of one classifier, in `evaluate`'s form and without its hub."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=", ".join(METRICS),
            citation="",
            inputs_description="predictions: P(target = 1), NaN where unparsed; references: 0 or 1.",
            features=datasets.Features(predictions=datasets.Value("float64"), references=datasets.Value("int64")),
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
