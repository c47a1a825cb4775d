"""Logistic regression: the discriminative twin of naive Bayes. The same counts, but p(label | words) is modelled directly."""

from typing import Annotated

from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import Params
from pipeline.counts.on_counts import OnCounts


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.05, 0.1, 0.2, 0.5, 1.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""


class LogisticOnCounts(OnCounts[LogisticParams]):
    """The weights that maximise Σ_i log p(y_i | x_i) - |w|² / 2C, from tweets and labels of shape (n,).

    score(x) = b + Σ_w x_w weight_w: the form of naive Bayes, with weights fitted to the decision (Ng & Jordan 2001).
    """

    school = "discriminative"

    def candidates(self) -> list[BaseEstimator]:
        return [LogisticRegression(C=C, max_iter=1000) for C in self.params.C]


FAMILY = LogisticOnCounts
