"""What lora and class_lm share: how they are read and saved, and a network a seed in each fold, averaged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pipeline.contracts import Prepared
from pipeline.finetune import checkpoints
from pipeline.finetune.frozen_layers import FrozenLayers
from pipeline.finetune.lora_params import TuningParams
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import CrossFit, cross_fit, mean_log_odds

Fitted = TypeVar("Fitted")


class Tuned(Classifier):
    """A family of fine-tuned transformers; models of one preset share the memory of the layers without adapters, `frozen`."""

    def __init__(self, params: TuningParams, frozen: FrozenLayers | None = None, preset: str | None = None) -> None:
        self.params = params
        self.given = params.model_copy(update={"train_rows": None})
        """The params where it is given the rows to learn from."""
        self.frozen = frozen
        self.preset = preset

    @property
    def determined_by(self) -> dict[str, Any]:
        return {"params": self.params.model_dump()}

    def forget(self) -> None:
        if self.frozen:
            self.frozen.known.clear()

    def here(self) -> dict[str, str]:
        return checkpoints.here(self.given)


def part_of_seed(part: str, seed: int, params: TuningParams) -> str:
    """The folder of a seed's model inside that of its classifier; a model that is its fold's only one is in the fold's."""
    return f"{part}/seed-{seed}" if len(params.seeds) > 1 else part


def cross_fit_seeds(
    name: str,
    prepared: Prepared,
    fit: Callable[[int, int, pd.DataFrame, np.ndarray], Fitted],
    predict: Callable[[Fitted, pd.DataFrame], np.ndarray],
    seconds: Callable[[Fitted], float],
    params: TuningParams,
    *,
    save: Callable[[Fitted, Path], None] | None = None,
) -> CrossFit[float]:
    """As `cross_fit`, by `fit(fold, seed, tweets, labels)` for each of the seeds; `seconds(model)` is what its training took.

    A training that went on from a checkpoint counts whole: the seconds are those of all the runs that it took.
    """

    def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[Fitted]:
        return [fit(fold, seed, tweets, labels) for seed in params.seeds]

    def save_fold(models: list[Fitted], folder: Path) -> None:
        for seed, model in zip(params.seeds, models, strict=True):
            if save:
                save(model, folder.parent / part_of_seed(folder.name, seed, params))

    def predict_fold(models: list[Fitted], tweets: pd.DataFrame) -> np.ndarray:
        return mean_log_odds(np.stack([predict(model, tweets) for model in models]))

    fitted = cross_fit(
        name,
        prepared,
        fit_fold,
        predict_fold,
        lambda models: float(sum(seconds(model) for model in models)),
        refit=params.test_rows == "refit",
        save=save_fold if save else None,
    )
    return replace(fitted, fit_seconds=max(fitted.fit_seconds, sum(fitted.kept)))
