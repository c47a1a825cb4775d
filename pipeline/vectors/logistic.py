"""Logistic regression on embeddings: the discriminative twin of gaussian. p(y | x) = σ(w · x + b) is fitted directly."""

from typing import Annotated

from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from pipeline.fit.tuning import TunedParams
from pipeline.vectors.on_vectors import TunedOnVectors


class LogisticParams(TunedParams):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.1, 1.0, 10.0, 100.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""


class LogisticOnVectors(TunedOnVectors[LogisticParams]):
    school = "discriminative"

    def candidates(self) -> list[BaseEstimator]:
        return [LogisticRegression(C=value, max_iter=2000) for value in self.params.C]


FAMILY = LogisticOnVectors
