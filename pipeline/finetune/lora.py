"""LoRA: a pre-trained encoder with low-rank adapters and a new head. Discriminative: p(label | text).

in:  data/prepared, and the base model of the preset
out: predictions/lora_<preset>.parquet, costs/lora_<preset>.json, training/lora_<preset>/, models/lora_<preset>/fold-<k>
run: dvc repro lora@minilm   (or python -m pipeline.stage finetune.lora minilm)

Started again after it was interrupted, it goes on from the last finished epoch, and ends with the same predictions.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from dvclive import Live
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError, near_duplicates, read_params
from pipeline.device import choose_device, choose_dtype, or_auto, processes
from pipeline.finetune import adapters, checkpoints, encoder, training
from pipeline.finetune.fine_tuned import FineTuned, FineTunedModel
from pipeline.finetune.frozen_layers import FrozenLayers
from pipeline.finetune.params import LoraParams
from pipeline.finetune.training import Classification, History, Network, Report
from pipeline.fit.subsets import first_rows, split_by_group
from pipeline.places import results


@dataclass
class LoraModel(FineTunedModel):
    network: Network
    tokenizer: PreTrainedTokenizerBase
    params: LoraParams
    frozen: FrozenLayers | None = None
    history: History = field(default_factory=History)

    @property
    def seconds(self) -> float:
        return self.history.seconds

    @property
    def trainable(self) -> int:
        return adapters.count_parameters(self.network)[0]

    @property
    def dtype(self) -> torch.dtype:
        """What matrices are multiplied in."""
        return choose_dtype(self.params.precision, self.network.device)

    def rows(self, tweets: pd.DataFrame, labels: np.ndarray | None = None) -> Dataset:
        """The tweets as the network reads them; its frozen layers have then seen them."""
        base = self.network.get_base_model() if isinstance(self.network, PeftModel) else self.network
        rows = encoder.tokenize(base, self.tokenizer, tweets, self.params.inputs, self.params.max_tokens, labels)
        if self.frozen is not None:
            batches = encoder.batches(rows, self.tokenizer, self.params.batch_size, encoder.longest_first(rows))
            self.frozen.stand_in(base, (batch for batch, _ in batches), self.dtype)
        return rows

    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        rows, size, objective = self.rows(tweets), self.params.batch_size, Classification(self.dtype, self.frozen)
        logits = training.predict_outputs(self.network, self.tokenizer, rows, size, objective)
        return np.asarray(logits.softmax(dim=1)[:, 1].numpy(), dtype=np.float64)

    def save(self, folder: Path) -> None:
        adapters.in_order(self.network).save_pretrained(folder, save_embedding_layers=False)


def fit(
    tweets: pd.DataFrame,
    labels: np.ndarray,
    params: LoraParams,
    *,
    seed: int = 0,
    frozen: FrozenLayers | None = None,
    resumable: bool = False,
    report: Report = lambda _: None,
) -> LoraModel:
    """Fit the labels, shape (n,), of `train_rows` of the tweets by AdamW over the adapters and the head.

    `frozen` is shared between calls; `resumable` keeps each epoch in the store, and goes on from there.
    """
    tweets, labels = first_rows(tweets, labels, params.train_rows)
    torch.manual_seed(seed)
    network, tokenizer = adapters.with_adapters(params)
    network.to(choose_device(params.device))
    model = LoraModel(network, tokenizer, params, frozen)
    adapters.make_fast(network, model.dtype)
    targets = group_means(tweets, labels) if params.soft_labels else labels.astype(np.float64)
    learnt, held_out = np.arange(len(tweets)), np.arange(0)
    if params.validation:
        learnt, held_out = split_by_group(tweets, labels, params.validation, seed)
    rows = model.rows(tweets.iloc[learnt], targets[learnt])
    validation = model.rows(tweets.iloc[held_out], labels[held_out].astype(np.float64)) if len(held_out) else None
    checkpoint = checkpoint_path(model, [rows, *([validation] if validation else [])], seed) if resumable else None
    weights = training.class_weights(np.array(rows["labels"][:]), params.class_weights)
    objective = Classification(model.dtype, frozen, weights, params.label_smoothing)
    model.history = training.train(
        network, tokenizer, rows, validation, params, objective, seed=seed, checkpoint=checkpoint, report=report
    )
    return model


def group_means(tweets: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """The mean label of each row's near-duplicates among these, shape (n,)."""
    return (
        pd.Series(labels, near_duplicates(tweets).to_numpy())
        .groupby(level=0)
        .transform("mean")
        .to_numpy(dtype=np.float64)
    )


def checkpoint_path(model: LoraModel, rows: list[Dataset], seed: int) -> Path:
    return checkpoints.checkpoint_path(model.network, model.params, model.dtype, rows, seed, sys.modules[__name__])


def save_and_reload(model: LoraModel, folder: Path, probe: pd.DataFrame) -> LoraModel:
    """Write adapters and head as safetensors and return the model that is read back, adapters merged for speed.

    PEFT saves only the modules that it was told about; a forgotten head would show here as other scores for `probe`, tweets of
    both classes that it has learnt from. A model that calls all of them the same has learnt nothing, and is refused.
    """
    if processes().is_main_process:
        model.save(folder)
    processes().wait_for_everyone()
    torch.manual_seed(0)  # a head that was not saved must not come back by the same chance
    network, _ = adapters.read(folder, model.params)
    reloaded = LoraModel(network.to(model.network.device), model.tokenizer, model.params, model.frozen, model.history)
    before, after = model.predict(probe), reloaded.predict(probe)
    if not np.isfinite(before).all():
        raise InputError(f"{folder}: training diverged: a score is not a number; lower learning_rate")
    # dora's norms are computed from the stored weights, which have been rounded before saving but not after
    tolerance = 1e-4 if model.dtype == torch.float32 or model.params.variant != "dora" else 0.05
    if not np.allclose(before, after, atol=tolerance):
        raise InputError(
            f"{folder}: scores differ by {np.abs(before - after).max():.2g} after reloading: not all of the model was saved"
        )
    if len(set(after > 0.5)) == 1:
        raise InputError(
            f"{folder}: the model calls all of {len(probe)} tweets {int(after[0] > 0.5)}: training collapsed, or was too "
            f"short; change learning_rate ({model.params.learning_rate:g}) or epochs ({model.params.epochs})"
        )
    network.merge_adapter()
    adapters.store_in(network, model.dtype)
    return reloaded


def load(folder: Path, params: LoraParams, frozen: FrozenLayers | None = None) -> LoraModel:
    """What `save` wrote, as it was returned there."""
    network, tokenizer = adapters.read(folder, params)
    network.merge_adapter()
    model = LoraModel(network.to(choose_device(or_auto(params.device))), tokenizer, params, frozen)
    adapters.store_in(network, model.dtype)
    return model


def curve(trainings: dict[str, History], kind: str, every: int = 10) -> pd.DataFrame:
    """The mean of each `every` steps of one kind of record, one series a training."""
    joined = pd.concat(
        pd.DataFrame({"series": name, kind: getattr(each, kind)}) for name, each in trainings.items() if each.loss
    )
    joined["step"] = joined.index // every * every
    return joined.groupby(["series", "step"])[kind].mean().reset_index()


class Lora(FineTuned[LoraParams]):
    school = "discriminative"
    explained = True

    @classmethod
    def read(cls, preset: str | None) -> Self:
        return cls(read_params(f"lora.{preset}", LoraParams), preset)

    def base(self) -> PreTrainedModel:
        return encoder.load(self.params.base_model)[0]

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> LoraModel:
        return fit(tweets, labels, self.given, seed=seed, frozen=self.frozen)

    def fit_resumable(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int, report: Report) -> LoraModel:
        return fit(tweets, labels, self.params, seed=seed, frozen=self.frozen, resumable=True, report=report)

    def sizes(self) -> tuple[int, int]:
        return adapters.count_parameters(adapters.with_adapters(self.params)[0])

    def save_and_reload(self, model: LoraModel, folder: Path, probe: pd.DataFrame) -> LoraModel:
        return save_and_reload(model, folder, probe)

    def load(self, folder: Path) -> LoraModel:
        return load(folder, self.given, self.frozen)

    def watch(self, name: str) -> Callable[[str, History], None]:
        """Draws loss and accuracy of all trainings into `training/<name>`."""
        live = Live(str(results("training") / name), save_dvc_exp=False, dvcyaml=None)
        trainings: dict[str, History] = {}

        def draw(part: str, history: History) -> None:
            trainings[part] = history
            for kind in ("loss", "accuracy"):
                if any(each.loss for each in trainings.values()):
                    live.log_plot(kind, curve(trainings, kind), x="step", y=kind)

        return draw


FAMILY = Lora
