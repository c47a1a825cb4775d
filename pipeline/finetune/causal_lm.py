"""How probable a causal language model makes a tweet after a label's name: log p(tweet | label), token by token.

A row of tokens is `start of text, "label:", " tweet", end of text`. What comes before the tweet is given, the rest is counted.
Label and tweet are tokenized apart, so that both labels are followed by the same tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError
from pipeline.device import computing
from pipeline.finetune import encoder
from pipeline.finetune.frozen_layers import Batch, FrozenLayers


def load(base_model: str, dropout: float | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer; all else is as for an encoder."""
    model, tokenizer = encoder.pretrained(AutoModelForCausalLM, base_model, dropout)
    if tokenizer.eos_token_id is None:
        raise InputError(f"base_model {base_model}: its tokenizer has no end of text, so no tweet would ever end")
    if reads_ahead(model):
        raise InputError(
            f"base_model {base_model}: it reads ahead, so it gives no p(tweet); name a causal language model"
        )
    model.config.use_cache = False  # nothing is generated
    return model, tokenizer


@torch.no_grad()
def reads_ahead(model: PreTrainedModel) -> bool:
    """Whether what comes later changes what is said about a token: transformers loads BERT as a language model too."""
    logits = model.eval()(torch.tensor([[5, 6, 7], [5, 6, 8]])).logits
    return not torch.allclose(logits[0, :2], logits[1, :2], atol=1e-3)


def label_prefixes(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """The tokens that announce a tweet of each class, after the start of text, if the tokenizer has one."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [[*start, *tokenizer(f"{label}:", add_special_tokens=False)["input_ids"]] for label in labels]


def tokenize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tweets: pd.DataFrame,
    prefixes: list[list[int]],
    max_tokens: int,
    labels: np.ndarray | None = None,
) -> datasets.Dataset:
    """Rows of the tweets' own tokens and an end of text, their `length`, and `labels` if given.

    The text is cut so that `max_tokens` are kept with the longer prefix and the end of text.
    """
    room = encoder.longest_input(model, tokenizer, max_tokens) - max(map(len, prefixes)) - 1
    texts = [f" {text}" for text in tweets["text"]]
    read = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    tokens = [[*ids[:room], tokenizer.eos_token_id] for ids in read]
    columns: dict[str, list[object]] = {
        "input_ids": list(tokens),
        "attention_mask": [[1] * len(ids) for ids in tokens],  # the end of text may be what is padded with, too
        "length": [len(ids) for ids in tokens],
    }
    return datasets.Dataset.from_dict(columns | ({"labels": labels.tolist()} if labels is not None else {}))


def announced(batch: Batch, prefixes: list[list[int]], classes: torch.Tensor) -> Batch:
    """The batch's rows, each after the prefixes of its `classes`, shape (rows, k): what the model reads, rows × k of them.

    The padding stays on the right, so that a row is at the same positions whatever stands beside it.
    """
    tokens, mask = batch["input_ids"], batch["attention_mask"]
    width = max(map(len, prefixes)) + tokens.shape[1]
    both: dict[str, list[torch.Tensor]] = {"input_ids": [], "attention_mask": []}
    for prefix in prefixes:
        before = tokens.new_tensor(prefix).expand(len(tokens), -1)
        for name, parts in (("input_ids", (before, tokens)), ("attention_mask", (torch.ones_like(before), mask))):
            row = torch.cat(parts, dim=1)
            both[name].append(nn.functional.pad(row, (0, width - row.shape[1])))
    rows = torch.arange(len(tokens), device=tokens.device)[:, None]
    return {name: torch.stack(parts, dim=1)[rows, classes].flatten(0, 1) for name, parts in both.items()}


def logits_at(network: PeftModel, inputs: Batch, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What the model says after these places of these rows, shape (places, vocabulary).

    The head, a fifth of a small model's work and most of its memory, sees no padding and no prefix.
    """

    def gather(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (given[0][rows, places],)

    hook = network.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        return torch.as_tensor(network(**inputs).logits)
    finally:
        hook.remove()


def every_prefix(batch: Batch, prefixes: list[list[int]]) -> torch.Tensor:
    """For each row of the batch the numbers of all prefixes, shape (rows, prefixes)."""
    return torch.arange(len(prefixes)).expand(len(batch["input_ids"]), -1)


@dataclass(frozen=True)
class Likelihoods:
    """An `Objective` whose outputs are log p(tweet | prefix), shape (n, prefixes)."""

    prefixes: list[list[int]]
    """Of class 0 and of class 1; or one, of a network that knows one class only."""
    prior: float
    """log p(1) / p(0)."""
    discriminative: bool
    dtype: torch.dtype
    frozen: FrozenLayers | None = None

    @property
    def width(self) -> int:
        return len(self.prefixes)

    def outputs(self, network: PeftModel, batch: Batch) -> torch.Tensor:
        return self.of(network, batch, every_prefix(batch, self.prefixes))

    def of(self, network: PeftModel, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        """log p(tweet | class) of the batch's rows for each of their `classes`, shape (rows, k), all in one pass."""
        classes = classes.to(network.device)
        inputs = announced(batch, self.prefixes, classes)
        if self.frozen is not None:
            self.frozen.recall(inputs)
        tokens, mask = (
            batch[name].repeat_interleave(classes.shape[1], dim=0) for name in ("input_ids", "attention_mask")
        )
        rows, places = mask.nonzero(as_tuple=True)
        before = tokens.new_tensor([len(prefix) - 1 for prefix in self.prefixes])[classes].flatten()
        with computing(network.device, self.dtype):
            logits = logits_at(network, inputs, rows, before[rows] + places)
        log_p = -nn.functional.cross_entropy(logits.float(), tokens[rows, places], reduction="none")
        by_token = log_p.new_zeros(mask.shape).masked_scatter(mask.bool(), log_p)
        return by_token.sum(dim=1).view(classes.shape)

    def own(self, labels: torch.Tensor) -> torch.Tensor:
        """The number of each label's prefix, shape (n, 1)."""
        return labels.long()[:, None].clamp(max=len(self.prefixes) - 1)

    def log_odds(self, outputs: torch.Tensor) -> torch.Tensor:
        """log p(1 | tweet) / p(0 | tweet) by Bayes' rule, shape (n,)."""
        return outputs[:, 1] - outputs[:, 0] + self.prior

    def loss(self, network: PeftModel, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The generative one needs the tweet under its own label only, and so knows of no tweet whether it is told right."""
        if not self.discriminative:
            return -self.of(network, batch, self.own(labels)).sum(), torch.tensor(torch.nan)
        log_odds = self.log_odds(self.outputs(network, batch))
        loss = nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds), reduction="sum")
        return loss, ((log_odds > 0) == (labels > 0.5)).sum()

    def held_out(self, outputs: torch.Tensor, labels: torch.Tensor) -> float:
        if not self.discriminative:
            return -outputs.gather(1, self.own(labels)).mean().item()
        log_odds = self.log_odds(outputs)
        return nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds)).item()
