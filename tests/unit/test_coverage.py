"""Of 1,000 sets of tweets whose truth is known, about 950 intervals hold it: for each metric, with groups of near-duplicates."""

import numpy as np
import pytest
from scipy.special import expit

from pipeline.stats.bootstrap import group_bootstrap
from pipeline.stats.decisions import decide
from pipeline.stats.metrics import METRICS, weighted

TIMES, GROUPS, DRAWS = 1000, 400, 400
MEASURED = ("accuracy", "f1", "log_loss", "brier", "roc_auc")


def tweets(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets, two classifiers' scores and groups of one to eight tweets that say about the same, mostly with one label."""
    group = np.repeat(np.arange(groups), rng.choice([1, 2, 8], size=groups, p=[0.85, 0.1, 0.05]))
    meant, n = rng.normal(size=groups), len(group)
    labels = rng.random(groups) < expit(1.5 * meant - 0.3)
    own = rng.random(n) < expit(1.5 * meant[group] - 0.3)
    targets = np.where(rng.random(n) < 0.9, labels[group], own).astype(int)
    first, second = (expit(1.2 * meant[group] + noise * rng.normal(size=n)) for noise in (0.5, 1.0))
    return targets, first, second, group


def statistics(targets: np.ndarray, first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The first classifier's metrics and its lead in accuracy, shape (len(MEASURED) + 1, draws)."""
    found = weighted(targets, first, weights)[[METRICS.index(name) for name in MEASURED]]
    gain = (decide(targets, first) == targets).astype(float) - (decide(targets, second) == targets)
    return np.vstack([found, weights @ gain / weights.sum(axis=1)])


@pytest.mark.slow
def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    targets, first, second, _ = tweets(rng, 400_000)
    truth = statistics(targets, first, second, np.ones((1, len(targets))))[:, 0]
    covered = np.zeros(len(truth))
    for seed in range(TIMES):
        targets, first, second, groups = tweets(rng, GROUPS)
        low, high = group_bootstrap(
            lambda weights: statistics(targets, first, second, weights),  # noqa: B023 - called before the next turn
            groups,
            DRAWS,
            seed,
        )
        covered += (low <= truth) & (truth <= high)
    found = dict(zip((*MEASURED, "difference"), covered / TIMES, strict=True))
    assert all(0.93 <= share <= 0.97 for share in found.values()), found
