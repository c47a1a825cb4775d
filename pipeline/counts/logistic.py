"""Logistic regression: the discriminative twin of naive Bayes. The same counts, but p(label | words) is modelled directly.

in:  data/prepared
out: predictions/logistic.parquet, costs/logistic.json, models/logistic/words.csv
run: dvc repro logistic   (or python -m pipeline.stage counts.logistic)
"""

from typing import Annotated

import pandas as pd
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import Params
from pipeline.counts.counts import terms
from pipeline.counts.on_counts import OnCounts, classify
from pipeline.fit.tuning import Tuned


class LogisticParams(Params):
    C: list[Annotated[float, Field(gt=0)]] = Field([0.05, 0.1, 0.2, 0.5, 1.0], min_length=1)
    """Inverse strengths of the L2 penalty to try."""


class Logistic(OnCounts[LogisticParams]):
    """The weights that maximise Σ_i log p(y_i | x_i) - |w|² / 2C, from tweets and labels of shape (n,).

    score(x) = b + Σ_w x_w weight_w: the form of naive Bayes, with weights fitted to the decision (Ng & Jordan 2001).
    """

    school = "discriminative"
    params_type = LogisticParams

    def candidates(self) -> list[BaseEstimator]:
        return [LogisticRegression(C=C, max_iter=1000) for C in self.params.C]

    def weights(self, model: Tuned) -> pd.Series:
        """The change in log-odds that each term's presence makes."""
        return pd.Series(model.pipeline["classifier"].coef_[0], index=terms(model.pipeline))

    def parameters(self, model: Tuned) -> int:
        """The intercept and a weight per term."""
        return 1 + len(terms(model.pipeline))


FAMILY = Logistic


def main() -> None:
    classify(FAMILY)
