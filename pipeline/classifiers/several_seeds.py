"""A network a seed in each fold, averaged: what the stages that train networks share."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline.classifiers.cross_fit import CrossFit, cross_fit, mean_log_odds
from pipeline.classifiers.lora_params import TuningParams
from pipeline.contracts import Prepared

Fitted = TypeVar("Fitted")


def cross_fit_seeds(
    name: str,
    prepared: Prepared,
    fit: Callable[[int, int, pd.DataFrame, np.ndarray], Fitted],
    predict: Callable[[Fitted, pd.DataFrame], np.ndarray],
    seconds: Callable[[Fitted], float],
    params: TuningParams,
) -> CrossFit[float]:
    """As `cross_fit`, by `fit(fold, seed, tweets, labels)` for each of the seeds; `seconds(model)` is what its training took.

    A training that went on from a checkpoint counts whole: the seconds are those of all the runs that it took.
    """

    def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[Fitted]:
        return [fit(fold, seed, tweets, labels) for seed in params.seeds]

    def predict_fold(models: list[Fitted], tweets: pd.DataFrame) -> np.ndarray:
        return mean_log_odds(np.stack([predict(model, tweets) for model in models]))

    fitted = cross_fit(
        name,
        prepared,
        fit_fold,
        predict_fold,
        lambda models: float(sum(seconds(model) for model in models)),
        refit=params.test_rows == "refit",
    )
    return replace(fitted, fit_seconds=max(fitted.fit_seconds, sum(fitted.kept)))
