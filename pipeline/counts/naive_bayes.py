"""Naive Bayes: the generative twin. Models p(words, label) and classifies by Bayes' rule."""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import BernoulliNB, MultinomialNB

from pipeline.contracts import Params
from pipeline.counts.counts import terms
from pipeline.counts.on_counts import OnCounts
from pipeline.fit.tuning import Tuned

EVENT_MODELS = {"multinomial": MultinomialNB, "bernoulli": BernoulliNB}


class NaiveBayesParams(Params):
    event_model: list[Literal["multinomial", "bernoulli"]] = Field(["multinomial", "bernoulli"], min_length=1)
    """To try."""
    alpha: list[Annotated[float, Field(gt=0)]] = Field([0.5, 1.0, 2.0], min_length=1)
    """Pseudo-counts (additive smoothing) to try."""


def sample_bags(model: Tuned, label: int, n: int, seed: int) -> list[np.ndarray]:
    """`n` new bags of a class: the positions of their terms in the vocabulary, shape (terms,) each, drawn from p(w | y).

    - bernoulli: each term occurs or does not, on its own
    - multinomial: it has no p(length); a bag gets as many terms as a Poisson distribution gives it with the class's mean, so
      that each term occurs on its own as well, as often as a Poisson distribution says, and more than once if need be
    """
    classifier, rng = model.pipeline["classifier"], np.random.default_rng(seed)
    p = np.exp(classifier.feature_log_prob_[label])
    if isinstance(classifier, BernoulliNB):
        return [rng.permutation(np.flatnonzero(rng.random(len(p)) < p)) for _ in range(n)]
    lengths = rng.poisson(classifier.feature_count_[label].sum() / classifier.class_count_[label], size=n)
    return [rng.choice(len(p), size=length, p=p / p.sum()) for length in lengths]


class NaiveBayesOnCounts(OnCounts[NaiveBayesParams]):
    """p(y) and p(w | y), the latter smoothed by alpha pseudo-counts, from tweets and labels of shape (n,).

    - multinomial: log p(1) / p(0) + Σ_w x_w log (p(w | 1) / p(w | 0)), which words are drawn
    - bernoulli: + Σ_w (1 - x_w) log (1 - p(w | 1)) / (1 - p(w | 0)), which words occur, and which do not

    (McCallum & Nigam 1998 compare them.) Words are not independent, so both overstate what they know: the scores are Bayes' rule
    at a temperature fitted on inner folds.
    """

    school = "generative"
    samples = True

    def candidates(self) -> list[BaseEstimator]:
        return [EVENT_MODELS[model](alpha=alpha) for model in self.params.event_model for alpha in self.params.alpha]

    def weights(self, model: Tuned) -> pd.Series:
        """log p(w | 1) - log p(w | 0) of each term, or of their odds where its absence counts too."""
        classifier = model.pipeline["classifier"]
        log_p = classifier.feature_log_prob_
        if isinstance(classifier, BernoulliNB):
            log_p = log_p - np.log1p(-np.exp(log_p))
        return pd.Series(log_p[1] - log_p[0], index=terms(model.pipeline))

    def sample(self, model: Tuned, label: int, n: int, seed: int) -> list[str]:
        """`n` new texts of a class: the words of `sample_bags` in any order, the model knows none.

        Keywords are left out, and so are runs of words: theirs would be there twice.
        """
        kinds, words = np.char.partition(terms(model.pipeline).astype(str), "__")[:, [0, 2]].T
        shown = (kinds == "word") & (np.char.find(words, " ") < 0)
        return [" ".join(words[bag[shown[bag]]]) for bag in sample_bags(model, label, n, seed)]


FAMILY = NaiveBayesOnCounts
