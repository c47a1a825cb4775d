"""Bayes' rule: from how probable each class makes a vector to how probable each class is, at a fitted temperature."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, RootModel
from pydantic.dataclasses import dataclass
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from pipeline.fit.model_files import read_json, write_json


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BayesRule:
    """p(1 | x) = σ(a (log p(x | 1) - log p(x | 0) + log p(1) / p(0))), where a = 1 is Bayes' rule itself.

    Densities of many dimensions overstate how much they know, bounds on them may understate it: `a` (an inverse temperature;
    Guo et al. 2017, https://arxiv.org/abs/1706.04599) mends the probabilities. It scales the prior too, so that it moves no
    decision: what is more probable than not by Bayes' rule stays so.
    """

    prior_log_odds: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    inverse_temperature: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0

    def __call__(self, log_densities: np.ndarray) -> np.ndarray:
        """P(1 | x), shape (n,), of log p(x | y), shape (n, 2)."""
        ratio = log_densities[:, 1] - log_densities[:, 0]
        return np.asarray(expit(self.inverse_temperature * (ratio + self.prior_log_odds)))


def prior_log_odds(labels: np.ndarray) -> float:
    """log p(1) / p(0) of labels of shape (n,), each class counted once more so that neither is impossible."""
    return float(logit((labels.sum() + 1) / (len(labels) + 2)))


def fit_bayes_rule(log_densities: np.ndarray, labels: np.ndarray, prior: float) -> BayesRule:
    """The rule whose temperature makes these held-out labels, shape (n,), most probable.

    That is by maximum a posteriori with log a ~ N(0, 1): few labels leave Bayes' rule as it is, hundreds outvote it.
    """

    def loss(log_a: float) -> float:
        scores = BayesRule(prior, float(np.exp(log_a)))(log_densities)
        return float(log_loss(labels, np.clip(scores, 1e-12, 1 - 1e-12), labels=[0, 1], normalize=False) + log_a**2 / 2)

    return BayesRule(prior, float(np.exp(minimize_scalar(loss, bounds=(-7, 4), method="bounded").x)))


def write_rule(path: Path, rule: BayesRule) -> None:
    write_json(path, RootModel[BayesRule](rule))


def read_rule(path: Path) -> BayesRule:
    return read_json(path, RootModel[BayesRule]).root
