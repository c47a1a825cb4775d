"""One probability from the log-odds of many classifiers: weights that are never negative, fitted without the rows they decide.

    log-odds = b + Σ_c w_c log-odds_c,  w_c ≥ 0

Twenty classifiers of the same tweets say much the same, so free weights would chase noise. Each candidate holds them back in
another way, and the one with the least log loss on inner folds, by group, is taken:

- few: logistic regression with a penalty on Σ w_c: most weights become 0, and a classifier that comes twice is worth one
  (stacking with non-negative weights; Breiman 1996, https://doi.org/10.1007/BF00117832)
- equal: logistic regression with a penalty on Σ (w_c - 1/C)², for C classifiers: towards the mean of their log-odds
- greedy: the mean log-odds of a bag that one classifier at a time is put into, any number of times, whichever lowers the log
  loss most (ensemble selection; Caruana et al. 2004, https://doi.org/10.1145/1015330.1015432)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit, logit

from pipeline.compare.scored import BootstrapParams
from pipeline.fit.cross_fit import inner_splits

BLEND_CLIP = 1e-3  # a score nearer to 0 or 1 says no more: no single tweet decides on the weights
ALL_ROWS = -1
"""The fold of weights that were fitted on all rows: none is held out."""


class BlendParams(BootstrapParams):
    few: list[Annotated[float, Field(gt=0)]] = Field([1.0, 10.0, 100.0])
    """Penalties on the sum of the weights to try, in nats of all rows' log loss."""
    equal: list[Annotated[float, Field(gt=0)]] = Field([100.0, 1000.0])
    """Penalties on half the squared distances of the weights to equal ones to try, likewise."""
    greedy: list[Annotated[int, Field(ge=1)]] = Field([20])
    """Sizes of the bag to try."""
    inner_folds: int = Field(4, ge=2)
    """Folds by group, inside the rows that the weights are fitted on, that these are compared on."""
    margin: float = Field(0.003, ge=0)
    """The accuracy that the blend may lose, by the low end of the interval, and still be submitted if it gains on average."""
    draws: int = Field(2000, ge=100)


@dataclass(frozen=True)
class Weights:
    """A fitted blend: `weights` has shape (classifiers,)."""

    method: str
    intercept: float
    weights: np.ndarray

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """Log-odds of the blend, shape (n,), from those of the classifiers, shape (n, classifiers)."""
        return np.asarray(self.intercept + log_odds @ self.weights)


Fit = Callable[[np.ndarray, np.ndarray], Weights]
"""From log-odds of shape (n, classifiers) and labels of shape (n,)."""


def to_log_odds(scores: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, held `BLEND_CLIP` off 0 and 1."""
    return np.asarray(logit(np.clip(scores, BLEND_CLIP, 1 - BLEND_CLIP)))


def log_losses(log_odds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p(label) of each row, of the shape of `log_odds`; its first axis is that of the labels, shape (n,)."""
    signs = 1 - 2 * labels.reshape(-1, *[1] * (log_odds.ndim - 1))
    return np.asarray(np.logaddexp(0, signs * log_odds))


def fit_logistic(log_odds: np.ndarray, labels: np.ndarray, penalty: float, towards: Literal["few", "equal"]) -> Weights:
    """Logistic regression with non-negative weights and a penalty that draws them to 0 or to 1 / classifiers."""
    n, classifiers = log_odds.shape

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        intercept, weights = parameters[0], parameters[1:]
        blended = intercept + log_odds @ weights
        residuals = expit(blended) - labels
        apart = weights - 1 / classifiers
        size, slope = (weights.sum(), np.ones(classifiers)) if towards == "few" else (apart @ apart / 2, apart)
        gradient = np.append(residuals.sum(), residuals @ log_odds + penalty * slope)
        return (log_losses(blended, labels).sum() + penalty * size) / n, gradient / n

    start, bounds = np.append(0, np.full(classifiers, 1 / classifiers)), [(None, None), *[(0, None)] * classifiers]
    options = {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return Weights(f"{towards} {penalty:g}", float(found[0]), found[1:])


def fit_greedy(log_odds: np.ndarray, labels: np.ndarray, rounds: int) -> Weights:
    """Ensemble selection: each classifier's share in a bag of `rounds`."""
    chosen, total = np.zeros(log_odds.shape[1]), np.zeros((len(labels), 1))
    for size in range(1, rounds + 1):
        best = int(log_losses((total + log_odds) / size, labels).mean(axis=0).argmin())
        chosen[best] += 1
        total += log_odds[:, [best]]
    return Weights(f"greedy {rounds}", 0.0, chosen / rounds)


def candidates(params: BlendParams) -> list[Fit]:
    """The ways to fit weights that the params name."""
    few = [partial(fit_logistic, penalty=penalty, towards="few") for penalty in params.few]
    equal = [partial(fit_logistic, penalty=penalty, towards="equal") for penalty in params.equal]
    return [*few, *equal, *(partial(fit_greedy, rounds=rounds) for rounds in params.greedy)]


def fit_weights(log_odds: np.ndarray, labels: np.ndarray, groups: np.ndarray, params: BlendParams) -> Weights:
    """The candidate with the least log loss on inner folds by group, fitted to all rows; labels and groups have shape (n,)."""
    splits = inner_splits(labels, groups, params.inner_folds)

    def inner_loss(fit: Fit) -> float:
        fitted = [(fit(log_odds[learnt], labels[learnt]), held_out) for learnt, held_out in splits]
        return sum(float(log_losses(weights(log_odds[rows]), labels[rows]).sum()) for weights, rows in fitted)

    return min(candidates(params), key=inner_loss)(log_odds, labels)


def cross_fitted(
    log_odds: np.ndarray, labels: np.ndarray, folds: np.ndarray, groups: np.ndarray, params: BlendParams
) -> tuple[np.ndarray, dict[int, Weights]]:
    """The blend's log-odds of each row, shape (n,), by weights fitted on the other folds; and each fold's weights."""
    weights, blended = {}, np.empty(len(labels))
    for fold in np.unique(folds).tolist():
        held_out, others = folds == fold, folds != fold
        weights[fold] = fit_weights(log_odds[others], labels[others], groups[others], params)
        blended[held_out] = weights[fold](log_odds[held_out])
    return blended, weights
