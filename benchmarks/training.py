"""Tweets per second of a lora preset against transformers' own Trainer and pipeline, side by side, and the machine's floor.

run: python -m benchmarks.training minilm      (after `dvc repro prepare`)

Same model, rank, batch size and tweets. The Trainer is as its documentation shows it: fp32, dropout as the model's config says,
and 0.1 before the adapters; padded to the longest of each batch, or to 128 tokens. The floor is the arithmetic that cannot be
left out, at the speed that this machine multiplies large matrices: 2 FLOP per weight and token forward, and as many for the
gradient of the layers' inputs (frozen weights need none). Padding, attention, adapters and all else count as overhead.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from pipeline.contracts import InputError, read_params, read_prepared
from pipeline.finetune import adapters, encoder, lora
from pipeline.finetune.params import LoraParams
from pipeline.process import run

WARM_UP = 4
"""Steps that are not counted: memory is claimed and kernels are chosen in them."""


def seconds_for(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peaks(size: int = 2048) -> dict[str, float]:
    """GFLOP/s (int8: integer operations) of square matrix products of each type on this machine's CPU."""
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, size, size).to(dtype)
        found[name] = 2e-9 * size**3 / seconds_for(lambda a=a, b=b: a @ b, 10)
    a, b = torch.randint(-128, 127, (2, size, size), dtype=torch.int8)
    found["int8"] = 2e-9 * size**3 / seconds_for(lambda: torch._int_mm(a, b), 5)
    return found


def forward_gflop(params: LoraParams, tokens: float) -> float:
    """Of one tweet of so many tokens, in the linear layers of the stack."""
    model, _, _ = encoder.load(params.base_model)
    _, layers = adapters.transformer_layers(model)
    weights = sum(module.weight.numel() for module in layers.modules() if isinstance(module, nn.Linear))
    return 2e-9 * weights * tokens


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())

    def steps_per_second(self) -> float:
        return (len(self.ends) - WARM_UP) / (self.ends[-1] - self.ends[WARM_UP - 1])


def trainer(params: LoraParams, tweets: pd.DataFrame, labels: np.ndarray, steps: int, padding: str | bool) -> float:
    """Steps a second of transformers' Trainer."""
    base, tokenizer, whole = encoder.load(params.base_model)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=0.1,
        target_modules="all-linear",
        exclude_modules=whole,
        modules_to_save=whole,
    )
    rows = encoder.tokenize(base, tokenizer, tweets, ["text"], 128, labels.astype(int)).remove_columns("length")
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=params.batch_size,
            max_steps=steps,
            learning_rate=params.learning_rate,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
        )
        Trainer(
            get_peft_model(base, config),
            arguments,
            DataCollatorWithPadding(tokenizer, padding=padding, max_length=128),
            rows,
            callbacks=[clock],
        ).train()
    return clock.steps_per_second()


def own(params: LoraParams, tweets: pd.DataFrame, labels: np.ndarray) -> tuple[float, lora.LoraModel]:
    """Steps a second of `lora.fit`, its frozen layers once (they serve all epochs, folds and seeds), and the model."""
    clock = Clock()
    seen = 0

    def report(history: lora.History) -> None:
        nonlocal seen
        clock.ends += [time.perf_counter()] * (len(history.loss) - seen)
        seen = len(history.loss)

    frozen = lora.Lora(params).frozen
    model = lora.fit(tweets, labels, params, frozen=frozen, report=report)
    counted = clock.ends[10:]  # reported every ten steps
    return len(counted) / (counted[-1] - clock.ends[9]), model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a key of lora in params.yaml")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    if given.steps < 30:
        raise InputError("--steps: at least 30, the first ten are not counted")
    preset = read_params(f"lora.{given.preset}", LoraParams).model_copy(update={"epochs": 1, "device": "cpu"})
    train = read_prepared().train
    tweets = train.sample(
        given.steps * preset.batch_size, random_state=0, replace=len(train) < given.steps * preset.batch_size
    )
    labels = tweets["target"].to_numpy(dtype=np.float64)
    everything = preset.model_copy(update={"layers": None})
    base, tokenizer, _ = encoder.load(preset.base_model)
    tokens = float(np.mean(encoder.tokenize(base, tokenizer, tweets, preset.inputs, preset.max_tokens)["length"][:]))
    forward = forward_gflop(preset, tokens)
    peak = peaks()
    print("peaks, GFLOP/s: " + ", ".join(f"{name} {value:.0f}" for name, value in peak.items()))
    print(f"a tweet: {tokens:.1f} tokens, {forward:.2f} GFLOP forward, as much again backward\n")

    steps = WARM_UP + 12
    speeds = {
        "Trainer, padded to 128": trainer(preset, tweets, labels, steps, "max_length"),
        "Trainer, padded by batch": trainer(preset, tweets, labels, steps, True),
    }
    speeds["lora, all layers"], model = own(everything, tweets, labels)
    speeds[f"lora, {given.preset}"] = own(preset, tweets, labels)[0] if preset.layers else speeds["lora, all layers"]
    table = pd.DataFrame({"tweets/s": pd.Series(speeds) * preset.batch_size})
    table["times padded to 128"] = table["tweets/s"] / table["tweets/s"].iloc[0]
    table["times padded by batch"] = table["tweets/s"] / table["tweets/s"].iloc[1]
    table["share of the bf16 peak"] = 2 * forward * table["tweets/s"] / peak["bf16"]
    if preset.layers:
        table.loc[f"lora, {given.preset}", "share of the bf16 peak"] = float("nan")  # it does less arithmetic
    print("Training\n\n" + table.to_markdown(floatfmt=".2f") + "\n")

    texts = tweets["text"].tolist()
    with tempfile.TemporaryDirectory() as folder:
        fitted = lora.save_and_reload(model, Path(folder) / "adapters", tweets.head(200))
        whole = PeftModel.from_pretrained(base, Path(folder) / "adapters").merge_and_unload()
        classify = transformers.pipeline(
            "text-classification", model=whole, tokenizer=tokenizer, device="cpu", trust_remote_code=False
        )
        classify(texts[:64], batch_size=32)
        speeds = {"pipeline, batches of 32": len(texts) / seconds_for(lambda: classify(texts, batch_size=32), 1)}
    fitted.predict(tweets.head(64))
    speeds["lora"] = len(texts) / seconds_for(lambda: fitted.predict(tweets), 2)
    table = pd.DataFrame({"tweets/s": speeds})
    table["times"] = table["tweets/s"] / table["tweets/s"].iloc[0]
    table["share of the bf16 peak"] = forward * table["tweets/s"] / peak["bf16"]
    print("Prediction\n\n" + table.to_markdown(floatfmt=".2f"))


if __name__ == "__main__":
    run(main)
