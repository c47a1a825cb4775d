"""A classifier made of functions, for tests of what classifiers go through."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pandas as pd

from pipeline.contracts import Predictions, predictions_frame
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


def predicted(
    name: str, school: Any, train: pd.DataFrame, scores: Any, test: pd.DataFrame | None = None
) -> Predictions:
    """Predictions of these train rows, and one half for all test rows if there are any."""
    rows = predictions_frame(train, "train", np.asarray(scores, dtype=float))
    tested = rows.iloc[:0] if test is None else predictions_frame(test, "test", np.full(len(test), 0.5))
    return Predictions(name, school, "none" if test is None else "refit", rows, tested)


def rows_of(targets: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None, start: int = 0) -> pd.DataFrame:
    """As `scored_rows`: a group each if nothing is said, ids from `start` on."""
    ids = pd.RangeIndex(start, start + len(targets), name="id")
    return pd.DataFrame({"target": targets, "group": ids if groups is None else groups, "score": scores}, index=ids)
