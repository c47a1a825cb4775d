"""LoRA: a pre-trained encoder with low-rank adapters and a new head. Discriminative: p(label | text).

in:  data/prepared, and the base model of the preset
out: predictions/lora_<preset>.parquet, costs/lora_<preset>.json, training/lora_<preset>/, models/lora_<preset>/fold-<k>
run: dvc repro lora@minilm   (or python -m pipeline.stage finetune.lora minilm)

Started again after it was interrupted, it goes on from the last finished epoch, and ends with the same predictions.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from dvclive import Live
from peft import PeftModel
from sklearn.model_selection import GroupShuffleSplit
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError, near_duplicates, plain_name, read_params, read_prepared
from pipeline.device import choose_device, choose_dtype, or_auto, processes
from pipeline.finetune import adapters, checkpoints, encoder, training
from pipeline.finetune.frozen_layers import FrozenLayers
from pipeline.finetune.lora_params import LoraParams
from pipeline.finetune.several_seeds import Tuned, cross_fit_seeds, part_of_seed
from pipeline.finetune.training import Classification, History, Report, training_seed
from pipeline.fit.cross_fit import part
from pipeline.fit.subsets import first_rows
from pipeline.fit.written import write_cross_fit
from pipeline.places import results


@dataclass
class LoraModel:
    """A fitted model, all that `predict` needs, and what its training was like."""

    network: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    params: LoraParams
    frozen: FrozenLayers | None = None
    history: History = field(default_factory=History)

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


def frozen_part(params: LoraParams) -> FrozenLayers | None:
    """What can be shared by all models of one preset: the memory of the layers without adapters, if there are any."""
    if params.layers is None:
        return None
    model, _, _ = encoder.load(params.base_model)
    return FrozenLayers.below(model, params.layers)


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
    learnt, held_out = split(tweets, params.validation, seed)
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


def split(tweets: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and positions to validate on; near-duplicates stay together."""
    if not share:
        return np.arange(len(tweets)), np.arange(0)
    learnt, held_out = next(
        GroupShuffleSplit(1, test_size=share, random_state=seed).split(tweets, groups=tweets["group"])
    )
    return learnt, held_out


def checkpoint_path(model: LoraModel, rows: list[Dataset], seed: int) -> Path:
    """Where a training is kept: the name says all that determines it, so nothing else can pick it up."""
    return checkpoints.checkpoint_path(model.network, model.params, model.dtype, rows, seed, sys.modules[__name__])


def predict(model: LoraModel, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    rows, size, objective = model.rows(tweets), model.params.batch_size, Classification(model.dtype, model.frozen)
    logits = training.predict_outputs(model.network, model.tokenizer, rows, size, objective)
    return np.asarray(logits.softmax(dim=1)[:, 1].numpy(), dtype=np.float64)


def save(model: LoraModel, folder: Path, probe: pd.DataFrame) -> LoraModel:
    """Write adapters and head as safetensors and return the model that is read back, adapters merged for speed.

    PEFT saves only the modules that it was told about; a forgotten head would show here as other scores for `probe`, tweets of
    both classes that it has learnt from. A model that calls all of them the same has learnt nothing, and is refused.
    """
    if processes().is_main_process:
        adapters.in_order(model.network).save_pretrained(folder, save_embedding_layers=False)
    processes().wait_for_everyone()
    torch.manual_seed(0)  # a head that was not saved must not come back by the same chance
    network, _ = adapters.read(folder, model.params)
    reloaded = LoraModel(network.to(model.network.device), model.tokenizer, model.params, model.frozen, model.history)
    before, after = predict(model, probe), predict(reloaded, probe)
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


class Lora(Tuned):
    school = "discriminative"
    given: LoraParams

    @classmethod
    def read(cls, preset: str | None) -> Self:
        params = read_params(f"lora.{preset}", LoraParams)
        return cls(params, frozen_part(params), preset)

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> LoraModel:
        return fit(tweets, labels, self.given, seed=seed, frozen=self.frozen)

    def predict(self, model: LoraModel, tweets: pd.DataFrame) -> np.ndarray:
        return predict(model, tweets)

    def parameters(self, model: LoraModel) -> int:
        return adapters.count_parameters(model.network)[0]

    def save(self, model: LoraModel, folder: Path) -> None:
        model.network.save_pretrained(folder, save_embedding_layers=False)

    def load(self, folder: Path) -> LoraModel:
        return load(folder, self.given, self.frozen)


FAMILY = Lora


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=plain_name, help="a key of lora in params.yaml")
    preset = parser.parse_args().preset
    name = f"lora_{preset}"
    own, prepared = Lora.read(preset), read_prepared()
    params, frozen = read_params(f"lora.{preset}", LoraParams), own.frozen
    state = processes(params.device)
    trainable, total = adapters.count_parameters(adapters.with_adapters(params)[0])
    folder = results("models") / name
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    live = Live(str(results("training") / name), save_dvc_exp=False, dvcyaml=None) if state.is_main_process else None
    trainings: dict[str, History] = {}

    def fit_one(fold: int, seed: int, tweets: pd.DataFrame, labels: np.ndarray) -> LoraModel:
        """Read back from where it was saved."""
        place = part_of_seed(part(fold), seed, params)

        def report(history: History) -> None:
            trainings[place] = history
            for kind in ("loss", "accuracy"):
                if live and any(each.loss for each in trainings.values()):
                    live.log_plot(kind, curve(trainings, kind), x="step", y=kind)

        model = fit(
            tweets, labels, params, seed=training_seed(seed, fold), frozen=frozen, resumable=True, report=report
        )
        return save(model, folder / place, tweets.groupby(labels).head(50))

    fitted = cross_fit_seeds(name, prepared, fit_one, predict, lambda model: model.history.seconds, params)
    if state.is_main_process:
        write_cross_fit(
            name,
            own,
            prepared,
            fitted,
            trainable=trainable,
            total=total,
            alone=state.num_processes == 1,
        )
