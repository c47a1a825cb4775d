"""NB-SVM: a linear classifier on naive Bayes' log-count ratios, the bridge between the twins. Discriminative.

    r_w = log p(w | 1) / p(w | 0)    smoothed, as in naive Bayes
    p(1 | x) = σ(b + Σ_w v_w r_w x_w)    v fitted as in logistic regression

With all v_w = 1 it is naive Bayes; with r_w = 1 it is logistic regression. (Wang & Manning 2012, https://aclanthology.org/P12-2018;
here with the logistic in place of the hinge loss, so that it has probabilities.)

in:  data/prepared
out: predictions/nb_svm.parquet, costs/nb_svm.json, models/nb_svm/words.csv
run: dvc repro nb_svm   (or python -m pipeline.stage counts.nb_svm)
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.contracts import Params, read_params
from pipeline.counts.counts import CountsParams, choose_on_counts, predict, terms
from pipeline.counts.log_count_ratios import NbSvm
from pipeline.counts.on_counts import classify_counts, on_counts
from pipeline.fit.chosen import Chosen
from pipeline.fit.cross_fit import Trainer

NAME = "nb_svm"


class NbSvmParams(Params):
    alpha: float = Field(1.0, gt=0)
    """Pseudo-counts of the ratios."""
    C: list[Annotated[float, Field(gt=0)]] = Field([0.03, 0.1, 0.3, 1.0], min_length=1)
    """Inverse strengths of the L2 penalty on v to try."""


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: NbSvmParams, counts: CountsParams) -> Chosen:
    """Fit to tweets and labels of shape (n,)."""
    return choose_on_counts([NbSvm(params.alpha, C) for C in params.C], tweets, labels, counts)


def log_odds_weights(model: Chosen) -> pd.Series:
    """The change in log-odds that each term's presence makes: v_w r_w."""
    classifier = model.pipeline["classifier"]
    return pd.Series(classifier.logistic_.coef_[0] * classifier.ratios_, index=terms(model.pipeline))


def count(model: Chosen) -> int:
    """The intercept, a ratio and a weight per term."""
    return 1 + 2 * len(terms(model.pipeline))


def trainer() -> Trainer:
    return on_counts(read_params(NAME, NbSvmParams), fit, predict)


def main() -> None:
    classify_counts(NAME, "discriminative", trainer(), count, log_odds_weights)
