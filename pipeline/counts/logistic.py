"""Logistic regression: the discriminative twin of naive Bayes. The same counts, but p(label | words) is modelled directly.

in:  data/prepared
out: predictions/logistic.parquet, costs/logistic.json, models/logistic/words.csv
run: dvc repro logistic   (or python -m pipeline.stage counts.logistic)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import Params, read_params
from pipeline.counts.counts import CountsParams, choose_on_counts, predict, terms
from pipeline.counts.on_counts import classify_counts, on_counts
from pipeline.fit.chosen import Chosen
from pipeline.fit.cross_fit import Trainer

NAME = "logistic"


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.05, 0.1, 0.2, 0.5, 1.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: LogisticParams, counts: CountsParams) -> Chosen:
    """The weights that maximise Σ_i log p(y_i | x_i) - |w|² / 2C, from tweets and labels of shape (n,).

    score(x) = b + Σ_w x_w weight_w: the form of naive Bayes, with weights fitted to the decision (Ng & Jordan 2001).
    """
    candidates = [LogisticRegression(C=C, max_iter=1000) for C in params.C]
    return choose_on_counts(candidates, tweets, labels, counts)


def log_odds_weights(model: Chosen) -> pd.Series:
    """The change in log-odds that each term's presence makes."""
    return pd.Series(model.pipeline["classifier"].coef_[0], index=terms(model.pipeline))


def count(model: Chosen) -> int:
    """The intercept and a weight per term."""
    return 1 + len(terms(model.pipeline))


def trainer() -> Trainer:
    return on_counts(read_params(NAME, LogisticParams), fit, predict)


def main() -> None:
    classify_counts(NAME, "discriminative", trainer(), count, log_odds_weights)
