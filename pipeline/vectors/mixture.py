"""Gaussian mixture: p(x | y) is a few Gaussians a class, as if each class had kinds of tweets. Generative, an exact density.

log p(x | y) = log Σ_k π_yk N(x; μ_yk, Σ_yk)    fitted by expectation maximisation (Dempster et al. 1977)
"""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline

from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.cross_fit import inner_splits
from pipeline.fit.model_files import check_width, read_estimator, write_estimator
from pipeline.vectors.on_vectors import OnVectors
from pipeline.vectors.space import SPACE, SpaceParams, fit_space, fitting, read_space, vectors


class MixtureParams(SpaceParams):
    components: list[Annotated[int, Field(ge=1)]] = Field([1, 2, 4, 8], min_length=1)
    """Gaussians a class, to try; the number that makes held-out tweets of their class most probable is taken."""
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    regularisation: float = Field(0.05, ge=0)
    """Added to the diagonal of each covariance; the space has variance 1."""
    inner_folds: int = Field(3, ge=2)


@dataclass(frozen=True)
class Mixture:
    space: Pipeline
    of_class: list[GaussianMixture]
    rule: BayesRule

    def log_densities(self, tweets: pd.DataFrame) -> np.ndarray:
        """log p(x | y), shape (n, 2)."""
        x = self.space.transform(vectors(tweets))
        return np.stack([mixture.score_samples(x) for mixture in self.of_class], axis=1)


def fit_mixtures(
    tweets: pd.DataFrame, labels: np.ndarray, params: MixtureParams, components: int, seed: int, rule: BayesRule
) -> Mixture:
    space = fit_space(vectors(tweets), labels, fitting(params, len(labels)))
    x = space.transform(vectors(tweets))
    with warnings.catch_warnings():  # tweets that are copies of each other have fewer kinds than components are tried
        warnings.filterwarnings("ignore", message="Number of distinct clusters", category=ConvergenceWarning)
        found = [
            GaussianMixture(
                min(components, int((labels == label).sum())),
                covariance_type=params.covariance,
                reg_covar=params.regularisation,
                random_state=seed,
            ).fit(x[labels == label])
            for label in (0, 1)
        ]
    return Mixture(space, found, rule)


class MixtureOnVectors(OnVectors[MixtureParams]):
    school = "generative"
    samples = True

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Mixture:
        """The number of components and the temperature are chosen on inner folds, then all of it is fitted to all rows."""
        params, prior = self.params, prior_log_odds(labels)
        # of few labels, many may be near-duplicates of each other: folds that leave a class less than two rows say nothing.
        splits = [
            (learnt, held)
            for learnt, held in inner_splits(labels, tweets["group"], params.inner_folds, seed)
            if np.bincount(labels[learnt], minlength=2).min() >= 2
        ]
        out_of_fold = np.zeros((len(params.components), len(labels), 2))
        for i, components in enumerate(params.components):
            for learnt, held in splits:
                part = fit_mixtures(tweets.iloc[learnt], labels[learnt], params, components, seed, BayesRule(prior))
                out_of_fold[i, held] = part.log_densities(tweets.iloc[held])
        best = int(np.argmax(out_of_fold[:, np.arange(len(labels)), labels].mean(axis=1)))
        rule = fit_bayes_rule(out_of_fold[best], labels, prior)
        return fit_mixtures(tweets, labels, params, params.components[best], seed, rule)

    def predict(self, model: Mixture, tweets: pd.DataFrame) -> np.ndarray:
        return model.rule(model.log_densities(tweets))

    def sample(self, model: Mixture, label: int, n: int, seed: int) -> np.ndarray:
        """`n` vectors of a class in the family's space, shape (n, d): a component by its weight, then a point of its Gaussian."""
        drawn, _ = copy.copy(model.of_class[label]).set_params(random_state=seed).sample(n)
        return np.random.default_rng(seed).permutation(drawn)  # scikit-learn gives them component by component

    def parameters(self, model: Mixture) -> int:
        return sum(mixture._n_parameters() for mixture in model.of_class) + 1

    def save(self, model: Mixture, folder: Path) -> None:
        write_estimator(folder / SPACE, model.space)
        for label, mixture in enumerate(model.of_class):
            write_estimator(folder / f"class-{label}.skops", mixture)
        write_rule(folder / "rule.json", model.rule)

    def load(self, folder: Path) -> Mixture:
        space, dimensions = read_space(folder)
        paths = [folder / f"class-{label}.skops" for label in (0, 1)]
        of_class = [read_estimator(path, GaussianMixture) for path in paths]
        for path, mixture in zip(paths, of_class, strict=True):
            check_width(path, mixture, dimensions)
        return Mixture(space, of_class, read_rule(folder / "rule.json"))


FAMILY = MixtureOnVectors
