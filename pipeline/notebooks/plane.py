"""Two dimensions of sentence embeddings, and what classifiers draw in them: ellipses and lines."""

import altair as alt
import numpy as np
import pandas as pd
from scipy import linalg, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from pipeline.notebooks.shown import by_label, by_school, label_names
from pipeline.vectors.space import SpaceParams, fit_space

MOST_DOTS = 400


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
    """The line w · p + b = 0 by two points `x`, `y`: as far to both sides as points of shape (n, 2) spread."""
    middle, normal = points.mean(axis=0), weights / np.linalg.norm(weights)
    nearest = middle - (normal @ middle + intercept / np.linalg.norm(weights)) * normal
    along = np.linalg.norm(np.ptp(points, axis=0)) * np.array([-normal[1], normal[0]])
    return pd.DataFrame([nearest - along, nearest + along], columns=["x", "y"])


def drawn_by_twins(points: np.ndarray, labels: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the twins learn from points of shape (n, 2) and labels (n,), each with a column `what`: ellipses, and boundaries.

    Two Gaussians with one covariance (each ellipse holds half of its own), and logistic regression.
    """
    gaussian = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(points, labels)
    logistic = LogisticRegression().fit(points, labels)
    ellipses = [
        ellipse(mean, gaussian.covariance_, 0.5).assign(what=f"p(x | {i})") for i, mean in enumerate(gaussian.means_)
    ]
    lines = [
        boundary(model.coef_[0], float(model.intercept_[0]), points).assign(what=what)
        for what, model in (("generative", gaussian), ("discriminative", logistic))
    ]
    return pd.concat(ellipses), pd.concat(lines)


def twins_on_plane(points: np.ndarray, labels: np.ndarray, title: str) -> alt.LayerChart:
    """Points of shape (n, 2), of which at most 400 are drawn, with labels (n,) and what the twins make of them."""
    ellipses, lines = drawn_by_twins(points, labels)
    dots = pd.DataFrame(points, columns=["x", "y"]).assign(label=label_names(pd.Series(labels))).head(MOST_DOTS)
    x, y = (
        channel(f"{column}:Q", title=None, scale=alt.Scale(domain=[dots[column].min(), dots[column].max()]))
        for column, channel in {"x": alt.X, "y": alt.Y}.items()
    )
    label = alt.Color("label:N", scale=by_label(), title=None)
    school = alt.Color("what:N", scale=by_school(), title=None)
    return alt.layer(
        alt.Chart(dots, title=title, width=300, height=300).mark_circle(opacity=0.5).encode(x, y, label),
        alt.Chart(ellipses)
        .mark_line(color="black", strokeWidth=1, clip=True)
        .encode(x, y, detail="what:N", order="step:Q"),
        alt.Chart(lines).mark_line(strokeWidth=3, clip=True).encode(x, y, school),
    ).resolve_scale(color="independent")
