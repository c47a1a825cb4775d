"""What lora and class_lm share: how they are read, trained and opened, and a model a seed in each fold, averaged."""

import argparse
import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from pipeline import code
from pipeline.contracts import plain_name, read_params, read_prepared
from pipeline.device import choose_device, choose_dtype, processes
from pipeline.finetune import adapters, encoder, training
from pipeline.finetune.frozen_layers import Batch, FrozenLayers
from pipeline.finetune.params import TuningParams
from pipeline.finetune.training import History, Objective, Report, training_seed
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import MODELS, REFIT, cross_fit, mean_log_odds, part
from pipeline.fit.model_store import write_cross_fit
from pipeline.fit.subsets import first_rows, split_by_group
from pipeline.places import results
from pipeline.store import store_folder

Own = TypeVar("Own", bound=TuningParams)


def silent(_part: str, _history: History) -> None:
    """Tells nobody how a training goes."""


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
    def dtype(self) -> torch.dtype:
        """What training multiplies matrices in."""
        return choose_dtype(self.params.precision, self.networks[0].device)

    @property
    def scoring_dtype(self) -> torch.dtype:
        """What scores are computed in, and frozen weights stored in."""
        return self.dtype

    @abstractmethod
    def objective(self, dtype: torch.dtype) -> Objective:
        """What training minimises, computed in `dtype`."""

    @abstractmethod
    def rows(self, tweets: pd.DataFrame, labels: np.ndarray | None = None) -> Dataset:
        """The tweets as the networks read them, known to their frozen layers, with labels of shape (n,) if given."""

    def known(self, rows: Dataset, inputs: Callable[[Batch], Batch] = lambda batch: batch) -> Dataset:
        """The rows; the networks' frozen layers have then seen the `inputs` that are made of them."""
        if self.frozen is not None:
            for network in self.networks:
                batches = encoder.batches(rows, self.tokenizer, self.params.batch_size, encoder.longest_first(rows))
                read = (inputs(batch) for batch, _ in batches)
                self.frozen.replace(network.get_base_model(), read, self.scoring_dtype)
        return rows

    def outputs(self, rows: Dataset) -> torch.Tensor:
        """What the networks say about the rows, side by side, shape (n, 2)."""
        size, objective = self.params.batch_size, self.objective(self.scoring_dtype)
        of_each = [training.predict_outputs(each, self.tokenizer, rows, size, objective) for each in self.networks]
        return torch.cat(of_each, dim=1)

    @abstractmethod
    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was trained as safetensors."""


class FineTuned(Classifier, Generic[Own]):
    """A family of fine-tuned transformers; models of one preset share the memory of the layers without adapters, `frozen`."""

    params: Own
    explained: ClassVar[bool] = False
    """Whether the folds' models are kept beside a refitted one, to explain what they scored."""
    count = 1
    """How many networks a model has: one, or one that learns from class 0 and one that learns from class 1."""

    @classmethod
    def read(cls, preset: str | None) -> Self:
        return cls(read_params(f"{cls.name()}.{preset}", cls.params_type), preset)

    @abstractmethod
    def fresh(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        """The base model with fresh adapters, on the CPU, and its tokenizer."""

    @abstractmethod
    def untrained(self, networks: list[PeftModel], tokenizer: PreTrainedTokenizerBase, labels: np.ndarray) -> Any:
        """A model of networks that will be trained on these labels."""

    @cached_property
    def frozen(self) -> FrozenLayers | None:
        """The memory of the layers without adapters, if there are any."""
        if self.params.layers is None:
            return None
        count = len(encoder.transformer_layers(self.fresh()[0].get_base_model())[1]) - self.params.layers
        return FrozenLayers(count) if count else None

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
        params, networks = self.params, []
        for _ in range(self.count):
            torch.manual_seed(seed)
            network, tokenizer = self.fresh()
            networks.append(network.to(choose_device(params.device)))
        model = self.untrained(networks, tokenizer, labels)
        objective = model.objective(model.dtype)
        parts = [np.arange(len(tweets))]
        if params.validation:
            parts = list(split_by_group(tweets, labels, params.validation, seed))
        for label, network in enumerate(networks):
            adapters.make_fast(network, model.scoring_dtype)
            own = parts if self.count == 1 else [part[labels[part] == label] for part in parts]
            rows = [model.rows(tweets.iloc[part], labels[part].astype(np.float64)) for part in own]
            checkpoint = self.checkpoint(network, model.dtype, rows, seed) if resumable else None
            model.histories.append(
                training.train(
                    network,
                    tokenizer,
                    *rows,
                    params=params,
                    objective=objective,
                    seed=seed,
                    checkpoint=checkpoint,
                    report=report,
                )
            )
        self.finish(model, tweets.iloc[parts[-1]], labels[parts[-1]])
        return model

    def finish(self, model: Any, tweets: pd.DataFrame, labels: np.ndarray) -> None:
        """Fit what else a model has, on the tweets that were held out."""

    def checkpoint(self, network: PeftModel, dtype: torch.dtype, rows: list[Dataset], seed: int) -> Path:
        """Where in the store the training of a network on these rows is kept: the name says all that determines it."""
        weights = hashlib.sha256()
        for name, tensor in network.state_dict().items():
            weights.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        aside = {"base_model", "device", "precision", "seeds", "test_rows", "train_rows"}
        determined_by = {
            "params": self.params.model_dump(exclude=aside),
            "computed": [network.device.type, str(dtype), processes().num_processes],
            "code": code.computing(f"pipeline.{self.family()}"),
            "weights": weights.hexdigest(),
            "config": network.config.to_json_string(),
            "rows": [hashlib.sha256(part.to_pandas().to_json().encode()).hexdigest() for part in rows],
            "seed": seed,
        }
        key = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()
        return store_folder() / "training" / f"{key}.pt"

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:
        return self.train(tweets, labels, seed)

    def sizes(self) -> tuple[int, int]:
        """Trainable parameters of a model, and all."""
        trainable, total = adapters.count_parameters(self.fresh()[0])
        return self.count * trainable, total + (self.count - 1) * trainable

    def parameters(self, model: FineTunedModel[Own]) -> int:
        return sum(adapters.count_parameters(network)[0] for network in model.networks)

    def save_and_reload(self, model: Any, folder: Path, probe: pd.DataFrame) -> Any:  # noqa: ARG002 - lora asks about it
        """Save a model, and return the one to score with; `probe` are tweets of both classes that it has learnt from."""
        model.save(folder)
        return model

    def watch(self, name: str) -> Callable[[str, History], None]:  # noqa: ARG002 - lora draws it
        """What is told how the training of each part goes."""
        return silent

    def forget(self) -> None:
        if self.frozen:
            self.frozen.known.clear()

    def here(self) -> dict[str, str]:
        device = choose_device(self.params.device)
        dtype = choose_dtype(self.params.precision, device)
        base_model = encoder.files_digest(self.params.base_model)
        return {"base_model": base_model, "device": device.type, "dtype": str(dtype)}

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
        watch = own.watch(name) if state.is_main_process else silent
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)

        def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[FineTunedModel[Any]]:
            models, chosen = [], first_rows(tweets, labels, params.train_rows)
            for seed in params.seeds:
                place = part(fold) + (f"/seed-{seed}" if len(params.seeds) > 1 else "")
                of_model = training_seed(seed, fold)
                model = own.train(*chosen, of_model, resumable=True, report=partial(watch, place))
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
