"""Small, randomly initialised models of every architecture, with a tokenizer, in a folder: what a hub would give."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from conftest import ROOT
from transformers import AutoModel, AutoTokenizer

from pipeline.contracts import Prepared, read_params
from pipeline.finetune import training
from pipeline.finetune.params import LoraParams
from pipeline.packaged import locate

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SHAPE = SIZES | {"initializer_range": 0.1}
FAMILIES = {
    "bert": transformers.BertConfig(**SHAPE),
    "roberta": transformers.RobertaConfig(**SHAPE),
    "bertweet": transformers.RobertaConfig(**SHAPE, max_position_embeddings=130),
    "deberta-v3": transformers.DebertaV2Config(
        **SHAPE,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        max_relative_positions=-1,
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_size=32,
    ),
    "mpnet": transformers.MPNetConfig(**SHAPE),
    "modernbert": transformers.ModernBertConfig(**SHAPE, global_attn_every_n_layers=2),
    "electra": transformers.ElectraConfig(**SHAPE, embedding_size=16),
    "distilbert": transformers.DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, initializer_range=0.1),
    "gpt2": transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, initializer_range=0.1),
    "llama": transformers.LlamaConfig(**SHAPE),
}


def write_bertweet_vocabulary(folder: Path) -> None:
    """Single characters, and no merges."""
    characters = [chr(code) for code in range(33, 127)]
    (folder / "vocab.txt").write_text("".join(f"{c}{end} 1\n" for c in characters for end in ("@@", "")))
    (folder / "bpe.codes").write_text("")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertweetTokenizer"}))


def make_tiny(family: str, folder: Path) -> LoraParams:
    """Params with a small, randomly initialised model of one architecture, without a head, in a folder."""
    config, default = FAMILIES[family], read_params("lora.minilm", LoraParams, ROOT / "params.yaml")
    if family == "bertweet":
        write_bertweet_vocabulary(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=False)
    else:
        tokenizer = AutoTokenizer.from_pretrained(locate(default.base_model))
        if family in {"gpt2", "llama"}:  # they have no token to pad with
            tokenizer.eos_token, tokenizer.pad_token = tokenizer.sep_token, None
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    small = {"batch_size": 10, "hidden_dropout": 0.0, "layers": None, "learning_rate": 1e-2, "epochs": 5}
    return default.model_copy(update={**small, "base_model": str(folder), "device": "cpu", "precision": "fp32"})


def killed_at(monkeypatch: pytest.MonkeyPatch, *places: int) -> list[int]:
    """Trainings end as by Ctrl-C in these steps, counted from 1 over all of them; an item for each step that was begun."""
    step, steps = training.step, list[int]()

    def killed(*arguments: object) -> None:
        steps.append(1)
        if len(steps) in places:
            raise KeyboardInterrupt
        step(*arguments)

    monkeypatch.setattr(training, "step", killed)
    return steps


def some(sample: Prepared, count: int = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """So many tweets of each class, no two near-duplicates, and their labels."""
    distinct = sample.train.drop_duplicates("group", keep=False)
    rows = pd.concat([distinct[distinct["target"] == label].head(count) for label in (0, 1)])
    return rows, rows["target"].to_numpy()
