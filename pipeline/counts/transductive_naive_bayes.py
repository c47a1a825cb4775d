"""Naive Bayes that also learns from tweets without labels, the test tweets among them. Generative, transductive.

    E: p(y | u) of each unlabelled tweet u, by Bayes' rule
    M: p(y) and p(w | y) from the labelled tweets and, each counted `weight` times, the unlabelled with their p(y | u)

until p(y | u) changes no more (expectation maximisation; Nigam et al. 2000, https://doi.org/10.1023/A:1007692713085). What a
tweet says alone, p(x), tells a generative model something; a discriminative one has no use for it. Transductive: the
unlabelled tweets are the test tweets, without near-duplicates of the scored fold, so the scores say little about new tweets.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

from pipeline.contracts import Params, Prepared
from pipeline.counts.counts import CountsParams, features, vectorizer
from pipeline.counts.on_counts import OnCounts
from pipeline.fit.bayes_rule import fit_bayes_rule, prior_log_odds
from pipeline.fit.cross_fit import inner_splits
from pipeline.fit.tuning import Tuned, log_densities, log_odds


class TransductiveNaiveBayesParams(Params):
    alpha: float = Field(1.0, gt=0)
    """Pseudo-counts."""
    weights: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.0, 0.1, 0.3, 1.0], min_length=1)
    """How much an unlabelled tweet counts, to try; 0 is naive Bayes as it is."""
    rounds: int = Field(20, ge=1)
    """At most so many of expectation and maximisation."""


def expectation_maximisation(
    x: sparse.csr_matrix, y: np.ndarray, u: sparse.csr_matrix, weight: float, params: TransductiveNaiveBayesParams
) -> MultinomialNB:
    """From labelled rows x, y and unlabelled rows u, each of which stands in both classes, by its p(1 | u)."""
    classifier = MultinomialNB(alpha=params.alpha).fit(x, y)
    if not weight or not u.shape[0]:
        return classifier
    rows, belief = sparse.vstack([x, u, u]), np.full(u.shape[0], np.inf)
    labels = np.concatenate([y, np.zeros(u.shape[0]), np.ones(u.shape[0])])
    for _ in range(params.rounds):
        before, belief = belief, classifier.predict_proba(u)[:, 1]
        if np.abs(belief - before).max() < 1e-3:
            break
        counted = np.concatenate([np.ones(len(y)), weight * (1 - belief), weight * belief])
        classifier = MultinomialNB(alpha=params.alpha).fit(rows, labels, counted)
    return classifier


def fit(
    tweets: pd.DataFrame,
    labels: np.ndarray,
    unlabelled: pd.DataFrame,
    params: TransductiveNaiveBayesParams,
    counts: CountsParams,
) -> Tuned:
    """From tweets with labels, shape (n,), and others without; weight and temperature are chosen on inner folds by group."""
    counter = vectorizer(counts.ngrams[0], counts.min_count[0], keywords=bool(tweets["keyword"].notna().any()))
    everything = counter.fit_transform(features(pd.concat([tweets, unlabelled]))).tocsr()
    x, u = everything[: len(tweets)], everything[len(tweets) :]
    out_of_fold = np.zeros((len(params.weights), len(labels)))
    for learnt, held in inner_splits(labels, tweets["group"], counts.inner_folds):
        apart = ~unlabelled["group"].isin(tweets["group"].iloc[held]).to_numpy()
        for i, weight in enumerate(params.weights):
            part = expectation_maximisation(x[learnt], labels[learnt], u[apart], weight, params)
            out_of_fold[i, held] = log_odds(part, x[held])
    best = int(np.argmax(((out_of_fold > 0) == labels).mean(axis=1)))
    prior = prior_log_odds(labels)
    rule = fit_bayes_rule(log_densities(out_of_fold[best], prior), labels, prior)
    classifier = expectation_maximisation(x, labels, u, params.weights[best], params)
    return Tuned(Pipeline([("features", counter), ("classifier", classifier)]), rule)


def unlabelled(prepared: Prepared, fold: int) -> pd.DataFrame:
    """The test tweets that are no near-duplicates of the fold's."""
    held_out = prepared.train.loc[prepared.train["fold"] == fold, "group"]  # none for a refit
    return prepared.test[~prepared.test["group"].isin(held_out)]


class TransductiveNaiveBayesOnCounts(OnCounts[TransductiveNaiveBayesParams]):
    school = "generative"
    semi_supervised = True

    def candidates(self) -> list[BaseEstimator]:
        return [MultinomialNB(alpha=self.params.alpha)]

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Tuned:  # noqa: ARG002 - there is no chance in it
        """From rows of which some have no label (-1), in place of the test tweets."""
        return fit(tweets[labels >= 0], labels[labels >= 0], tweets[labels < 0], self.params, self.counts)

    def trainer(self, prepared: Prepared) -> Callable[[int, pd.DataFrame, np.ndarray], Tuned]:
        return lambda fold, tweets, labels: fit(tweets, labels, unlabelled(prepared, fold), self.params, self.counts)


FAMILY = TransductiveNaiveBayesOnCounts
