"""The space in which densities are estimated: sentence embeddings, projected and whitened inside the training rows."""

from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.contracts import InputError, Params, Prepared
from pipeline.data.embeddings import Embeddings
from pipeline.fit.model_files import read_estimator

SPACE = "space.skops"


class SpaceParams(Params):
    projection: Literal["pca", "pls"] = "pca"
    """pca: the directions of largest variance. pls: those of largest covariance with the label (partial least squares)."""
    dimensions: int = Field(16, ge=1, le=64)


Chosen = TypeVar("Chosen", bound=SpaceParams)


class _LabelledDirections(PLSRegression):
    """Partial least squares (Wold 1984) as a transformer of x alone; scikit-learn's returns x and y when fitted."""

    def fit_transform(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(self.fit(x, y).transform(x))


def fitting(params: Chosen, rows: int) -> Chosen:
    """The params with no more dimensions than so few rows can tell apart."""
    return params.model_copy(update={"dimensions": min(params.dimensions, rows - 1)})


def fit_space(x: np.ndarray, y: np.ndarray, params: SpaceParams) -> Pipeline:
    """From vectors of shape (n, d) and labels (n,): the map to `dimensions` uncorrelated ones of mean 0 and variance 1."""
    if params.dimensions > min(x.shape):
        raise InputError(f"dimensions: {params.dimensions} of {x.shape[0]} vectors with {x.shape[1]} numbers each")
    projections = {"pca": PCA(params.dimensions), "pls": _LabelledDirections(params.dimensions, scale=False)}
    return make_pipeline(projections[params.projection], StandardScaler()).fit(x, y)


def read_space(folder: Path) -> tuple[Pipeline, int]:
    """The space that a family saved there, and how many dimensions it has."""
    path = folder / SPACE
    space = read_estimator(path, Pipeline)
    if len(space) != 2 or not isinstance(space[0], PCA | PLSRegression) or not isinstance(space[1], StandardScaler):
        raise InputError(f"{path}: not a projection and a scale")
    return space, int(space[1].n_features_in_)


def with_vectors(prepared: Prepared, embeddings: Embeddings) -> Prepared:
    """The prepared tweets with their embedding in a column `vector`."""
    train = prepared.train.assign(vector=list(embeddings.train))
    return Prepared(train, prepared.test.assign(vector=list(embeddings.test)), prepared.digest)


def vectors(tweets: pd.DataFrame) -> np.ndarray:
    """The column `vector`, shape (n, d), float64."""
    return np.array(tweets["vector"].tolist(), dtype=np.float64)
