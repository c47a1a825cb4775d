"""Two dimensions of sentence embeddings, and what classifiers draw in them: ellipses and lines."""

import numpy as np
import pandas as pd
from scipy import linalg, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from pipeline.vectors.space import SpaceParams, fit_space


def on_plane(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Vectors of shape (n, d) in the two directions that vary most with the labels, shape (n,): shape (n, 2)."""
    space = fit_space(x, labels, SpaceParams(projection="pls", dimensions=2))
    return np.asarray(space.transform(x))


def ellipse(mean: np.ndarray, covariance: np.ndarray, share: float, points: int = 100) -> pd.DataFrame:
    """The contour of a Gaussian in the plane that holds this share of it: columns `x`, `y` and `step`, in order."""
    radius = np.sqrt(stats.chi2(2).ppf(share))
    angle = np.linspace(0, 2 * np.pi, points)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)])
    x, y = mean[:, None] + linalg.cholesky(covariance, lower=True) @ circle
    return pd.DataFrame({"x": x, "y": y, "step": range(points)})


def boundary(weights: np.ndarray, intercept: float, points: np.ndarray) -> pd.DataFrame:
    """The ends `x`, `y` of the line w · p + b = 0 where it crosses the box around points of shape (n, 2); none if it does not."""
    low, high = points.min(axis=0), points.max(axis=0)
    ends = []
    for axis in (0, 1):
        other = 1 - axis
        for at in (low[axis], high[axis]):
            if weights[other] == 0:
                continue
            met = -(intercept + weights[axis] * at) / weights[other]
            if low[other] <= met <= high[other]:
                ends.append((at, met) if axis == 0 else (met, at))
    return pd.DataFrame(sorted(set(ends)), columns=["x", "y"]).iloc[[0, -1] if ends else []]


def drawn_by_twins(points: np.ndarray, labels: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the twins learn from points of shape (n, 2) and labels (n,), each with a column `what`: ellipses, and boundaries.

    Two Gaussians with one covariance (each ellipse holds half of its own), and logistic regression.
    """
    gaussian = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(points, labels)
    logistic = LogisticRegression().fit(points, labels)
    contours = [
        ellipse(mean, gaussian.covariance_, 0.5).assign(what=f"p(x | {label})")
        for label, mean in enumerate(gaussian.means_)
    ]
    lines = [
        boundary(model.coef_[0], float(model.intercept_[0]), points).assign(what=what)
        for what, model in (("generative", gaussian), ("discriminative", logistic))
    ]
    return pd.concat(contours), pd.concat(lines)
