"""From the competition's files to the best submission: the recipe into params.yaml, the main job, and what to expect of Kaggle.

Says beforehand how long it will take, from the arithmetic of fine-tuning and the speed at which this machine multiplies. Started
again after it was interrupted it goes on, as `make repro` does.

in:  data/kaggle (python -m pipeline.kaggle.download), or another folder with its two files; examples/kaggle.yaml
out: params.yaml, what the main job writes, submission/submission.csv ready for `python -m pipeline.kaggle.submit`
run: make kaggle   (or python -m pipeline.kaggle.best; with --quick, or make kaggle QUICK=1, a smaller recipe)
"""

import argparse
import json
import math
import subprocess
import sys
import timeit
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from pipeline.contracts import read_json, read_params, read_yaml, write_text
from pipeline.contracts.params import PARAMS
from pipeline.data.source import DataParams, read_source
from pipeline.device import choose_device, choose_dtype
from pipeline.finetune.encoder import files_digest, source
from pipeline.finetune.params import LoraParams
from pipeline.kaggle.record import noise
from pipeline.process import run
from pipeline.repro import SECONDS, spoken, stages

SHARE_OF_PEAK = 0.55
"""Of the speed of large products, about what training reaches: `python -m benchmarks.training` says it of a preset."""
CHARACTERS = 4.0
"""To a token, on average."""
OF_KIND = {
    "prepare": 3, "counts": 25, "embed": 40, "vectors": 12, "evaluate": 15, "calibration": 10, "blend": 8, "errors": 90,
    "explanations": 30, "submission": 10, "report": 8,
}  # fmt: skip
"""Seconds of a stage that is no fine-tuning, for the competition's tweets on two cores."""


def shape(params: LoraParams, tokens: float) -> tuple[float, int, int]:
    """Operations of a layer for a tweet, forward; how many layers have adapters; how many there are."""
    path, how = source(params.base_model)
    config = AutoConfig.from_pretrained(path, trust_remote_code=False, **how)
    width, inner, depth = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    gated = 3 if hasattr(config, "head_dim") else 2  # matrices of the feed-forward part: decoders of today have a gate
    return 2 * tokens * (4 * width**2 + gated * width * inner), min(params.layers or depth, depth), depth


def flop(params: LoraParams, train: int, test: int, folds: int, tokens: float) -> float:
    """Floating-point operations of a preset's products: 2 a weight and token forward, and as many for the inputs' gradients.

    Layers without adapters read each of the train and test rows once.
    """
    of_layer, tuned, depth = shape(params, tokens)
    learnt = min(params.train_rows or train, train * (folds - 1) // folds)
    passes = 2 * folds * params.epochs * learnt + train + folds * test
    return float(of_layer * (len(params.seeds) * tuned * passes + (depth - tuned) * (train + test)))


def speed(params: LoraParams, size: int = 2048) -> float:
    """FLOP/s of large products, on the device and in the dtype of a preset."""
    device = choose_device(params.device)
    dtype = choose_dtype(params.precision, device)
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    return float(2 * size**3 / min(timeit.repeat(lambda: (a @ b).sum().item(), number=1, repeat=5)))


def call(module: str, *arguments: str) -> None:
    """Run a command of the pipeline; ends with it if it fails, which has then said why."""
    if code := subprocess.run([sys.executable, "-m", f"pipeline.{module}", *arguments], check=False).returncode:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller recipe, which takes a fraction of the time")
    parser.add_argument("--source", default="data/kaggle", help="the folder or zip with train.csv and test.csv")
    parser.add_argument("changes", nargs="*", help="of the recipe, NAME=VALUE: lora.mpnet.base_model=FOLDER")
    given = parser.parse_args()
    recipe = f"examples/kaggle{'-quick' if given.quick else ''}.yaml"
    call("apply", recipe, f"data.source={given.source}", *given.changes)
    params: Any = read_yaml(PARAMS)
    presets = {name: read_params(f"lora.{name}", LoraParams) for name in params["classifiers"]["lora"]}
    for preset in presets.values():
        files_digest(preset.base_model)  # what is not there is said now
    train, test = read_source(read_params("data", DataParams))
    tokens = train["text"].str.len().mean() / CHARACTERS
    seconds: dict[str, float] = {stage: OF_KIND.get(stage.partition("@")[0], 0) for stage in stages([])}
    for name, preset in presets.items():
        needed = flop(preset, len(train), len(test), params["prepare"]["folds"], tokens)
        seconds[f"lora@{name}"] = needed / (SHARE_OF_PEAK * speed(preset))
    known: dict[str, float] = read_json(SECONDS) if SECONDS.is_file() else {}
    write_text(SECONDS, json.dumps(known | seconds, indent=2) + "\n")
    total = spoken(sum(seconds.values()))
    print(
        f"about {total} in all, less what has been done; Ctrl-C whenever you like: the same command goes on", flush=True
    )
    call("repro")
    print(outlook(read_json(Path("submission/choice.json"))["chosen"], len(test)))


def outlook(chosen: dict[str, Any], rows: int) -> str:
    """What to expect of the leaderboard, and the next step."""
    value, low, high = (chosen[f"expected_{end}"] for end in ("accuracy", "low", "high"))
    doubt = 0.0 if low is None else (high - low) / 2  # of a single group nothing is known
    chance = math.hypot(noise(value, max(1, rows)), doubt)
    return (
        f"expected public score: {value:.4f}, with 95 % between {value - chance:.4f} and {value + chance:.4f}; of new tweets "
        f"without near-duplicates among these, {chosen['accuracy']:.4f}\n"
        'next: .venv/bin/python -m pipeline.kaggle.submit --message "a message"'
    )


if __name__ == "__main__":
    run(main)
