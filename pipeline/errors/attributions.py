"""What a lora model reads in a tweet: integrated gradients of its log-odds over the word embeddings.

Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365): the gradient is averaged on the way from a tweet of which every word
is masked to the tweet itself. The attributions sum to the difference of the two in log-odds (completeness), which is checked.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError, read_params
from pipeline.errors.words import Explained, credited
from pipeline.finetune import adapters, encoder
from pipeline.finetune.params import LoraParams
from pipeline.fit.model_store import seeds_in

TOLERANCE = 0.02
"""Largest error of the sum, in log-odds: half a point of a score at most."""
DOUBLINGS = 4
BATCH = 32


def load(params: LoraParams, folder: Path) -> list[tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
    """The models that the stage lora saved for a fold, one a seed, with adapters merged, in float32 on the CPU."""
    models = []
    for path in seeds_in(folder) or [folder]:
        network, tokenizer = adapters.read(path, params)
        if params.variant not in {"loha", "lokr"}:  # peft cannot merge these beside a trained head
            network = network.merge_and_unload()
        models.append((network, tokenizer))
    return models


def tokenized(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, params: LoraParams, tweet: pd.DataFrame
) -> tuple[dict[str, torch.Tensor], Any, list[str]]:
    """One tweet as the model read it when it scored it, the encoding with its places, and the text or texts."""
    *before, text = (tweet[name].fillna("").iloc[0] for name in params.inputs)
    texts = [", ".join(filter(None, before)), text] if before else [text]
    rows = encoder.tokenize(model, tokenizer, tweet, params.inputs, params.max_tokens)
    read = {name: torch.tensor(rows[name][:]) for name in rows.column_names if name != "length"}
    encoded = tokenizer(
        *texts,
        truncation="longest_first",
        max_length=encoder.longest_input(model, tokenizer, params.max_tokens),
        return_offsets_mapping=tokenizer.is_fast,
        return_special_tokens_mask=True,
    )
    return read, encoded, texts


def explain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    params: LoraParams,
    tweet: pd.DataFrame,
    steps: int,
) -> Explained:
    """The log-odds of one tweet, a frame of one row, as a sum over its words; more steps are taken until the sum is right.

    The base is the model's log-odds for the tweet with each of its tokens masked. A tokenizer that cannot say where in the text a
    token came from (BERTweet's) is shown by its tokens.
    """
    read, encoded, texts = tokenized(model, tokenizer, params, tweet)
    ids = read.pop("input_ids")
    special = torch.tensor(encoded["special_tokens_mask"], dtype=torch.bool)
    masks = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    baseline = torch.where(special, ids, next(mask for mask in masks if mask is not None))

    def log_odds(ids: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=ids, **dict(zip(read, others, strict=True))).logits
        return torch.as_tensor(logits[:, 1] - logits[:, 0])

    gradients = LayerIntegratedGradients(log_odds, model.get_input_embeddings())
    with torch.no_grad():
        base, whole = (float(log_odds(each, *read.values())) for each in (baseline, ids))
    for doubling in range(DOUBLINGS + 1):
        found = gradients.attribute(
            ids,
            baseline,
            additional_forward_args=tuple(read.values()),
            n_steps=steps * 2**doubling,
            internal_batch_size=BATCH,
        )
        weights = found.sum(dim=-1)[0].tolist()
        if abs(base + sum(weights) - whole) <= TOLERANCE:
            return Explained(base, words_of(tokenizer, encoded, texts, weights))
    raise InputError(
        f"explanations: integrated gradients of tweet {tweet['id'].iloc[0]} do not sum to its log-odds "
        f"({base + sum(weights):.2f} in place of {whole:.2f}); raise explanations.steps"
    )


def words_of(
    tokenizer: PreTrainedTokenizerBase, encoded: Any, texts: list[str], weights: list[float]
) -> list[tuple[str, float]]:
    """The words of the text or texts in order, each with the weights of its tokens."""
    if not tokenizer.is_fast:
        tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
        special = encoded["special_tokens_mask"]
        return [
            (token, weight)
            for token, weight, is_special in zip(tokens, weights, special, strict=True)
            if not is_special
        ]
    places = list(zip(encoded.sequence_ids(0), encoded["offset_mapping"], weights, strict=True))
    words = []
    for number, text in enumerate(texts):
        own = [(span, weight) for sequence, span, weight in places if sequence == number]
        words += credited(text, [span for span, _ in own], [weight for _, weight in own])
    return words


class LoraExplainer:
    """The models of each fold of a preset, loaded when they are first asked for."""

    def __init__(self, preset: str, steps: int) -> None:
        self.params = read_params(f"lora.{preset}", LoraParams)
        self.folder, self.steps = Path("models") / f"lora_{preset}", steps
        self.fold: int | None = None
        self.models: list[tuple[PreTrainedModel, PreTrainedTokenizerBase]] = []

    def __call__(self, tweet: pd.DataFrame) -> Explained:
        """By the models that held the tweet's fold out; a preset of several seeds is the mean of its models' log-odds."""
        fold = int(tweet["fold"].iloc[0])
        if fold != self.fold:
            self.fold, self.models = fold, load(self.params, self.folder / f"fold-{fold}")
        found = [explain(model, tokenizer, self.params, tweet, self.steps) for model, tokenizer in self.models]
        weights = np.mean([[weight for _, weight in each.words] for each in found], axis=0)
        words = [word for word, _ in found[0].words]
        return Explained(float(np.mean([each.base for each in found])), list(zip(words, weights.tolist(), strict=True)))
