"""What lora and class_lm share: how they are read, fitted, saved and opened, and a model a seed in each fold, averaged."""

import argparse
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pandas as pd
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from pipeline.contracts import plain_name, read_params, read_prepared
from pipeline.device import choose_device, choose_dtype, processes
from pipeline.finetune import adapters, encoder
from pipeline.finetune.frozen_layers import Batch, FrozenLayers
from pipeline.finetune.params import TuningParams
from pipeline.finetune.training import History, Report, training_seed
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import MODELS, REFIT, cross_fit, mean_log_odds, part
from pipeline.fit.model_store import write_cross_fit
from pipeline.fit.subsets import first_rows
from pipeline.places import results

Own = TypeVar("Own", bound=TuningParams)


@dataclass
class FineTunedModel(ABC, Generic[Own]):
    """A fitted model, all that `predict` needs, and what its training was like."""

    networks: list[PeftModel]
    tokenizer: PreTrainedTokenizerBase
    params: Own
    frozen: FrozenLayers | None = None
    histories: list[History] = field(default_factory=list)
    """Of each network."""

    @property
    def seconds(self) -> float:
        """What its training took, in all the runs that it took: one that went on from a checkpoint counts whole."""
        return sum(history.seconds for history in self.histories)

    @property
    def trainable(self) -> int:
        """How many parameters were trained."""
        return sum(adapters.count_parameters(network)[0] for network in self.networks)

    def remember(self, rows: Dataset, dtype: Any, inputs: Callable[[Batch], Batch] = lambda batch: batch) -> Dataset:
        """The rows; the networks' frozen layers have then seen the `inputs` that are made of them."""
        if self.frozen is not None:
            for network in self.networks:
                batches = encoder.batches(rows, self.tokenizer, self.params.batch_size, encoder.longest_first(rows))
                self.frozen.replace(network.get_base_model(), (inputs(batch) for batch, _ in batches), dtype)
        return rows

    @abstractmethod
    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was trained as safetensors."""


def part_of_seed(part: str, seed: int, params: TuningParams) -> str:
    """The folder of a seed's model inside that of its classifier; a model that is its fold's only one is in the fold's."""
    return f"{part}/seed-{seed}" if len(params.seeds) > 1 else part


class FineTuned(Classifier, Generic[Own]):
    """A family of fine-tuned transformers; models of one preset share the memory of the layers without adapters, `frozen`."""

    params: Own
    explained: ClassVar[bool] = False
    """Whether the folds' models are kept beside a refitted one, to explain what they scored."""

    @classmethod
    def read(cls, preset: str | None) -> Self:
        return cls(read_params(f"{cls.name()}.{preset}", cls.params_type), preset)

    @abstractmethod
    def fresh(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        """The base model with fresh adapters, on the CPU, and its tokenizer."""

    @cached_property
    def frozen(self) -> FrozenLayers | None:
        """The memory of the layers without adapters, if there are any."""
        if self.params.layers is None:
            return None
        return FrozenLayers.below(self.fresh()[0].get_base_model(), self.params.layers)

    @abstractmethod
    def train(
        self,
        tweets: pd.DataFrame,
        labels: np.ndarray,
        seed: int,
        *,
        resumable: bool = False,
        report: Report = lambda _: None,
    ) -> Any:
        """A model of tweets with labels of shape (n,), by AdamW over the adapters and what is trained whole.

        `resumable` keeps each epoch in the store, and goes on from there.
        """

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:
        return self.train(tweets, labels, seed)

    def sizes(self) -> tuple[int, int]:
        """Trainable parameters of a model, and all."""
        return adapters.count_parameters(self.fresh()[0])

    def predict(self, model: FineTunedModel[Own], tweets: pd.DataFrame) -> np.ndarray:
        return model.predict(tweets)

    def parameters(self, model: FineTunedModel[Own]) -> int:
        return model.trainable

    def save(self, model: FineTunedModel[Own], folder: Path) -> None:
        model.save(folder)

    def save_and_reload(self, model: Any, folder: Path, probe: pd.DataFrame) -> Any:  # noqa: ARG002 - lora asks about it
        """Save a model, and return the one to score with; `probe` are tweets of both classes that it has learnt from."""
        model.save(folder)
        return model

    def watch(self, name: str) -> Callable[[str, History], None]:  # noqa: ARG002 - lora draws it
        """What is told how the training of each part goes."""
        return lambda *_: None

    def forget(self) -> None:
        if self.frozen:
            self.frozen.known.clear()

    def here(self) -> dict[str, str]:
        device = choose_device(self.params.device)
        dtype = choose_dtype(self.params.precision, device)
        return {
            "base_model": encoder.files_digest(self.params.base_model),
            "device": device.type,
            "dtype": str(dtype),
        }

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
        watch = own.watch(name) if state.is_main_process else FineTuned.watch(own, name)
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)

        def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[FineTunedModel[Any]]:
            models, chosen = [], first_rows(tweets, labels, params.train_rows)
            for seed in params.seeds:
                place = part_of_seed(part(fold), seed, params)
                model = own.train(*chosen, training_seed(seed, fold), resumable=True, report=partial(watch, place))
                if cls.explained or params.test_rows == "folds" or fold == REFIT:
                    model = own.save_and_reload(model, folder / place, tweets.groupby(labels).head(50))
                models.append(model)
            return models

        def predict_fold(models: list[FineTunedModel[Any]], tweets: pd.DataFrame) -> np.ndarray:
            return mean_log_odds(np.stack([model.predict(tweets) for model in models]))

        def seconds(models: list[FineTunedModel[Any]]) -> float:
            return sum(model.seconds for model in models)

        fitted = cross_fit(name, prepared, fit_fold, predict_fold, seconds, refit=params.test_rows == "refit")
        fitted = replace(fitted, fit_seconds=max(fitted.fit_seconds, sum(fitted.kept)))
        if state.is_main_process:
            alone = state.num_processes == 1
            write_cross_fit(name, own, prepared, fitted, trainable=trainable, total=total, alone=alone)
