"""Logistic regression: the discriminative twin of naive Bayes. The same counts, but p(label | words) is modelled directly.

in:  data/prepared
out: predictions/logistic.parquet, costs/logistic.json, models/logistic/words.csv
run: dvc repro logistic   (or python -m pipeline.classifiers.logistic)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipeline.classifiers.counts import CountsParams, features, search, terms, write_words
from pipeline.classifiers.cross_fit import cross_fit, write_cross_fit
from pipeline.contracts import Params, read_params, read_prepared, run

NAME = "logistic"


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Inverse strengths of the L2 penalty to try."""


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: LogisticParams, counts: CountsParams) -> Pipeline:
    """The weights that maximise Σ_i log p(y_i | x_i) - |w|² / 2C, from tweets and labels of shape (n,).

    score(x) = b + Σ_w x_w weight_w: the form of naive Bayes, with weights fitted to the decision (Ng & Jordan 2001).
    """
    return search(LogisticRegression(max_iter=1000), {"C": params.C}, tweets, labels, counts)


def predict(model: Pipeline, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    scores: np.ndarray = model.predict_proba(features(tweets))[:, 1]
    return scores


def log_odds_weights(model: Pipeline) -> pd.Series:
    """The change in log-odds that each term's presence makes."""
    return pd.Series(model["classifier"].coef_[0], index=terms(model))


def main() -> None:
    params, counts = read_params(NAME, LogisticParams), read_params("counts", CountsParams)
    prepared = read_prepared()
    fitted = cross_fit(
        NAME, prepared, lambda _, tweets, labels: fit(tweets, labels, params, counts), predict, log_odds_weights
    )
    parameters = 1 + len(fitted.kept[0])  # the intercept and a weight per term
    write_words(NAME, fitted.kept)
    write_cross_fit(NAME, "discriminative", prepared, fitted, trainable=parameters, total=parameters)


if __name__ == "__main__":
    run(main)
