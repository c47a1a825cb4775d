"""What the families on words share: how they are read, fitted, asked and written; and what those on counts share beside it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from pipeline.contracts import Params, Prepared, read_params, read_prepared
from pipeline.counts import counts
from pipeline.counts.counts import CountsParams, choose_on_counts, terms, write_words
from pipeline.fit import chosen
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import cross_fit
from pipeline.fit.written import write_cross_fit

Own = TypeVar("Own", bound=Params)


class OnWords(Classifier, Generic[Own]):
    """A family that reads texts and keywords alone, with the params of the section of its name."""

    presets = False

    def __init__(self, params: Own) -> None:
        self.params = params

    @classmethod
    def read(cls, preset: str | None = None) -> Self:  # noqa: ARG003 - there are none
        return cls(cast("Own", read_params(cls.name(), cls.params_type)))

    @property
    def determined_by(self) -> dict[str, Any]:
        return {"params": self.params.model_dump()}

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

    @property
    def determined_by(self) -> dict[str, Any]:
        return super().determined_by | {"counts": self.counts.model_dump()}

    @abstractmethod
    def candidates(self) -> Sequence[BaseEstimator]:
        """The classifiers to try."""

    def weights(self, model: Any) -> pd.Series | None:
        """Those of a linear classifier: the change in log-odds that a term's presence makes."""
        weights = getattr(model.pipeline["classifier"], "coef_", None)
        return None if weights is None else pd.Series(weights[0], index=terms(model.pipeline))

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:  # noqa: ARG002 - there is no chance in it
        return choose_on_counts(self.candidates(), tweets, labels, self.counts)

    def predict(self, model: Any, tweets: pd.DataFrame) -> np.ndarray:
        return counts.predict(model, tweets)

    def parameters(self, model: Any) -> int:
        return chosen.parameters(model)

    def save(self, model: Any, folder: Path) -> None:
        counts.save(model, folder)

    def load(self, folder: Path) -> Any:
        return counts.load(folder)
