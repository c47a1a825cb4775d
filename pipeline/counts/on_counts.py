"""What the families on words share: how they are read, fitted, asked and written."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from pipeline.contracts import Prepared, read_params, read_prepared
from pipeline.counts import counts
from pipeline.counts.counts import CountsParams, choose_on_counts, terms, write_words
from pipeline.fit import chosen
from pipeline.fit.classifier import Own, WithParams
from pipeline.fit.cross_fit import cross_fit
from pipeline.fit.written import write_cross_fit


class OnWords(WithParams[Own]):
    """A family that reads words, however it counts them."""

    presets = False

    def __init__(self, params: Own) -> None:
        self.params = params

    @classmethod
    def read(cls, preset: str | None = None) -> Self:  # noqa: ARG003 - there are none
        return cls(cls.read_own())

    @property
    def determined_by(self) -> dict[str, Any]:
        return {"params": self.params.model_dump()}

    @abstractmethod
    def weights(self, model: Any) -> pd.Series | None:
        """What each term (the index) speaks for target 1, in log-odds; None where a term has no weight."""

    def fitting(self, _: Prepared) -> Callable[[int, pd.DataFrame, np.ndarray], Any]:
        """For `cross_fit`: from a fold, tweets and labels of shape (n,) to a model."""
        return self.fit_fold

    @classmethod
    def main(cls) -> None:
        own, prepared = cls.read(), read_prepared()
        fitted = cross_fit(
            own.name(),
            prepared,
            own.fitting(prepared),
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
        return cls(cls.read_own(), read_params("counts", CountsParams))

    @property
    def determined_by(self) -> dict[str, Any]:
        return {"params": self.params.model_dump(), "counts": self.counts.model_dump()}

    @abstractmethod
    def candidates(self) -> Sequence[BaseEstimator]:
        """The classifiers to try."""

    def weights(self, model: Any) -> pd.Series | None:
        """The change in log-odds that each term's presence makes, if the classifier is linear."""
        coefficients = getattr(model.pipeline["classifier"], "coef_", None)
        return None if coefficients is None else pd.Series(coefficients[0], index=terms(model.pipeline))

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:  # noqa: ARG002 - there is no chance in it
        return choose_on_counts(self.candidates(), tweets, labels, self.counts)

    def predict(self, model: Any, tweets: pd.DataFrame) -> np.ndarray:
        return counts.predict(model, tweets)

    def parameters(self, model: Any) -> int:
        return chosen.learnt(model)

    def save(self, model: Any, folder: Path) -> None:
        counts.save(model, folder)

    def load(self, folder: Path) -> Any:
        return counts.load(folder)
