"""NB-SVM: a linear classifier on naive Bayes' log-count ratios, the bridge between the twins. Discriminative.

    r_w = log p(w | 1) / p(w | 0)    smoothed, as in naive Bayes
    p(1 | x) = σ(b + Σ_w v_w r_w x_w)    v fitted as in logistic regression

With all v_w = 1 it is naive Bayes; with r_w = 1 it is logistic regression. (Wang & Manning 2012, https://aclanthology.org/P12-2018;
here with the logistic in place of the hinge loss, so that it has probabilities.)
"""

from typing import Annotated

from pydantic import Field
from sklearn.base import BaseEstimator

from pipeline.contracts import Params
from pipeline.counts.log_count_ratios import NbSvm
from pipeline.counts.on_counts import OnCounts
from pipeline.fit.tuning import Tuned


class NbSvmParams(Params):
    alpha: float = Field(1.0, gt=0)
    """Pseudo-counts of the ratios."""
    C: list[Annotated[float, Field(gt=0)]] = Field([0.03, 0.1, 0.3, 1.0], min_length=1)
    """Inverse strengths of the L2 penalty on v to try."""


class NbSvmOnCounts(OnCounts[NbSvmParams]):
    school = "discriminative"

    def candidates(self) -> list[BaseEstimator]:
        return [NbSvm(self.params.alpha, C) for C in self.params.C]

    def parameters(self, model: Tuned) -> int:
        """The intercept, a ratio and a weight per term."""
        return 1 + 2 * int(model.pipeline["classifier"].n_features_in_)


FAMILY = NbSvmOnCounts
