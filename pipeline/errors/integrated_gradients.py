"""What a lora model reads in a tweet: integrated gradients of its log-odds over the word embeddings.

Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365): the gradient is averaged on the way from a tweet of which every word
is masked to the tweet itself. The attributions sum to the difference of the two in log-odds (completeness), which is checked.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError
from pipeline.errors.word_weights import Explained, credited
from pipeline.finetune import adapters, encoder
from pipeline.finetune.fine_tuned import FineTuned
from pipeline.finetune.params import LoraParams
from pipeline.fit.cross_fit import MODELS, part
from pipeline.fit.model_store import seeds_in

TOLERANCE = 0.02
"""Largest error of the sum, in log-odds: half a point of a score at most."""
DOUBLINGS = 4
BATCH = 32


def load(params: LoraParams, folder: Path) -> list[tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
    """The models that the stage lora saved for a fold, one a seed, with adapters merged, in float32 on the CPU."""
    read = (adapters.read(path, params) for path in seeds_in(folder) or [folder])
    return [(network.merge_and_unload(), tokenizer) for network, tokenizer in read]


def tokenized(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, params: LoraParams, tweet: pd.DataFrame
) -> tuple[dict[str, torch.Tensor], Any, list[str]]:
    """One tweet as the model read it when it scored it, the encoding with its places, and the texts."""
    *context, text = (tweet[name].fillna("").iloc[0] for name in params.inputs)
    texts = [", ".join(filter(None, context)), text] if context else [text]
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
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, params: LoraParams, tweet: pd.DataFrame, steps: int
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
        others, count = tuple(read.values()), steps * 2**doubling
        found = gradients.attribute(ids, baseline, None, others, count, internal_batch_size=BATCH)
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
    """The words of the texts in order, each with the weights of its tokens."""
    if not tokenizer.is_fast:
        tokens = zip(tokenizer.convert_ids_to_tokens(encoded["input_ids"]), weights, strict=True)
        return [each for each, special in zip(tokens, encoded["special_tokens_mask"], strict=True) if not special]
    places = list(zip(encoded.sequence_ids(0), encoded["offset_mapping"], weights, strict=True))
    words = []
    for number, text in enumerate(texts):
        own = [(span, weight) for sequence, span, weight in places if sequence == number]
        words += credited(text, [span for span, _ in own], [weight for _, weight in own])
    return words


def lora_explainer(name: str, own: FineTuned[LoraParams], steps: int) -> Callable[[pd.DataFrame], Explained]:
    """By the models that held the tweet's fold out; of several seeds it is the mean of their log-odds."""
    params = own.params

    @lru_cache(maxsize=1)
    def models_of(fold: int) -> list[tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
        return load(params, MODELS / name / part(fold))

    def explain_tweet(tweet: pd.DataFrame) -> Explained:
        found = [explain(*model, params, tweet, steps) for model in models_of(int(tweet["fold"].iloc[0]))]
        weights = np.mean([[weight for _, weight in each.words] for each in found], axis=0)
        words = [word for word, _ in found[0].words]
        return Explained(float(np.mean([each.base for each in found])), list(zip(words, weights.tolist(), strict=True)))

    return explain_tweet
