"""A released lora model for serving without torch: ONNX with int8 weights, and what that costs in accuracy.

in:  release/lora_<preset>, data/prepared, models/lora_<preset>, predictions/lora_<preset>.parquet, params.yaml
out: release/lora_<preset>/onnx/model_int8.onnx
run: python -m tools.export_onnx minilm      (after `python -m tools.release minilm ...`)

The loss is measured out-of-fold: each fold's model is exported in the same way, and scores the rows that it has not seen.
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError, plain_name, read_params, read_predictions, read_prepared, written_whole
from pipeline.finetune import adapters, encoder
from pipeline.finetune.params import LoraParams
from pipeline.fit.cross_fit import part
from pipeline.process import run


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, params: LoraParams, path: Path) -> None:
    """Write the model to `path`, its matrices in int8 and its activations quantised as they come.

    It takes any number of rows of up to `max_tokens`.
    """
    tweets = pd.DataFrame({name: ["Houses burned down", "a longer one, of other words"] for name in params.inputs})
    rows = encoder.tokenize(model, tokenizer, tweets, params.inputs, params.max_tokens)
    batch, _ = next(encoder.batches(rows, tokenizer, 2, [0, 1]))
    longest = encoder.longest_input(model, tokenizer, params.max_tokens)
    sizes = {0: torch.export.Dim("rows"), 1: torch.export.Dim("tokens", max=longest)}
    model.eval().config.return_dict = True
    with tempfile.TemporaryDirectory() as folder, written_whole(path) as partial:
        whole = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            kwargs=dict(batch),
            f=str(whole),
            input_names=list(batch),
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(batch, sizes),
            dynamo=True,
            verbose=False,
        )
        quantize_dynamic(str(whole), str(partial), weight_type=QuantType.QInt8)


def predict(
    path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, params: LoraParams, tweets: pd.DataFrame
) -> np.ndarray:
    """P(target = 1) of each tweet by the exported model, shape (n,)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = encoder.tokenize(model, tokenizer, tweets, params.inputs, params.max_tokens)
    scores = np.empty(len(rows))
    for batch, numbers in encoder.batches(rows, tokenizer, params.batch_size, encoder.longest_first(rows)):
        (logits,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in batch.items()})
        scores[numbers] = softmax(logits, axis=1)[:, 1]
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=plain_name, help="a key of lora in params.yaml")
    parser.add_argument("--folds", type=int, default=1, help="how many folds the loss is measured on")
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # the exporter tells of everything that it skips
    warnings.simplefilter("ignore", UserWarning)
    name, params, prepared = f"lora_{given.preset}", read_params(f"lora.{given.preset}", LoraParams), read_prepared()
    if len(params.seeds) > 1 or given.folds > prepared.train["fold"].nunique():
        raise InputError("one seed, and no more folds than there are, can be compared")
    released = Path("release") / name
    if not (released / "config.json").is_file():
        raise InputError(f"{released}: no model there; run `python -m tools.release {given.preset}` first")
    out_of_fold = read_predictions(Path("predictions") / f"{name}.parquet", prepared).train["score"].to_numpy()
    targets, found = prepared.train["target"].to_numpy(), np.full(len(out_of_fold), np.nan)
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(given.folds):
            network, tokenizer = adapters.read(Path("models") / name / part(fold), params)
            model = network.merge_and_unload()
            path = Path(folder) / f"{fold}.onnx"
            export(model, tokenizer, params, path)
            held_out = (prepared.train["fold"] == fold).to_numpy()
            start = time.perf_counter()
            found[held_out] = predict(path, model, tokenizer, params, prepared.train[held_out])
            seconds += time.perf_counter() - start
    model = AutoModelForSequenceClassification.from_pretrained(released, trust_remote_code=False, use_safetensors=True)
    path = released / "onnx" / "model_int8.onnx"
    export(model, AutoTokenizer.from_pretrained(released, trust_remote_code=False), params, path)

    read = ~np.isnan(found)
    before, after = (((scores[read] > 0.5) == targets[read]).mean() for scores in (out_of_fold, found))
    same = ((out_of_fold > 0.5) == (found > 0.5))[read].mean()
    print(
        f"{path}: {path.stat().st_size / 1e6:.0f} MB. Out-of-fold on {read.sum():,} rows: accuracy {before:.4f}, in int8 "
        f"{after:.4f}; {same:.1%} decided the same; {read.sum() / seconds:.0f} tweets/s."
    )


if __name__ == "__main__":
    run(main)
