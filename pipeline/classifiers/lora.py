"""LoRA: a pre-trained encoder with low-rank adapters and a new head. Discriminative: p(label | text).

in:  data/prepared, and the base model of the preset
out: predictions/lora_<preset>.parquet, costs/lora_<preset>.json, training/lora_<preset>.csv, models/lora_<preset>/fold-<k>
run: dvc repro lora@minilm   (or python -m pipeline.classifiers.lora minilm)
"""

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from pydantic import Field
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from pipeline.classifiers.cross_fit import cross_fit, write_cross_fit
from pipeline.classifiers.encoder import (
    Device,
    Precision,
    choose_device,
    choose_dtype,
    load,
    predict_logits,
    tokenize,
    training_batches,
)
from pipeline.contracts import InputError, Params, read_params, read_prepared, run, written_whole


class LoraParams(Params):
    base_model: str
    """A hub id, a folder, or `package:NAME/PATH` for a model that a Python package carries."""
    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = Field(ge=0, lt=1)
    target_modules: str | list[str]
    """Names of the linear layers that get an adapter, or `all-linear`."""
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps in which the learning rate rises; it then falls linearly to 0."""
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    seed: int = Field(ge=0)
    device: Device
    precision: Precision


@dataclass
class LoraModel:
    """A fitted model, all that `predict` needs, and the mean loss of each step of its training."""

    network: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    params: LoraParams
    losses: list[float] = field(default_factory=list)


def with_adapters(params: LoraParams) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """The base model with fresh adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W x + alpha / rank · B A x."""
    base, tokenizer, whole = load(params.base_model)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=params.target_modules,
        exclude_modules=whole if params.target_modules == "all-linear" else None,
        modules_to_save=whole,
    )
    return get_peft_model(base, config), tokenizer


def fit(tweets: pd.DataFrame, labels: np.ndarray, params: LoraParams) -> LoraModel:
    """Minimise the cross-entropy of labels, shape (n,), by AdamW over the adapters and the head."""
    torch.manual_seed(params.seed)
    network, tokenizer = with_adapters(params)
    device = choose_device(params.device)
    dtype = choose_dtype(params.precision, device)
    network.to(device).train()
    rows = tokenize(tokenizer, tweets["text"].tolist(), params.max_tokens, labels.tolist())
    batches = training_batches(rows, tokenizer, params.batch_size, torch.Generator().manual_seed(params.seed))
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)
    steps = params.epochs * len(batches)
    schedule = get_linear_schedule_with_warmup(optimizer, int(params.warmup * steps), steps)
    losses: list[float] = []
    with tqdm(total=steps, desc="  training", unit="step", leave=False) as progress:
        for _ in range(params.epochs):
            for batch in batches:
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    loss = network(**batch.to(device)).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trainable, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(loss.item())
                if not np.isfinite(losses[-1]):
                    raise InputError(
                        f"training diverged at step {len(losses)}: lower learning_rate ({params.learning_rate})"
                    )
                progress.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
                progress.update()
    return LoraModel(network, tokenizer, params, losses)


def predict(model: LoraModel, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    scores = np.empty(len(tweets))
    rows = tokenize(model.tokenizer, tweets["text"].tolist(), model.params.max_tokens)
    dtype = choose_dtype(model.params.precision, model.network.device)
    with tqdm(total=len(tweets), desc="  predicting", unit="tweet", leave=False) as progress:
        for numbers, logits in predict_logits(model.network, rows, model.tokenizer, 4 * model.params.batch_size, dtype):
            scores[numbers] = logits.softmax(dim=1)[:, 1].numpy()
            progress.update(len(numbers))
    return scores


def save(model: LoraModel, folder: Path, probe: pd.DataFrame) -> LoraModel:
    """Write adapters and head as safetensors and return the model that is read back, adapters merged for speed.

    PEFT saves only the modules that it was told about; a forgotten head would show here as other scores for `probe`.
    """
    model.network.save_pretrained(folder)
    torch.manual_seed(model.params.seed + 1)  # a head that was not saved must not come back by the same chance
    base, _, _ = load(model.params.base_model)
    try:
        network = PeftModel.from_pretrained(base, folder).to(model.network.device)
    except KeyError as error:
        raise InputError(f"{folder}: {error} was not saved") from None
    reloaded = LoraModel(network, model.tokenizer, model.params)
    before, after = predict(model, probe), predict(reloaded, probe)
    if not np.isfinite(after).all() or not np.allclose(before, after, atol=1e-4):
        raise InputError(
            f"{folder}: scores differ by {np.abs(before - after).max():.2g} after reloading: not all of the model was saved"
        )
    return LoraModel(reloaded.network.merge_and_unload(), model.tokenizer, model.params, model.losses)


def count_parameters(network: PeftModel) -> tuple[int, int]:
    """Trainable parameters, and all; PEFT's frozen copies of the modules that it trains whole are no part of the model."""
    own = [(name, p) for name, p in network.named_parameters() if "original_module" not in name]
    return sum(p.numel() for _, p in own if p.requires_grad), sum(p.numel() for _, p in own)


def training_curve(losses: list[list[float]], every: int = 10) -> pd.DataFrame:
    """Mean training loss of each `every` steps, per fold."""
    curve = pd.concat([pd.DataFrame({"series": f"fold {k}", "loss": loss}) for k, loss in enumerate(losses)])
    curve["step"] = curve.index // every * every
    return curve.groupby(["series", "step"])["loss"].mean().reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a key of lora in params.yaml")
    preset = parser.parse_args().preset
    name = f"lora_{preset}"
    params = read_params(f"lora.{preset}", LoraParams)
    prepared = read_prepared()
    folder = Path("models") / name
    shutil.rmtree(folder, ignore_errors=True)

    def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> LoraModel:
        fitted = fit(tweets, labels, params.model_copy(update={"seed": params.seed + fold}))
        return save(fitted, folder / f"fold-{fold}", prepared.test.head(32))

    trainable, total = count_parameters(with_adapters(params)[0])
    fitted = cross_fit(name, prepared, fit_fold, predict, lambda model: model.losses)
    with written_whole(Path("training") / f"{name}.csv") as partial:
        training_curve(fitted.kept).to_csv(partial, index=False)
    write_cross_fit(name, "discriminative", prepared, fitted, trainable=trainable, total=total)


if __name__ == "__main__":
    run(main)
