"""Logistic regression on embeddings: the discriminative twin of gaussian. p(y | x) = σ(w · x + b) is fitted directly.

in:  data/prepared, data/embed
out: predictions/logistic_<encoder>.parquet, costs/logistic_<encoder>.json, models/logistic_<encoder>
run: dvc repro vectors@logistic-minilm   (or python -m pipeline.stage vectors.logistic minilm)
"""

from typing import Annotated

from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import Params
from pipeline.fit.tuning import Tuned
from pipeline.vectors.stage import ChosenOnVectors, classify


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.1, 1.0, 10.0, 100.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""
    inner_folds: int = Field(3, ge=2)


class Logistic(ChosenOnVectors[LogisticParams]):
    school = "discriminative"
    params_type = LogisticParams

    def candidates(self) -> list[BaseEstimator]:
        return [LogisticRegression(C=value, max_iter=2000) for value in self.params.C]

    def parameters(self, model: Tuned) -> int:
        """Weights and the intercept."""
        return int(model.pipeline["classifier"].coef_.size + 1)


FAMILY = Logistic


def main() -> None:
    classify(FAMILY)
