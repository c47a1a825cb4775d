"""Naive Bayes: the generative twin. Models p(words, label) and classifies by Bayes' rule.

in:  data/prepared
out: predictions/naive_bayes.parquet, costs/naive_bayes.json, models/naive_bayes/words.csv
run: dvc repro naive_bayes   (or python -m pipeline.classifiers.naive_bayes)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

from pipeline.classifiers.counts import CountsParams, features, search, terms, write_words
from pipeline.classifiers.cross_fit import cross_fit, write_cross_fit
from pipeline.contracts import Params, read_params, read_prepared, run

NAME = "naive_bayes"


class NaiveBayesParams(Params):
    alpha: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Pseudo-counts (additive smoothing) to try."""


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: NaiveBayesParams, counts: CountsParams) -> Pipeline:
    """p(y) and p(w | y), the latter smoothed by alpha pseudo-counts, from tweets and labels of shape (n,).

    score(x) = log p(y=1) - log p(y=0) + Σ_w x_w log (p(w | 1) / p(w | 0))   (McCallum & Nigam 1998, multinomial model)
    """
    return search(MultinomialNB(), {"alpha": params.alpha}, tweets, labels, counts)


def predict(model: Pipeline, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    scores: np.ndarray = model.predict_proba(features(tweets))[:, 1]
    return scores


def log_likelihood_ratios(model: Pipeline) -> pd.Series:
    """log p(w | 1) - log p(w | 0) of each term: how much its presence tells."""
    against, towards = model["classifier"].feature_log_prob_
    return pd.Series(towards - against, index=terms(model))


def main() -> None:
    params, counts = read_params(NAME, NaiveBayesParams), read_params("counts", CountsParams)
    prepared = read_prepared()
    fitted = cross_fit(
        NAME, prepared, lambda _, tweets, labels: fit(tweets, labels, params, counts), predict, log_likelihood_ratios
    )
    parameters = 2 + 2 * len(fitted.kept[0])  # a prior and a p(w | y) per class
    write_words(NAME, fitted.kept)
    write_cross_fit(NAME, "generative", prepared, fitted, trainable=parameters, total=parameters)


if __name__ == "__main__":
    run(main)
