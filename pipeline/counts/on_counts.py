"""What the families on words share: how they are read, fitted, asked and written; and what those on counts share beside it.

in:  data/prepared
out: predictions/<family>.parquet, costs/<family>.json, models/<family>, in it words.csv where words have weights
run: dvc repro counts@naive_bayes   (or python -m pipeline.stage counts.naive_bayes)
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator

from pipeline.contracts import Params, Prepared, read_params, read_prepared, validated
from pipeline.counts.counts import CountsParams, choose_on_counts, features, terms, vectorizer, write_words
from pipeline.fit import tuning
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import cross_fit
from pipeline.fit.model_files import read_json, reading, write_json
from pipeline.fit.model_store import write_cross_fit
from pipeline.fit.tuning import Tuned

Own = TypeVar("Own", bound=Params)


class Vocabulary(BaseModel):
    """What a fitted `vectorizer` counts, in the order of its columns."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    ngrams: int = Field(ge=1)
    words: list[str] = Field(min_length=1)
    keywords: list[str]
    """None if keywords are not counted."""


class OnWords(Classifier, Generic[Own]):
    """A family that reads texts and keywords alone, with the params of the section of its name."""

    params: Own
    presets = False

    @classmethod
    def read(cls, preset: str | None = None) -> Self:  # noqa: ARG003 - there are none
        return cls(cast("Own", read_params(cls.name(), cls.params_type)))

    def weights(self, model: Any) -> pd.Series | None:  # noqa: ARG002 - some have none
        """What each term (the index) speaks for target 1, in log-odds; None where a term has no weight."""
        return None

    def trainer(self, prepared: Prepared) -> Callable[[int, pd.DataFrame, np.ndarray], Any]:  # noqa: ARG002 - few use the rest
        """What fits a fold's model for `cross_fit`."""
        return self.fit_fold

    @classmethod
    def main(cls) -> None:
        """Score all tweets, and write what the family leaves."""
        own, prepared = cls.read(), read_prepared()
        fitted = cross_fit(
            own.name(),
            prepared,
            own.trainer(prepared),
            own.predict,
            lambda model: (own.parameters(model), own.weights(model)),
            save=own.save,
        )
        sizes, of_terms = zip(*fitted.kept, strict=True)
        if all(weights is not None for weights in of_terms):
            write_words(own.name(), list(of_terms))
        write_cross_fit(own.name(), own, prepared, fitted, trainable=max(sizes), total=max(sizes))


class OnCounts(OnWords[Own]):
    """A family of scikit-learn's classifiers on the counts that all share; the most accurate on inner folds is taken."""

    def __init__(self, params: Own, counted: CountsParams) -> None:
        super().__init__(params)
        self.counts = counted

    @classmethod
    def read(cls, preset: str | None = None) -> Self:  # noqa: ARG003 - there are none
        return cls(cast("Own", read_params(cls.name(), cls.params_type)), read_params("counts", CountsParams))

    @classmethod
    def from_saved(cls, determined_by: dict[str, Any], preset: str | None, where: str) -> Self:  # noqa: ARG003 - there are none
        params = validated(cls.params_type, determined_by.get("params"), f"{where}.params")
        return cls(cast("Own", params), validated(CountsParams, determined_by.get("counts"), f"{where}.counts"))

    @property
    def determined_by(self) -> dict[str, Any]:
        return super().determined_by | {"counts": self.counts.model_dump()}

    @abstractmethod
    def candidates(self) -> Sequence[BaseEstimator]:
        """The classifiers to try."""

    def weights(self, model: Tuned) -> pd.Series | None:
        """Those of a linear classifier: the change in log-odds that a term's presence makes."""
        weights = getattr(model.pipeline["classifier"], "coef_", None)
        return None if weights is None else pd.Series(weights[0], index=terms(model.pipeline))

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Tuned:  # noqa: ARG002 - there is no chance in it
        return choose_on_counts(self.candidates(), tweets, labels, self.counts)

    def predict(self, model: Tuned, tweets: pd.DataFrame) -> np.ndarray:
        return model.predict(features(tweets))

    def parameters(self, model: Tuned) -> int:
        return tuning.parameters(model)

    def save(self, model: Tuned, folder: Path) -> None:
        """Its vocabulary as JSON, its classifier by skops."""
        counters = model.pipeline["features"].named_transformers_
        vocabulary = Vocabulary(
            ngrams=counters["word"].ngram_range[1],
            words=counters["word"].get_feature_names_out().tolist(),
            keywords=counters["keyword"].get_feature_names_out().tolist() if "keyword" in counters else [],
        )
        write_json(folder / "vocabulary.json", vocabulary)
        tuning.save(model, folder)

    def load(self, folder: Path) -> Tuned:
        path = folder / "vocabulary.json"
        vocabulary = read_json(path, Vocabulary)
        counter = vectorizer(vocabulary.ngrams, 1, keywords=bool(vocabulary.keywords))
        counter.set_params(word__vocabulary=vocabulary.words)
        if vocabulary.keywords:
            counter.set_params(keyword__vocabulary=vocabulary.keywords)
        with reading(path):
            counter.fit(pd.DataFrame({"text": [""], "keyword": [""]}))  # there is nothing left to learn
        return tuning.load(folder, counter, len(vocabulary.words) + len(vocabulary.keywords))
