"""Load an encoder, tokenize tweets, and iterate over them in batches of similar length, on whatever device there is."""

import warnings
from collections.abc import Iterator
from typing import Any, Literal

import datasets
import torch
import transformers
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from pipeline.contracts import InputError
from pipeline.packaged import locate

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "bf16", "fp32"]

# Their bars and reports would bury the stage's own; peft still reads a name that transformers has deprecated.
datasets.disable_progress_bars()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)


def choose_device(device: Device) -> torch.device:
    """The device asked for, or the best there is."""
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    if device != "cpu" and not getattr(torch, device).is_available():
        raise InputError(f"params.yaml: device: there is no {device} here; use auto or cpu")
    return torch.device(device)


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: bf16 where asked for, or, under `auto`, where the hardware multiplies it natively."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    native = {"cpu": cpu_multiplies_bf16, "cuda": torch.cuda.is_bf16_supported}.get(device.type, lambda: False)
    return torch.bfloat16 if native() else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bf16 matrix instructions (AVX-512 BF16, AMX, or Arm's BFMMLA)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def load(base_model: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """A two-class model, its tokenizer, and the modules to be trained and saved whole: the head, and any pooler.

    `base_model` is a hub id, a folder, or `package:NAME/PATH`. The head is what the checkpoint had no weights for; its
    random start comes from torch's global seed.
    """
    path = locate(base_model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model, info = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"base_model {base_model}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    model.float()  # some checkpoints are stored in half precision; autocast decides what is computed in it
    prefix = f"{model.base_model_prefix}."
    whole = {key.removeprefix(prefix).split(".")[0] for key in info["missing_keys"]}
    poolers = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules() if name.endswith("pooler")}
    return model, tokenizer, sorted(whole | poolers)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_tokens: int, labels: list[int] | None = None
) -> datasets.Dataset:
    """Rows of `input_ids`, `attention_mask`, `length` and, if given, `labels`; texts are cut at `max_tokens`."""
    rows = datasets.Dataset.from_dict({"text": texts} | ({"labels": labels} if labels is not None else {}))

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return dict(tokenizer(batch["text"], truncation=True, max_length=max_tokens, return_length=True))

    return rows.map(encode, batched=True, remove_columns="text")


def training_batches(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int, generator: torch.Generator
) -> "DataLoader[Any]":
    """Shuffled batches of similar length: most padding is saved, and an epoch still visits every row once."""
    sampler = LengthGroupedSampler(batch_size, lengths=rows["length"], generator=generator)
    return DataLoader(
        rows.remove_columns("length"), batch_size, sampler=sampler, collate_fn=DataCollatorWithPadding(tokenizer)
    )


@torch.inference_mode()
def predict_logits(
    model: PreTrainedModel,
    rows: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    dtype: torch.dtype,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Row numbers and their logits, shape (batch, 2), longest rows first."""
    order = sorted(range(len(rows)), key=rows["length"].__getitem__, reverse=True)
    loader = DataLoader(
        rows.remove_columns("length"), batch_size, sampler=order, collate_fn=DataCollatorWithPadding(tokenizer)
    )
    model.eval()
    for i, batch in enumerate(loader):
        with torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
            logits = model(**batch.to(model.device)).logits
        yield order[i * batch_size : (i + 1) * batch_size], logits.float().cpu()
