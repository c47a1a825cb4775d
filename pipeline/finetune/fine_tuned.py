"""What lora and class_lm share: how they are read, saved and opened, and a model a seed in each fold, averaged."""

import argparse
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from pipeline.contracts import plain_name, read_prepared, validated
from pipeline.device import processes
from pipeline.finetune import checkpoints
from pipeline.finetune.frozen_layers import FrozenLayers
from pipeline.finetune.params import TuningParams
from pipeline.finetune.training import History, Report, training_seed
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import MODELS, REFIT, cross_fit, mean_log_odds, part
from pipeline.fit.model_store import write_cross_fit
from pipeline.places import results

Own = TypeVar("Own", bound=TuningParams)


class FineTunedModel(ABC):
    """A fitted model, all that `predict` needs, and what its training was like."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """What its training took, in all the runs that it took: one that went on from a checkpoint counts whole."""

    @property
    @abstractmethod
    def trainable(self) -> int:
        """How many parameters were trained."""

    @abstractmethod
    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was trained as safetensors."""


def unwatched(part: str, history: History) -> None:
    """Nobody looks on."""


def part_of_seed(part: str, seed: int, params: TuningParams) -> str:
    """The folder of a seed's model inside that of its classifier; a model that is its fold's only one is in the fold's."""
    return f"{part}/seed-{seed}" if len(params.seeds) > 1 else part


class FineTuned(Classifier, Generic[Own]):
    """A family of fine-tuned transformers; models of one preset share the memory of the layers without adapters, `frozen`."""

    explained: ClassVar[bool] = False
    """Whether the folds' models are kept beside a refitted one, to explain what they scored."""

    def __init__(self, params: Own, preset: str | None = None) -> None:
        self.params = params
        self.given: Own = params.model_copy(update={"train_rows": None})
        """The params where it is given the rows to learn from."""
        self.preset = preset

    @classmethod
    def from_saved(cls, determined_by: dict[str, Any], preset: str | None, where: str) -> Self:
        return cls(cast("Own", validated(cls.params_type, determined_by.get("params"), f"{where}.params")), preset)

    @property
    def determined_by(self) -> dict[str, Any]:
        return {"params": self.params.model_dump()}

    @abstractmethod
    def base(self) -> PreTrainedModel:
        """The base model, without adapters."""

    @cached_property
    def frozen(self) -> FrozenLayers | None:
        """The memory of the layers without adapters, if there are any."""
        return None if self.params.layers is None else FrozenLayers.below(self.base(), self.params.layers)

    @abstractmethod
    def fit_resumable(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int, report: Report) -> Any:
        """A model of `train_rows` of the tweets; each epoch is kept in the store, and gone on from there."""

    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Trainable parameters of a model, and all."""

    def predict(self, model: FineTunedModel, tweets: pd.DataFrame) -> np.ndarray:
        return model.predict(tweets)

    def parameters(self, model: FineTunedModel) -> int:
        return model.trainable

    def save(self, model: FineTunedModel, folder: Path) -> None:
        model.save(folder)

    def save_and_reload(self, model: Any, folder: Path, probe: pd.DataFrame) -> Any:  # noqa: ARG002 - lora asks about it
        """Save a model, and return the one to score with; `probe` are tweets of both classes that it has learnt from."""
        model.save(folder)
        return model

    def watch(self, name: str) -> Callable[[str, History], None]:  # noqa: ARG002 - lora draws it
        """What is told how the training of each part goes."""
        return unwatched

    def forget(self) -> None:
        if self.frozen:
            self.frozen.known.clear()

    def here(self) -> dict[str, str]:
        return checkpoints.here(self.params)

    @classmethod
    def main(cls) -> None:
        """Score all tweets by the preset that the command line names, with a model for each fold and seed."""
        parser = argparse.ArgumentParser(description=f"Fine-tune by adapters: {cls.name()}.")
        parser.add_argument("preset", type=plain_name, help=f"a key of {cls.name()} in params.yaml")
        preset = parser.parse_args().preset
        name = f"{cls.name()}_{preset}"
        own, prepared = cls.read(preset), read_prepared()
        params, state, folder = own.params, processes(own.params.device), results(MODELS) / name
        trainable, total = own.sizes()
        watch = own.watch(name) if state.is_main_process else unwatched
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)

        def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[FineTunedModel]:
            models = []
            for seed in params.seeds:
                place = part_of_seed(part(fold), seed, params)
                model = own.fit_resumable(tweets, labels, training_seed(seed, fold), partial(watch, place))
                if cls.explained or params.test_rows == "folds" or fold == REFIT:
                    model = own.save_and_reload(model, folder / place, tweets.groupby(labels).head(50))
                models.append(model)
            return models

        def predict_fold(models: list[FineTunedModel], tweets: pd.DataFrame) -> np.ndarray:
            return mean_log_odds(np.stack([model.predict(tweets) for model in models]))

        def seconds(models: list[FineTunedModel]) -> float:
            return sum(model.seconds for model in models)

        fitted = cross_fit(name, prepared, fit_fold, predict_fold, seconds, refit=params.test_rows == "refit")
        fitted = replace(fitted, fit_seconds=max(fitted.fit_seconds, sum(fitted.kept)))
        if state.is_main_process:
            alone = state.num_processes == 1
            write_cross_fit(name, own, prepared, fitted, trainable=trainable, total=total, alone=alone)
