"""Logistic regression on embeddings: the discriminative twin of gaussian. p(y | x) = σ(w · x + b) is fitted directly.

in:  data/prepared, data/embed
out: predictions/logistic_<encoder>.parquet, costs/logistic_<encoder>.json
run: dvc repro vectors@logistic-minilm   (or python -m pipeline.vectors.logistic minilm)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import Params, run
from pipeline.vectors.chosen import Chosen, choose, predict
from pipeline.vectors.stage import classify_vectors


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Inverse strengths of the L2 penalty to try."""
    inner_folds: int = Field(ge=2)


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: LogisticParams, seed: int = 0) -> Chosen:
    """The penalty that is most accurate on inner folds, fitted to all tweets and labels, shape (n,)."""
    candidates = [LogisticRegression(C=value, max_iter=2000) for value in params.C]
    return choose(candidates, tweets, labels, params.inner_folds, seed)


def count(model: Chosen) -> int:
    """Weights and the intercept."""
    return int(model.classifier.coef_.size + 1)


def main() -> None:
    classify_vectors("logistic", "discriminative", LogisticParams, fit, predict, count)


if __name__ == "__main__":
    run(main)
