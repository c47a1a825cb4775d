"""A classifier made of functions, for tests of what classifiers go through."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pandas as pd

from pipeline.contracts import Params
from pipeline.counts.counts import CountsParams
from pipeline.fit.classifier import Classifier


class Made(Classifier):
    school = "generative"
    samples = True

    def __init__(
        self,
        fit: Callable[[pd.DataFrame, np.ndarray, int], Any],
        predict: Callable[[Any, pd.DataFrame], np.ndarray],
        determined_by: dict[str, Any] | None = None,
        *,
        semi_supervised: bool = False,
        sample: Callable[[Any, int, int, int], list[str] | np.ndarray] | None = None,
        called: str = "made",
    ) -> None:
        self.how, self.ask, self.by, self.draw, self.called = fit, predict, determined_by or {}, sample, called
        self.semi_supervised = semi_supervised  # type: ignore[misc]

    def name(self) -> str:  # type: ignore[override]
        return self.called

    @classmethod
    def read(cls, preset: str | None) -> Self:
        raise NotImplementedError

    @classmethod
    def from_saved(cls, determined_by: dict[str, Any], preset: str | None, where: str) -> Self:
        raise NotImplementedError

    @property
    def determined_by(self) -> dict[str, Any]:
        return self.by

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:
        return self.how(tweets, labels, seed)

    def predict(self, model: Any, tweets: pd.DataFrame) -> np.ndarray:
        return self.ask(model, tweets)

    def parameters(self, model: Any) -> int:
        return 1

    def save(self, model: Any, folder: Path) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> Any:
        raise NotImplementedError

    def sample(self, model: Any, label: int, n: int, seed: int) -> list[str] | np.ndarray:
        assert self.draw
        return self.draw(model, label, n, seed)


def on_counts(module: ModuleType, counts: CountsParams, **params: Any) -> Any:
    """The family of a module under counts with these params, and for the rest their defaults."""
    return module.FAMILY(module.FAMILY.params_type.model_validate(params), counts)


def on_vectors(module: ModuleType, params: Params) -> Any:
    return module.FAMILY(params)
