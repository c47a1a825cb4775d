"""A language model that writes the tweets of either class, after the label's name, through low-rank adapters: p(tweet | label).

One adapter serves both classes; the label is a prefix of the text. A tweet is classified by Bayes' rule, as by the generative
classifiers of Yogatama et al. 2017 (https://arxiv.org/abs/1703.01898) and the noisy channel of Min et al. 2022
(https://arxiv.org/abs/2108.04106), at a temperature that is fitted to held-out tweets. What is minimised is

- generative: -log p(tweet | label), summed over the tweet's tokens and the end of text
- discriminative: -log p(label | tweet), which Bayes' rule makes of the same two likelihoods (the discriminative counterpart of a
  generative classifier: Bouchard & Triggs 2004, COMPSTAT). The model is the same, the school is not

in:  data/prepared, and the base model of the preset
out: predictions/class_lm_<preset>.parquet, costs/class_lm_<preset>.json
run: dvc repro class_lm@generative   (or python -m pipeline.classifiers.class_lm generative)

Training multiplies matrices in `precision`. Scores are computed in float32: each is a small difference between two large sums, to
which bf16 adds an error of half a nat.

Started again after it was interrupted, it goes on from the last finished epoch, and ends with the same predictions.
"""

import argparse
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import PeftModel, TaskType
from torch import nn
from transformers import PreTrainedTokenizerBase

from pipeline.classifiers import adapters, causal_lm, checkpoints, encoder, training
from pipeline.classifiers.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds
from pipeline.classifiers.class_lm_params import ClassLmParams
from pipeline.classifiers.cross_fit import Trainer, cross_fit, mean_log_odds, write_cross_fit
from pipeline.classifiers.frozen_layers import Batch, FrozenLayers
from pipeline.classifiers.subsets import first_rows, split_by_group
from pipeline.classifiers.training import History, Network, training_seed
from pipeline.contracts import read_params, read_prepared, run
from pipeline.device import choose_device, choose_dtype


@dataclass(frozen=True)
class Likelihoods:
    """An `Objective` whose outputs are log p(tweet | label) for both labels, shape (n, 2)."""

    prefixes: list[list[int]]
    prior: float
    """log p(1) / p(0)."""
    discriminative: bool
    dtype: torch.dtype
    frozen: FrozenLayers | None = None

    def outputs(self, network: Network, batch: Batch) -> torch.Tensor:
        return self.of(network, batch, torch.tensor([[0, 1]]).expand(len(batch["input_ids"]), 2))

    def of(self, network: Network, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
        classes = classes.to(network.device)
        return causal_lm.log_likelihoods(network, batch, self.prefixes, classes, self.dtype, self.frozen)

    def loss(self, network: Network, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The generative one needs the tweet under its own label only, and so knows of no tweet whether it is told right."""
        if not self.discriminative:
            return -self.of(network, batch, labels.long()[:, None]).sum(), torch.tensor(torch.nan)
        log_odds = self.log_odds(self.outputs(network, batch))
        loss = nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds), reduction="sum")
        return loss, ((log_odds > 0) == (labels > 0.5)).sum()

    def log_odds(self, outputs: torch.Tensor) -> torch.Tensor:
        """log p(1 | tweet) / p(0 | tweet) by Bayes' rule, shape (n,)."""
        return outputs[:, 1] - outputs[:, 0] + self.prior

    def held_out(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        log_odds = self.log_odds(outputs)
        right = ((log_odds > 0) == (labels > 0.5)).float().mean().item()
        if self.discriminative:
            loss = nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds))
        else:
            loss = -outputs.gather(1, labels.long()[:, None]).mean()
        return loss.item(), right


@dataclass
class ClassLm:
    """A fitted model, all that `predict` needs, and what its training was like."""

    network: PeftModel
    tokenizer: PreTrainedTokenizerBase
    params: ClassLmParams
    rule: BayesRule
    frozen: FrozenLayers | None = None
    history: History = field(default_factory=History)

    def objective(self, dtype: torch.dtype = torch.float32) -> Likelihoods:
        prefixes = causal_lm.label_prefixes(self.tokenizer, self.params.labels)
        discriminative = self.params.objective == "discriminative"
        return Likelihoods(prefixes, self.rule.prior_log_odds, discriminative, dtype, self.frozen)

    def rows(self, tweets: pd.DataFrame, labels: np.ndarray | None = None) -> Dataset:
        """The tweets' tokens; the network's frozen layers have then seen them, after both labels."""
        base, objective = self.network.get_base_model(), self.objective()
        rows = causal_lm.tokenize(base, self.tokenizer, tweets, objective.prefixes, self.params.max_tokens, labels)
        if self.frozen is not None:
            batches = encoder.batches(rows, self.tokenizer, self.params.batch_size, encoder.longest_first(rows))
            both = (
                causal_lm.announced(batch, objective.prefixes, torch.tensor([[0, 1]]).expand(len(numbers), 2))
                for batch, numbers in batches
            )
            self.frozen.stand_in(base, both, torch.float32)
        return rows

    def log_likelihoods(self, rows: Dataset) -> np.ndarray:
        """log p(tweet | label) of each row, shape (n, 2)."""
        outputs = training.predict_outputs(self.network, self.tokenizer, rows, self.params.batch_size, self.objective())
        return np.asarray(outputs.numpy(), dtype=np.float64)


def with_adapters(params: ClassLmParams) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """The base model with fresh adapters, of which only these are to be trained."""
    model, tokenizer = causal_lm.load(params.base_model, params.hidden_dropout)
    return adapters.put_on(model, params, TaskType.CAUSAL_LM, []), tokenizer


def frozen_part(params: ClassLmParams) -> FrozenLayers | None:
    """What can be shared by all models of one preset: the memory of the layers without adapters, if there are any."""
    return None if params.layers is None else FrozenLayers.below(causal_lm.load(params.base_model)[0], params.layers)


def fit(
    tweets: pd.DataFrame,
    labels: np.ndarray,
    params: ClassLmParams,
    *,
    seed: int = 0,
    frozen: FrozenLayers | None = None,
    resumable: bool = False,
) -> ClassLm:
    """Fit `train_rows` of the tweets and labels, shape (n,), by AdamW over the adapters, then the temperature.

    `frozen` is shared between calls; `resumable` keeps each epoch in the store, and goes on from there.
    """
    tweets, labels = first_rows(tweets, labels, params.train_rows)
    torch.manual_seed(seed)
    network, tokenizer = with_adapters(params)
    network.to(choose_device(params.device))
    model = ClassLm(network, tokenizer, params, BayesRule(prior_log_odds(labels)), frozen)
    objective = model.objective(choose_dtype(params.precision, network.device))
    # The weights stay whole, for the scores: rounding them anew in each step is little of its work.
    adapters.make_fast(network, torch.float32)
    parts = split_by_group(tweets, labels, params.validation, seed)
    rows, held_out = (model.rows(tweets.iloc[part], labels[part].astype(np.float64)) for part in parts)
    checkpoint = None
    if resumable:
        own = (causal_lm, sys.modules[__name__])
        checkpoint = checkpoints.checkpoint_path(network, params, objective.dtype, [rows, held_out], seed, *own)
    model.history = training.train(
        network, tokenizer, rows, held_out, params, objective, seed=seed, checkpoint=checkpoint
    )
    network.merge_adapter()  # from here on it only predicts
    model.rule = fit_bayes_rule(model.log_likelihoods(held_out), labels[parts[1]], objective.prior)
    return model


def predict(model: ClassLm, tweets: pd.DataFrame) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,)."""
    return model.rule(model.log_likelihoods(model.rows(tweets)))


def trainer(preset: str) -> Trainer:
    params = read_params(f"class_lm.{preset}", ClassLmParams).model_copy(
        update={"train_rows": None}
    )  # it is given them
    frozen = frozen_part(params)
    return Trainer(
        lambda tweets, labels, seed: fit(tweets, labels, params, seed=seed, frozen=frozen),
        predict,
        {"params": params.model_dump()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a key of class_lm in params.yaml")
    preset = parser.parse_args().preset
    name = f"class_lm_{preset}"
    params = read_params(f"class_lm.{preset}", ClassLmParams)
    prepared = read_prepared()
    frozen = frozen_part(params)
    trainable, total = adapters.count_parameters(with_adapters(params)[0])

    def fit_fold(fold: int, tweets: pd.DataFrame, labels: np.ndarray) -> list[ClassLm]:
        """One model a seed."""
        seeds = [training_seed(seed, fold) for seed in params.seeds]
        return [fit(tweets, labels, params, seed=seed, frozen=frozen, resumable=True) for seed in seeds]

    def predict_fold(models: list[ClassLm], tweets: pd.DataFrame) -> np.ndarray:
        return mean_log_odds(np.stack([predict(model, tweets) for model in models]))

    def seconds(models: list[ClassLm]) -> float:
        return sum(model.history.seconds for model in models)

    fitted = cross_fit(name, prepared, fit_fold, predict_fold, seconds, refit=params.test_rows == "refit")
    spent = max(fitted.fit_seconds, sum(fitted.kept))  # also by runs that were interrupted
    fitted = replace(fitted, fit_seconds=spent)
    write_cross_fit(name, params.objective, prepared, fitted, trainable=trainable, total=total)


if __name__ == "__main__":
    run(main)
