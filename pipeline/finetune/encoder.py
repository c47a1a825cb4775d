"""Load an encoder (or a decoder) with a classification head, tokenize tweets, and iterate over them in batches.

A GGUF file, as llama.cpp reads it, is a base model too: transformers turns its quantised weights into full ones.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertweetTokenizer,
    DataCollatorWithPadding,
    GgufConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.utils import cached_file

from pipeline.contracts import InputError
from pipeline.finetune.params import Pooling
from pipeline.packaged import locate, unloadable


def load(
    base_model: str, dropout: float | None = None, pooling: Pooling = "first"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """A two-class model, its tokenizer, and the modules to be trained and saved whole: the head, and any pooler.

    A head or pooler that the checkpoint has no weights for starts at random, from torch's global seed.
    """
    model, tokenizer = pretrained(AutoModelForSequenceClassification, base_model, dropout, num_labels=2)
    if pooling == "mean":
        show_mean(model, base_model)
    whole = {
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    }
    poolers = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules() if name.endswith("pooler")}
    return model, tokenizer, sorted(whole | poolers)


def pretrained(
    kind: Any, base_model: str, dropout: float | None, **config_changes: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model of the `kind` (one of transformers' auto classes) and its tokenizer.

    `base_model` is a hub id, a folder, a GGUF file, or `package:NAME/PATH`; `dropout` replaces every rate that its config names.
    """
    path, how = source(base_model)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **how, **config_changes)
        set_dropout(config, dropout)
        tokenizer = load_tokenizer(path, config, **how)
        if how:  # full weights, whatever kernels there are for packed ones: adapters are trained on top of them
            how["quantization_config"] = GgufConfig(dequantize=True)
        else:
            how["use_safetensors"] = True
        how |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        model, loading = kind.from_pretrained(path, config=config, trust_remote_code=False, **how)
    except Exception as error:  # noqa: BLE001 - whatever is in files that anybody made
        raise unloadable(f"base_model {base_model}", error) from None
    missing = loading["missing_keys"] | {name for name, *_ in loading["mismatched_keys"]}
    if unfit := sorted(
        name for name in missing if name.startswith(f"{model.base_model_prefix}.") and "pooler" not in name
    ):
        raise InputError(
            f"base_model {base_model}: cannot be loaded: {len(unfit)} of its weights are missing or of another shape than its "
            f"config says, {unfit[0]} among them"
        )
    model.float()  # some checkpoints are stored in half precision; autocast decides what is computed in it
    return model, tokenizer


def transformer_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The stack of the model's layers and its name: every family calls it otherwise, but its length is in the config."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return name, module
    raise InputError(f"base_model: no stack of {model.config.num_hidden_layers} layers in a {type(model).__name__}")


def show_mean(model: PreTrainedModel, base_model: str) -> None:
    """Put the mean of a text's tokens where the head, or the pooler before it, looks: at the first one.

    Sentence encoders were trained by that mean, not by a first token (Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084).
    A last normalisation, which some families have above all layers, comes after it.
    """
    if type(model.config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise InputError(
            f"base_model {base_model}: pooling: mean is for encoders; a decoder's head reads the last token"
        )
    masks: list[torch.Tensor] = []

    def note(_: nn.Module, __: Any, named: dict[str, Any]) -> None:
        masks[:] = [named["attention_mask"]]

    def replace(_: nn.Module, __: Any, output: Any) -> Any:
        hidden, *others = output if isinstance(output, tuple) else (output,)
        mask = masks[0][..., None].to(hidden)
        mean = (hidden * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        shown = torch.cat([mean, hidden[:, 1:]], dim=1)
        return (shown, *others) if isinstance(output, tuple) else shown

    getattr(model, model.base_model_prefix).register_forward_pre_hook(note, with_kwargs=True)
    transformer_layers(model)[1][-1].register_forward_hook(replace)


def files_digest(base_model: str) -> str:
    """Hash of the files that a base model is read from: others may take their place. On the hub a commit stands for them."""
    path, found = Path(locate(base_model)), hashlib.sha256()
    try:
        if not path.exists():
            return Path(str(cached_file(base_model, "config.json"))).parent.name
        for file in [path] if path.is_file() else sorted(path.glob("[!.]*")):
            if file.is_file():
                with file.open("rb") as content:
                    found.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    except (OSError, ValueError) as error:
        raise unloadable(f"base_model {base_model}", error) from None
    return found.hexdigest()


def is_gguf(base_model: str) -> bool:
    """Whether it is a GGUF file, whose weights are rounded ones."""
    return base_model.endswith(".gguf")


def source(base_model: str) -> tuple[str, dict[str, Any]]:
    """Where transformers' `from_pretrained` finds the model, and what else it must be told to read a GGUF file there."""
    path = locate(base_model)
    if not is_gguf(path):
        return path, {}
    folder, _, name = path.rpartition("/")
    return folder or ".", {"gguf_file": name}


def set_dropout(config: PretrainedConfig, dropout: float | None) -> None:
    """Put `dropout`, if given, in the place of every dropout rate: the families have a dozen names for them."""
    for name, value in vars(config).items():
        a_rate = isinstance(value, int | float) and not isinstance(value, bool)
        if dropout is not None and ("dropout" in name or name.endswith("pdrop")) and a_rate:
            setattr(config, name, dropout)


def load_tokenizer(path: str, config: PretrainedConfig, **how: str) -> PreTrainedTokenizerBase:
    """The tokenizer, with a padding token (decoders have none) and, for BERTweet, its own normalisation of tweets."""
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **how)
    if isinstance(tokenizer, BertweetTokenizer):
        tokenizer.normalization = True
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    config.pad_token_id = tokenizer.pad_token_id  # a decoder's head looks for the last token that is not this one
    tokenizer.padding_side = "right"
    return tokenizer


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> int:
    """`max_tokens`, or as many as the model has positions for; RoBERTa's kin lose those up to the padding token's."""
    positions = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if name.endswith(("position_embeddings", "wpe")) and isinstance(module, nn.Embedding)
    ]
    return int(min(max_tokens, tokenizer.model_max_length, *positions))


def tokenize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tweets: pd.DataFrame,
    inputs: Sequence[str],
    max_tokens: int,
    labels: np.ndarray | None = None,
) -> datasets.Dataset:
    """Rows of what `model` reads, their `length`, and `labels` if given; the text is cut so that `max_tokens` are kept.

    With several `inputs` (columns of `tweets`) those before the last are joined by commas, as the first text of a pair.
    """
    *before, text = (tweets[name].fillna("").tolist() for name in inputs)
    longest = longest_input(model, tokenizer, max_tokens)
    if before:
        context = [", ".join(filter(None, values)) for values in zip(*before, strict=True)]
        encoded = tokenizer(context, text, truncation="longest_first", max_length=longest)
    else:
        encoded = tokenizer(text, truncation=True, max_length=longest)
    read = inspect.signature(model.forward).parameters
    columns = {name: values for name, values in encoded.items() if name in read}
    columns["length"] = [len(ids) for ids in encoded["input_ids"]]
    return datasets.Dataset.from_dict(columns | ({"labels": labels.tolist()} if labels is not None else {}))


def batches(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int, order: list[int]
) -> Iterator[tuple[dict[str, torch.Tensor], np.ndarray]]:
    """The rows of these numbers in padded batches, each with its row numbers."""
    collate = DataCollatorWithPadding(tokenizer)
    read = rows.remove_columns("length")
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        yield collate([read[number] for number in numbers]), np.array(numbers)


def shuffled(rows: datasets.Dataset, batch_size: int, generator: torch.Generator) -> list[int]:
    """Row numbers at random, those of similar length in the same batch: little padding."""
    return list(LengthGroupedSampler(batch_size, lengths=rows["length"][:], generator=generator))


def longest_first(rows: datasets.Dataset) -> list[int]:
    """Row numbers by falling length: batches without padding, and too little memory shows at once."""
    return sorted(range(len(rows)), key=rows["length"][:].__getitem__, reverse=True)
