"""The classifier of nb_svm as an estimator of scikit-learn's: logistic regression on naive Bayes' log-count ratios.

In a module of its own, since saved models name it by that.
"""

from typing import Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB


class NbSvm(ClassifierMixin, BaseEstimator):
    """Logistic regression on counts that are multiplied by their log-count ratios; ends in scikit-learn's interface."""

    def __init__(self, alpha: float = 1.0, C: float = 1.0) -> None:
        self.alpha = alpha
        self.C = C

    def fit(self, x: sparse.csr_matrix, y: np.ndarray) -> Self:
        against, towards = MultinomialNB(alpha=self.alpha).fit(x, y).feature_log_prob_
        self.ratios_ = towards - against
        self.logistic_ = LogisticRegression(C=self.C, max_iter=1000).fit(self.scaled(x), y)
        self.classes_, self.n_features_in_ = self.logistic_.classes_, x.shape[1]
        return self

    def scaled(self, x: sparse.csr_matrix) -> sparse.csr_matrix:
        return x @ sparse.diags(self.ratios_)

    @property
    def coef_(self) -> np.ndarray:
        """v_w r_w: the change in log-odds that each term's presence makes, shape (1, terms)."""
        return np.asarray(self.logistic_.coef_ * self.ratios_)

    def decision_function(self, x: sparse.csr_matrix) -> np.ndarray:
        return np.asarray(self.logistic_.decision_function(self.scaled(x)))
