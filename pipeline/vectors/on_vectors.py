"""What the families over embeddings share: how they are read, fitted, asked and written.

in:  data/prepared, data/embed
out: predictions/<family>_<encoder>.parquet, costs/<family>_<encoder>.json, models/<family>_<encoder>
run: dvc repro vectors@gaussian-minilm   (or python -m pipeline.stage vectors.gaussian minilm)
"""

import argparse
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer

from pipeline.contracts import Params, Prepared, plain_name, read_params, read_prepared, validated
from pipeline.data.embed import EmbedParams, embed
from pipeline.data.embeddings import embeddings_digest, embeddings_path, read_embeddings
from pipeline.fit import tuning
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import cross_fit
from pipeline.fit.model_store import write_cross_fit
from pipeline.fit.tuning import Tuned, TunedParams
from pipeline.vectors.space import vectors, with_vectors

Own = TypeVar("Own", bound=Params)


@lru_cache(maxsize=4)
def embed_new(texts: tuple[str, ...], params: EmbedParams) -> np.ndarray:
    """Embeddings of texts, shape (n, d); several families ask for those of the same ones, one batch after another."""
    return embed(list(texts), params)


class OnVectors(Classifier, Generic[Own]):
    """A family over the embeddings of an encoder; without one, over vectors that the tweets have already."""

    def __init__(self, params: Own, preset: str | None = None, encoder: EmbedParams | None = None) -> None:
        self.params = params
        self.preset = preset
        self.encoder = encoder
        """Of a saved model: the params of the encoder that it was trained with."""

    @classmethod
    def read(cls, preset: str | None) -> Self:
        return cls(cast("Own", read_params(f"vectors.{cls.name()}", cls.params_type)), preset)

    @classmethod
    def from_saved(cls, determined_by: dict[str, Any], preset: str | None, where: str) -> Self:
        params = validated(cls.params_type, determined_by.get("params"), f"{where}.params")
        encoder = validated(EmbedParams, determined_by.get("embed"), f"{where}.embed")
        if encoder.device != "cpu":  # another machine may lack it
            encoder = encoder.model_copy(update={"device": "auto"})
        return cls(cast("Own", params), preset, encoder)

    @property
    def embed_params(self) -> EmbedParams:
        return self.encoder or read_params(f"embed.{self.preset}", EmbedParams)

    @property
    def determined_by(self) -> dict[str, Any]:
        there = self.preset and embeddings_path(self.preset).is_file()  # new tweets need none
        digest = embeddings_digest(str(self.preset)) if there else None
        return {"params": self.params.model_dump(), "embed": self.embed_params.model_dump(), "embeddings": digest}

    def with_inputs(self, prepared: Prepared) -> Prepared:
        return with_vectors(prepared, read_embeddings(prepared, str(self.preset)))

    def read_new(self, tweets: pd.DataFrame) -> pd.DataFrame:
        return tweets.assign(vector=list(embed_new(tuple(tweets["text"]), self.embed_params)))

    def hangs_on_noise(self, train: pd.DataFrame, scores: np.ndarray, models: list[Any]) -> float | None:  # noqa: ARG002 - few do
        """Share of out-of-fold decisions that another draw of the noise turns over; None where scores hang on none.

        `scores` are the out-of-fold ones, shape (n,); there is a model for each fold, in their order.
        """
        return None

    @classmethod
    def main(cls) -> None:
        """Score all tweets on the embeddings of the encoder that the command line names."""
        parser = argparse.ArgumentParser(description=f"Classify sentence embeddings: {cls.name()}.")
        parser.add_argument("encoder", type=plain_name, help="a key of embed in params.yaml")
        encoder = parser.parse_args().encoder
        own = cls.read(encoder)
        prepared = own.with_inputs(read_prepared())
        name = f"{cls.name()}_{encoder}"
        fitted = cross_fit(name, prepared, own.fit_fold, own.predict, lambda model: model, save=own.save)
        size = max(map(own.parameters, fitted.kept))
        write_cross_fit(
            name,
            own,
            prepared,
            fitted,
            trainable=size,
            total=size,
            reads=f"embed_{encoder}",  # a tweet must be embedded before it can be classified
            noise=own.hangs_on_noise(prepared.train, fitted.train, fitted.kept),
        )


OwnTuned = TypeVar("OwnTuned", bound=TunedParams)


class TunedOnVectors(OnVectors[OwnTuned]):
    """A family of scikit-learn's classifiers, of which the most accurate on inner folds by group is taken."""

    @abstractmethod
    def candidates(self) -> Sequence[BaseEstimator]:
        """The classifiers to try."""

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Tuned:  # noqa: ARG002 - there is no chance in it
        x, as_it_is = vectors(tweets), FunctionTransformer()
        best, rule = tuning.choose(as_it_is, self.candidates(), x, labels, tweets["group"], self.params.inner_folds)
        return tuning.fit_tuned(as_it_is, best, x, labels, rule)

    def predict(self, model: Tuned, tweets: pd.DataFrame) -> np.ndarray:
        return model.predict(vectors(tweets))

    def parameters(self, model: Tuned) -> int:
        return tuning.parameters(model)

    def save(self, model: Tuned, folder: Path) -> None:
        tuning.save(model, folder)

    def load(self, folder: Path) -> Tuned:
        return tuning.load(folder, FunctionTransformer())
