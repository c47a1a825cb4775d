"""What the families on counts share: how they are read, fitted, asked and written."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from pipeline.contracts import Params, read_params, read_prepared, validated
from pipeline.counts import counts
from pipeline.counts.counts import CountsParams, choose_on_counts, write_words
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import cross_fit
from pipeline.fit.model_store import write_cross_fit

Own = TypeVar("Own", bound=Params)


class OnCounts(Classifier, Generic[Own]):
    """A family of scikit-learn's classifiers on the counts that all share; the most accurate on inner folds is taken."""

    presets = False
    params_type: ClassVar[type[Params]]

    def __init__(self, params: Own, counted: CountsParams) -> None:
        self.params = params
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
        return {"params": self.params.model_dump(), "counts": self.counts.model_dump()}

    @abstractmethod
    def candidates(self) -> Sequence[BaseEstimator]:
        """The classifiers to try."""

    def weights(self, model: Any) -> pd.Series | None:  # noqa: ARG002 - some have none
        """What each term (the index) speaks for target 1, in log-odds."""
        return None

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:  # noqa: ARG002 - there is no chance in it
        return choose_on_counts(self.candidates(), tweets, labels, self.counts)

    def predict(self, model: Any, tweets: pd.DataFrame) -> np.ndarray:
        return counts.predict(model, tweets)

    def save(self, model: Any, folder: Path) -> None:
        counts.save(model, folder)

    def load(self, folder: Path) -> Any:
        return counts.load(folder)


def classify(family: type[OnCounts[Any]]) -> None:
    """Score all tweets by a family on counts, and write what it leaves."""
    own, prepared = family.read(), read_prepared()
    fitted = cross_fit(
        own.name(),
        prepared,
        own.fit_fold,
        own.predict,
        lambda model: (own.parameters(model), own.weights(model)),
        save=own.save,
    )
    sizes, of_terms = zip(*fitted.kept, strict=True)
    if all(weights is not None for weights in of_terms):
        write_words(own.name(), list(of_terms))
    write_cross_fit(own.name(), own, prepared, fitted, trainable=max(sizes), total=max(sizes))
