"""The most accurate of a few scikit-learn classifiers, and the temperature of its probabilities, on inner folds by group."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits

from pipeline.contracts import Params
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.cross_fit import inner_splits
from pipeline.fit.model_files import check_width, read_estimator, write_estimator

WORTH_PROCESSES = 2000
"""Rows: with fewer, processes take longer to start (3 s) than to fit."""


class TunedParams(Params):
    inner_folds: int = Field(3, ge=2)
    """Folds, by group, that hyperparameters are compared on inside the training rows."""


Features = np.ndarray | pd.DataFrame
"""Or a sparse matrix of shape (n, features): scipy has no type for one."""


@dataclass(frozen=True)
class Tuned:
    """The chosen steps, `features` and `classifier`, fitted to all training rows, and the rule that makes scores of them."""

    pipeline: Pipeline
    rule: BayesRule

    def predict(self, x: Features) -> np.ndarray:
        """P(target = 1), shape (n,)."""
        return self.rule(log_densities(log_odds(self.pipeline, x), self.rule.prior_log_odds))


def log_odds(classifier: Any, x: Features) -> np.ndarray:
    """log p(1 | x) / p(0 | x) as the classifier has it, shape (n,)."""
    if hasattr(classifier, "decision_function"):
        return np.asarray(classifier.decision_function(x))
    log_proba = classifier.predict_log_proba(x)
    return np.asarray(log_proba[:, 1] - log_proba[:, 0])


def log_densities(log_odds: np.ndarray, prior: float) -> np.ndarray:
    """Log-odds of shape (n,) as log-densities, shape (n, 2), up to what both classes share: the prior is taken out."""
    return np.stack([np.zeros_like(log_odds), log_odds - prior], axis=1)


def of_inner_fold(
    features: BaseEstimator, classifiers: Sequence[BaseEstimator], x: Features, labels: np.ndarray, split: np.ndarray
) -> np.ndarray:
    """Log-odds of the rows that one inner fold holds out, by each classifier on these features: (classifiers, rows).

    All 0 where the others hold less than two rows of a class, as few near-duplicates may, or no word twice, so no features.
    """
    known = labels[split[0]]
    if np.bincount(known, minlength=2).min() > 1:
        learnt, held_out = (x.iloc[rows] if isinstance(x, pd.DataFrame) else x[rows] for rows in split)
        features = clone(features).fit(learnt, known)
        learnt, held_out = features.transform(learnt), features.transform(held_out)
        if learnt.shape[1] > 0:
            return np.stack([log_odds(clone(one).fit(learnt, known), held_out) for one in classifiers])
    return np.zeros((len(classifiers), len(split[1])))


def out_of_inner_folds(
    features: Sequence[BaseEstimator],
    classifiers: Sequence[BaseEstimator],
    x: Features,
    labels: np.ndarray,
    groups: pd.Series,
    inner_folds: int,
) -> np.ndarray:
    """Log-odds of each row by models of the other inner folds, of each classifier on each features: (features, classifiers, n).

    `x` (n rows) goes into the features, labels and groups have shape (n,).
    """
    splits = inner_splits(labels, groups, inner_folds)
    small = len(labels) < WORTH_PROCESSES
    with threadpool_limits(1) if small else nullcontext():  # as in a process of several: bytes do not depend on it
        found = Parallel(n_jobs=1 if small else -1)(
            delayed(of_inner_fold)(each, classifiers, x, labels, split) for each in features for split in splits
        )
    out_of_fold = np.zeros((len(features), len(classifiers), len(labels)))
    for i, scores in enumerate(found):
        out_of_fold[i // inner_folds][:, splits[i % inner_folds][1]] = scores
    return out_of_fold


def choose(
    features: BaseEstimator,
    classifiers: Sequence[BaseEstimator],
    x: Features,
    labels: np.ndarray,
    groups: pd.Series,
    inner_folds: int,
) -> tuple[BaseEstimator, BayesRule]:
    """The classifier that is most accurate out of the inner folds, and the rule for its scores, which moves no decision."""
    out_of_fold = out_of_inner_folds([features], classifiers, x, labels, groups, inner_folds)[0]
    best = int(np.argmax(((out_of_fold > 0) == labels).mean(axis=1)))
    prior = prior_log_odds(labels)
    return classifiers[best], fit_bayes_rule(log_densities(out_of_fold[best], prior), labels, prior)


def fit_tuned(
    features: BaseEstimator, classifier: BaseEstimator, x: Features, labels: np.ndarray, rule: BayesRule
) -> Tuned:
    """Both steps fitted to all rows, under a rule that inner folds found."""
    return Tuned(Pipeline([("features", clone(features)), ("classifier", clone(classifier))]).fit(x, labels), rule)


def parameters(model: Tuned) -> int:
    """Weights and intercept of a linear classifier, priors and p(w | y) of a naive Bayes."""
    classifier = model.pipeline["classifier"]
    if hasattr(classifier, "coef_"):
        return int(classifier.coef_.size + classifier.intercept_.size)
    return int(classifier.feature_log_prob_.size + classifier.class_log_prior_.size)


def save(model: Tuned, folder: Path) -> None:
    """Keep the classifier and the rule; the features are kept by whoever chose them."""
    write_estimator(folder / "classifier.skops", model.pipeline["classifier"])
    write_rule(folder / "rule.json", model.rule)


def load(folder: Path, features: BaseEstimator, width: int | None = None) -> Tuned:
    """What `save` kept, on fitted features, of which there are `width` if that is known."""
    path = folder / "classifier.skops"
    classifier = read_estimator(path, ClassifierMixin)
    if width is not None:
        check_width(path, classifier, width)
    return Tuned(Pipeline([("features", features), ("classifier", classifier)]), read_rule(folder / "rule.json"))
