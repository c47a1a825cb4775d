"""An encoder with a classification head written as ONNX, in fp32 and in int8, as `onnx_encoder` reads it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError
from pipeline.distil.onnx_encoder import INPUTS, NETWORK, WORDS, OnnxEncoder, Reads, write_reads
from pipeline.finetune.encoder import longest_input

BLOCK = 128
"""Numbers of a row that share a scale, of the weights and of what they are multiplied with."""
LARGE = 400_000
"""Numbers of a table from which on it is rounded, too: that of the words is most of a small model."""
PROBE = ["Houses burned down", "a longer one, of quite other words, http and @user", "so"]


@contextmanager
def quietly() -> Iterator[None]:
    """Without what exporters tell of every step."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def fused(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> onnx.ModelProto:
    """The network as a graph for any number of rows and tokens, in which attention, GELU and normalisation are one node each.

    By the exporter that traces: what onnxruntime joins are the patterns that this one writes.
    """
    model.set_attn_implementation("eager")
    with TemporaryDirectory() as folder, quietly(), torch.no_grad():
        path = str(Path(folder) / NETWORK)
        torch.onnx.export(
            model,
            (dict(batch),),
            path,
            input_names=list(batch),
            output_names=["logits"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in batch} | {"logits": {0: "rows"}},
            opset_version=17,
            dynamo=False,
        )
        options = FusionOptions("bert")
        options.use_multi_head_attention = True  # its matrices are products of their own, which can be rounded
        options.enable_embed_layer_norm = False
        heads, width = model.config.num_attention_heads, model.config.hidden_size
        joined = optimizer.optimize_model(
            path, "bert", num_heads=heads, hidden_size=width, opt_level=0, optimization_options=options
        )
    found: onnx.ModelProto = joined.model
    return found


def rounded(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same with weights of 8 bits, and products of 8 bits where the CPU has them.

    Each block of a row has a scale of its own, of the activations, too, as they come: a text's score depends on no other text,
    and no calibration is needed. One scale for all activations costs most of a point of accuracy (docs/tried.md).
    """
    quantizer = MatMulNBitsQuantizer(
        network, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
    )
    with quietly():
        quantizer.process()
    graph = quantizer.model.model.graph
    tables = {each.name: each for each in graph.initializer if np.prod(each.dims) > LARGE and each.data_type == 1}
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            nodes.append(node)
            continue
        name, numbers = node.input
        if table := tables.pop(name):
            rows = numpy_helper.to_array(table)
            scale = np.abs(rows).max(axis=1, keepdims=True) / 127 + np.finfo(np.float32).tiny
            graph.initializer.remove(table)
            eighths = np.rint(rows / scale).astype(np.int8)
            graph.initializer.extend(
                [numpy_helper.from_array(eighths, name), numpy_helper.from_array(scale, f"{name}_scale")]
            )
        nodes += [
            helper.make_node("Gather", [name, numbers], [f"{name}_row"]),
            helper.make_node("Cast", [f"{name}_row"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}_scale", numbers], [f"{name}_row_scale"]),
            helper.make_node("Mul", [f"{name}_float", f"{name}_row_scale"], list(node.output)),
        ]
    graph.ClearField("node")
    graph.node.extend(nodes)
    made: onnx.ModelProto = quantizer.model.model
    return made


def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int, labels: list[str], folder: Path
) -> None:
    """Write `fp32/` and `int8/` into a folder; refused if the first does not score as the model does."""
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise InputError("the base model's tokenizer is none that `tokenizers` reads; take another")
    batch = tokenizer(PROBE, return_tensors="pt", padding=True)
    batch = {name: batch[name] for name in INPUTS}
    with torch.no_grad():
        logits = model(**batch).logits
    reads = Reads(longest=longest_input(model, tokenizer, max_tokens), padding=tokenizer.pad_token_id, labels=labels)
    network = fused(model, batch)
    for name in ("fp32", "int8"):
        own = folder / name
        own.mkdir(parents=True)
        onnx.save(network if name == "fp32" else rounded(network), own / NETWORK)
        tokenizer.backend_tokenizer.save(str(own / WORDS))
        write_reads(own, reads)
    apart = np.abs(OnnxEncoder.open(folder / "fp32").log_odds(PROBE) - (logits[:, 1] - logits[:, 0]).numpy()).max()
    if apart > 1e-3:
        raise InputError(f"the exported network's log-odds differ by {apart:.2g} from those of the model")
