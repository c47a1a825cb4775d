"""Gaussian discriminant analysis: p(x | y) is one Gaussian a class. Generative, and logistic's twin on embeddings.

    log p(x | y) = -1/2 (x - μ_y)ᵀ Σ_y⁻¹ (x - μ_y) - 1/2 log |Σ_y| + const

With one Σ for both classes (shared) the log-odds are linear in x, as those of logistic regression are; with one each
(separate) they are quadratic. Either is shrunk towards a multiple of the identity: a covariance of 384 dimensions has 73,920
numbers.
(Hastie et al. 2009, section 4.3; Friedman 1989, https://doi.org/10.1080/01621459.1989.10478752)

in:  data/prepared, data/embed
out: predictions/gaussian_<encoder>.parquet, costs/gaussian_<encoder>.json, models/gaussian_<encoder>
run: dvc repro vectors@gaussian-minilm   (or python -m pipeline.stage vectors.gaussian minilm)
"""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import FunctionTransformer

from pipeline.contracts import Params, read_params
from pipeline.fit import chosen
from pipeline.fit.chosen import Chosen
from pipeline.fit.cross_fit import Trainer
from pipeline.vectors.separate_gaussians import SeparateGaussians
from pipeline.vectors.space import vectors
from pipeline.vectors.stage import choose_on_vectors, classify_vectors, on_vectors


class GaussianParams(Params):
    covariance: list[Literal["shared", "separate"]] = Field(["shared", "separate"], min_length=1)
    """To try."""
    shrinkage: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.03, 0.1, 0.3, 0.6], min_length=1)
    """Shares of the identity in the covariance to try."""
    inner_folds: int = Field(3, ge=2)


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: GaussianParams) -> Chosen:
    """The covariance and shrinkage that are most accurate on inner folds, fitted to all tweets and labels, shape (n,)."""
    of_kind = {
        "shared": lambda shrinkage: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage),
        "separate": lambda shrinkage: SeparateGaussians(solver="eigen", shrinkage=shrinkage, tol=1e-9),
    }
    candidates = [of_kind[kind](shrinkage) for kind in params.covariance for shrinkage in params.shrinkage]
    return choose_on_vectors(candidates, tweets, labels, params.inner_folds)


def predict(model: Chosen, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    return model.predict(vectors(tweets))


def sample(model: Chosen, label: int, n: int, seed: int) -> np.ndarray:
    """`n` vectors from the Gaussian of a class, shape (n, d), among the embeddings themselves, but of any length."""
    classifier = model.pipeline["classifier"]
    if isinstance(classifier, LinearDiscriminantAnalysis):
        covariance = classifier.covariance_
    else:  # scikit-learn keeps its axes and the variances along them
        axes, variances = classifier.rotations_[label], classifier.scalings_[label]
        covariance = (axes * variances) @ axes.T
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(classifier.means_[label], covariance, size=n, method="eigh")


def count(model: Chosen) -> int:
    """Means, covariances and priors."""
    classifier = model.pipeline["classifier"]
    d, matrices = classifier.n_features_in_, 1 if isinstance(classifier, LinearDiscriminantAnalysis) else 2
    return 2 * d + matrices * d * (d + 1) // 2 + 1


def trainer(encoder: str) -> Trainer:
    params = read_params("vectors.gaussian", GaussianParams)
    return on_vectors(
        encoder,
        params,
        lambda tweets, labels, _: fit(tweets, labels, params),
        predict,
        save=chosen.save,
        load=lambda folder: chosen.load(folder, FunctionTransformer()),
    )


def main() -> None:
    classify_vectors("gaussian", "generative", trainer, count)
