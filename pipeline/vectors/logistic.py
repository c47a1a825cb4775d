"""Logistic regression on embeddings: the discriminative twin of gaussian. p(y | x) = σ(w · x + b) is fitted directly.

in:  data/prepared, data/embed
out: predictions/logistic_<encoder>.parquet, costs/logistic_<encoder>.json, models/logistic_<encoder>
run: dvc repro vectors@logistic-minilm   (or python -m pipeline.stage vectors.logistic minilm)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from pipeline.contracts import Params, read_params
from pipeline.fit import chosen
from pipeline.fit.chosen import Chosen
from pipeline.fit.cross_fit import Trainer
from pipeline.vectors.space import vectors
from pipeline.vectors.stage import choose_on_vectors, classify_vectors, on_vectors


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.1, 1.0, 10.0, 100.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""
    inner_folds: int = Field(3, ge=2)


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: LogisticParams) -> Chosen:
    """The penalty that is most accurate on inner folds, fitted to all tweets and labels, shape (n,)."""
    candidates = [LogisticRegression(C=value, max_iter=2000) for value in params.C]
    return choose_on_vectors(candidates, tweets, labels, params.inner_folds)


def predict(model: Chosen, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    return model.predict(vectors(tweets))


def count(model: Chosen) -> int:
    """Weights and the intercept."""
    return int(model.pipeline["classifier"].coef_.size + 1)


def trainer(encoder: str) -> Trainer:
    params = read_params("vectors.logistic", LogisticParams)
    return on_vectors(
        encoder,
        params,
        lambda tweets, labels, _: fit(tweets, labels, params),
        predict,
        save=chosen.save,
        load=lambda folder: chosen.load(folder, FunctionTransformer()),
    )


def main() -> None:
    classify_vectors("logistic", "discriminative", trainer, count)
