"""Gaussian discriminant analysis: p(x | y) is one Gaussian a class. Generative, and logistic's twin on embeddings.

    log p(x | y) = -1/2 (x - μ_y)ᵀ Σ_y⁻¹ (x - μ_y) - 1/2 log |Σ_y| + const

With one Σ for both classes (shared) the log-odds are linear in x, as those of logistic regression are; with one each
(separate) they are quadratic. Either is shrunk towards a multiple of the identity: a covariance of 384 dimensions has 73,920
numbers. (Hastie et al. 2009, section 4.3; Friedman 1989, https://doi.org/10.1080/01621459.1989.10478752)
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.fit.tuning import Tuned, TunedParams
from pipeline.vectors.on_vectors import TunedOnVectors
from pipeline.vectors.separate_gaussians import SeparateGaussians


class GaussianParams(TunedParams):
    covariance: list[Literal["shared", "separate"]] = Field(["shared", "separate"], min_length=1)
    """To try."""
    shrinkage: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.03, 0.1, 0.3, 0.6], min_length=1)
    """Shares of the identity in the covariance to try."""


class GaussianOnVectors(TunedOnVectors[GaussianParams]):
    school = "generative"
    samples = True

    def candidates(self) -> list[BaseEstimator]:
        of_kind = {
            "shared": lambda shrinkage: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage),
            "separate": lambda shrinkage: SeparateGaussians(solver="eigen", shrinkage=shrinkage, tol=1e-9),
        }
        return [of_kind[kind](shrinkage) for kind in self.params.covariance for shrinkage in self.params.shrinkage]

    def sample(self, model: Tuned, label: int, n: int, seed: int) -> np.ndarray:
        """`n` vectors from the Gaussian of a class, shape (n, d), among the embeddings themselves, but of any length."""
        classifier = model.pipeline["classifier"]
        if isinstance(classifier, LinearDiscriminantAnalysis):
            covariance = classifier.covariance_
        else:  # scikit-learn keeps its axes and the variances along them
            axes, variances = classifier.rotations_[label], classifier.scalings_[label]
            covariance = (axes * variances) @ axes.T
        rng = np.random.default_rng(seed)
        return rng.multivariate_normal(classifier.means_[label], covariance, size=n, method="eigh")

    def parameters(self, model: Tuned) -> int:
        """Means, covariances and priors."""
        classifier = model.pipeline["classifier"]
        d, matrices = classifier.n_features_in_, 1 if isinstance(classifier, LinearDiscriminantAnalysis) else 2
        return 2 * d + matrices * d * (d + 1) // 2 + 1


FAMILY = GaussianOnVectors
