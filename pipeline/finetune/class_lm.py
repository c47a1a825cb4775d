"""A language model that writes the tweets of either class, through low-rank adapters: p(tweet | label).

Each class has adapters of its own; or both share one set, and the label's name before the tweet says which it is (the
independent and the shared models of Yogatama et al. 2017, https://arxiv.org/abs/1703.01898). A tweet is classified by Bayes'
rule, as by theirs and the noisy channel of Min et al. 2022 (https://arxiv.org/abs/2108.04106), at a temperature that is fitted
to held-out tweets. What is minimised is

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
from transformers import PreTrainedTokenizerBase

from pipeline.contracts import School, read_params
from pipeline.data.source import DataParams
from pipeline.device import choose_device, or_auto
from pipeline.finetune import adapters, causal_lm
from pipeline.finetune.causal_lm import Likelihoods, announced, every_prefix
from pipeline.finetune.fine_tuned import FineTuned, FineTunedModel
from pipeline.finetune.params import ClassLmParams
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.model_files import write_tensors

ANY_CLASS = "tweet"
"""What announces a tweet to a network that knows one class."""


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
        return self.known(rows, lambda batch: announced(batch, prefixes, every_prefix(batch, prefixes)))

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
