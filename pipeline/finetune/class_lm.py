"""A language model that writes the tweets of either class, through low-rank adapters: p(tweet | label).

Each class has adapters of its own; or both share one set, and the label's name before the tweet says which it is (the
independent and the shared models of Yogatama et al.). A tweet is classified by Bayes' rule, as by the generative
classifiers of Yogatama et al. 2017 (https://arxiv.org/abs/1703.01898) and the noisy channel of Min et al. 2022
(https://arxiv.org/abs/2108.04106), at a temperature that is fitted to held-out tweets. What is minimised is

- generative: -log p(tweet | label), summed over the tweet's tokens and the end of text
- discriminative: -log p(label | tweet), which Bayes' rule makes of the same two likelihoods (the discriminative counterpart of a
  generative classifier: Bouchard & Triggs 2004, COMPSTAT). The model is the same, the school is not

in:  data/prepared, and the base model of the preset
out: predictions/class_lm_<preset>.parquet, costs/class_lm_<preset>.json, models/class_lm_<preset>
run: dvc repro class_lm@generative   (or python -m pipeline.stage finetune.class_lm generative)

Training multiplies matrices in `precision`, and goes on from its last finished epoch, as that of lora. Scores are computed in
float32: each is a small difference between two large sums, to which bf16 adds an error of half a nat.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import PeftModel, TaskType
from torch import nn
from transformers import PreTrainedTokenizerBase

from pipeline.contracts import School, read_params
from pipeline.data.source import DataParams
from pipeline.device import choose_device, or_auto
from pipeline.finetune import adapters, causal_lm
from pipeline.finetune.fine_tuned import FineTuned, FineTunedModel
from pipeline.finetune.frozen_layers import Batch, FrozenLayers
from pipeline.finetune.params import ClassLmParams
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.model_files import write_tensors

ANY_CLASS = "tweet"
"""What announces a tweet to a network that knows one class."""


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
        classes = classes.to(network.device)
        return causal_lm.log_likelihoods(network, batch, self.prefixes, classes, self.dtype, self.frozen)

    def loss(self, network: PeftModel, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The generative one needs the tweet under its own label only, and so knows of no tweet whether it is told right."""
        if not self.discriminative:
            return -self.of(network, batch, self.own(labels)).sum(), torch.tensor(torch.nan)
        log_odds = self.log_odds(self.outputs(network, batch))
        loss = nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds), reduction="sum")
        return loss, ((log_odds > 0) == (labels > 0.5)).sum()

    def own(self, labels: torch.Tensor) -> torch.Tensor:
        """The number of each label's prefix, shape (n, 1)."""
        return labels.long()[:, None].clamp(max=len(self.prefixes) - 1)

    def log_odds(self, outputs: torch.Tensor) -> torch.Tensor:
        """log p(1 | tweet) / p(0 | tweet) by Bayes' rule, shape (n,)."""
        return outputs[:, 1] - outputs[:, 0] + self.prior

    def held_out(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        of_own = -outputs.gather(1, self.own(labels)).mean().item()
        if len(self.prefixes) == 1:
            return of_own, float("nan")
        log_odds = self.log_odds(outputs)
        right = ((log_odds > 0) == (labels > 0.5)).float().mean().item()
        if not self.discriminative:
            return of_own, right
        return nn.functional.binary_cross_entropy_with_logits(log_odds, labels.to(log_odds)).item(), right


def every_prefix(batch: Batch, prefixes: list[list[int]]) -> torch.Tensor:
    """For each row of the batch the numbers of all prefixes, shape (rows, prefixes)."""
    return torch.arange(len(prefixes)).expand(len(batch["input_ids"]), -1)


@dataclass
class ClassLm(FineTunedModel[ClassLmParams]):
    """Of one network of both classes, or of one of class 0 and one of class 1."""

    rule: BayesRule = field(kw_only=True)

    @property
    def scoring_dtype(self) -> torch.dtype:
        return torch.float32

    def objective(self, dtype: torch.dtype) -> Likelihoods:
        announced_by = list(self.params.labels or []) if self.params.adapters == "shared" else [ANY_CLASS]
        prefixes = causal_lm.label_prefixes(self.tokenizer, announced_by)
        discriminative = self.params.objective == "discriminative"
        return Likelihoods(prefixes, self.rule.prior_log_odds, discriminative, dtype, self.frozen)

    def rows(self, tweets: pd.DataFrame, labels: np.ndarray | None = None) -> Dataset:
        prefixes, base = self.objective(self.dtype).prefixes, self.networks[0].get_base_model()
        rows = causal_lm.tokenize(base, self.tokenizer, tweets, prefixes, self.params.max_tokens, labels)
        return self.known(rows, lambda batch: causal_lm.announced(batch, prefixes, every_prefix(batch, prefixes)))

    def log_likelihoods(self, tweets: pd.DataFrame) -> np.ndarray:
        """log p(tweet | label) of each tweet, shape (n, 2)."""
        return np.asarray(self.outputs(self.rows(tweets)).numpy(), dtype=np.float64)

    def predict(self, tweets: pd.DataFrame) -> np.ndarray:
        return self.rule(self.log_likelihoods(tweets))

    def save(self, folder: Path) -> None:
        for number, network in enumerate(self.networks):
            write_tensors(file_of(folder, number), adapters.saved_tensors(network))
        write_rule(folder / "rule.json", self.rule)


def file_of(folder: Path, number: int) -> Path:
    """Of the adapters of both classes, or of those of class 0 and of class 1."""
    return folder / f"adapters-{number}.safetensors"


class ClassLmFamily(FineTuned[ClassLmParams]):
    def __init__(self, params: ClassLmParams, preset: str | None = None) -> None:
        super().__init__(params, preset)
        self.school: School = params.objective
        self.count = 2 if params.adapters == "per_class" else 1

    @classmethod
    def read(cls, preset: str | None) -> Self:
        """The preset, its labels those of data.labels if it has none of its own."""
        params = super().read(preset).params
        labels = params.labels or read_params("data", DataParams).labels
        return cls(params.model_copy(update={"labels": labels}), preset)

    def fresh(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        model, tokenizer = causal_lm.load(self.params.base_model, self.params.hidden_dropout)
        return adapters.put_on(model, self.params, TaskType.CAUSAL_LM, []), tokenizer

    def untrained(self, networks: list[PeftModel], tokenizer: PreTrainedTokenizerBase, labels: np.ndarray) -> ClassLm:
        return ClassLm(networks, tokenizer, self.params, self.frozen, rule=BayesRule(prior_log_odds(labels)))

    def finish(self, model: ClassLm, tweets: pd.DataFrame, labels: np.ndarray) -> None:
        """Merge the adapters, then fit the temperature."""
        for network in model.networks:
            network.merge_adapter()
        model.rule = fit_bayes_rule(model.log_likelihoods(tweets), labels, model.rule.prior_log_odds)

    def load(self, folder: Path) -> ClassLm:
        networks = []
        for number in range(self.count):
            network, tokenizer = self.fresh()
            adapters.restore(network, file_of(folder, number))
            network.merge_adapter()
            networks.append(network.to(choose_device(or_auto(self.params.device))))
        return ClassLm(networks, tokenizer, self.params, self.frozen, rule=read_rule(folder / "rule.json"))


FAMILY = ClassLmFamily
