"""The most accurate of a few scikit-learn classifiers, and the temperature of its probabilities, on inner folds by group."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from pipeline.vectors.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds
from pipeline.vectors.space import vectors


@dataclass(frozen=True)
class Chosen:
    classifier: ClassifierMixin
    rule: BayesRule


def log_densities(log_odds: np.ndarray, prior: float) -> np.ndarray:
    """Log-odds of shape (n,) as log-densities, shape (n, 2), up to what both classes share: the prior is taken out."""
    return np.stack([np.zeros_like(log_odds), log_odds - prior], axis=1)


def choose(
    candidates: list[ClassifierMixin], tweets: pd.DataFrame, labels: np.ndarray, inner_folds: int, seed: int
) -> Chosen:
    """Compare out of the inner folds, then fit the best to all tweets and labels of shape (n,)."""
    x, prior = vectors(tweets), prior_log_odds(labels)
    inner = list(StratifiedGroupKFold(inner_folds, shuffle=True, random_state=seed).split(x, labels, tweets["group"]))
    out_of_fold = [cross_val_predict(one, x, labels, cv=inner, method="decision_function") for one in candidates]
    best = int(np.argmax([((log_odds > 0) == labels).mean() for log_odds in out_of_fold]))
    rule = fit_bayes_rule(log_densities(out_of_fold[best], prior), labels, prior)
    return Chosen(clone(candidates[best]).fit(x, labels), rule)


def predict(model: Chosen, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    log_odds = model.classifier.decision_function(vectors(tweets))
    return model.rule(log_densities(log_odds, model.rule.prior_log_odds))
