"""Nearest neighbours: the vote of the labelled tweets that are most like it. What retrieved examples say without an LLM.

    p(1 | x) = (1 + how many of the k nearest carry label 1) / (k + 2)    by cosine; Laplace's rule of succession

The k tweets are those that a prompt with retrieved examples shows: as many as prompts/few_shot_retrieved.yaml has, of the same
ones. So the difference between the two is what a language model adds to its examples. (Fix & Hodges 1951; Cover & Hart 1967,
https://doi.org/10.1109/TIT.1967.1053964)
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.neighbors import KNeighborsRegressor

from pipeline.contracts import Params
from pipeline.fit.model_files import read_estimator, write_estimator
from pipeline.fit.subsets import unanimous
from pipeline.vectors.on_vectors import OnVectors
from pipeline.vectors.space import vectors

FILE = "neighbours.skops"


class KnnParams(Params):
    neighbours: int = Field(8, ge=1)
    """That have a vote."""


class KnnOnVectors(OnVectors[KnnParams]):
    school = "discriminative"

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> KNeighborsRegressor:  # noqa: ARG002 - there is no chance in it
        """The tweets to choose from: one of each near-duplicate group whose members carry one label, shape (n,)."""
        pool = unanimous(tweets, labels)
        model = KNeighborsRegressor(min(self.params.neighbours, len(pool)), algorithm="brute", metric="cosine")
        return model.fit(vectors(tweets.iloc[pool]).astype("float32"), labels[pool])

    def predict(self, model: KNeighborsRegressor, tweets: pd.DataFrame) -> np.ndarray:
        share = model.predict(vectors(tweets).astype("float32"))  # of the votes
        return np.asarray((1 + model.n_neighbors * share) / (2 + model.n_neighbors))

    def parameters(self, model: KNeighborsRegressor) -> int:
        """What it keeps of the tweets: their vectors and labels."""
        return int(model.n_samples_fit_ * (model.n_features_in_ + 1))

    def save(self, model: KNeighborsRegressor, folder: Path) -> None:
        write_estimator(folder / FILE, model)

    def load(self, folder: Path) -> KNeighborsRegressor:
        return read_estimator(folder / FILE, KNeighborsRegressor)


FAMILY = KnnOnVectors
