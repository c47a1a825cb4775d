"""Post-hoc calibration: each fold by what the labels of the other folds say of their out-of-fold scores."""

from typing import Literal

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from pipeline.stats.metrics import log_odds

Method = Literal["none", "temperature", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "temperature", "isotonic")


def inverse_temperature(scores: np.ndarray, targets: np.ndarray) -> float:
    """The factor on the log-odds that makes the targets most probable; under 1 where scores were too sure.

    Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) of two classes: logistic regression without intercept.
    Scores that are worse than chance are scaled to one half, not turned around.
    """
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8).fit(log_odds(scores)[:, None], targets)
    return max(0.0, float(fitted.coef_[0, 0]))


def isotonic(scores: np.ndarray, targets: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The new scores as the rising steps fitted to the others say (Zadrozny & Elkan 2002), shape (new,).

    No step is surer than n rows allow by the rule of succession: one at 0 or 1 would be infinitely wrong at its first miss.
    """
    least = 1 / (len(targets) + 2)
    steps = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    return np.asarray(steps.fit(scores, targets).predict(new))


def calibrated_by_fold(
    scores: np.ndarray, targets: np.ndarray, folds: np.ndarray, method: Method
) -> tuple[np.ndarray, float]:
    """Calibrated scores, shape (n,), and the temperature (at the folds' mean factor on the log-odds; NaN for other methods).

    A fold keeps its scores where the other folds hold no two labels to learn from.
    """
    found, factors = scores.astype(float), []
    for fold in np.unique(folds):
        here, others = folds == fold, folds != fold
        if method == "none" or len(np.unique(targets[others])) < 2:
            continue
        if method == "isotonic":
            found[here] = isotonic(scores[others], targets[others], scores[here])
        else:
            factors.append(inverse_temperature(scores[others], targets[others]))
            found[here] = expit(factors[-1] * log_odds(scores[here]))
    if not factors:
        return found, float("nan")
    return found, 1 / float(np.mean(factors)) if any(factors) else float("inf")
