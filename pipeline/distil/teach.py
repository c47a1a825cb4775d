"""What teachers say of texts that they have not learnt from, and the small encoder that learns it."""

from typing import Self

import numpy as np
import pandas as pd
from peft import PeftModel, TaskType
from scipy.special import expit
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.contracts import InputError, read_params
from pipeline.finetune import adapters, encoder
from pipeline.finetune.fine_tuned import FineTuned, FineTunedModel
from pipeline.finetune.lora import Lora
from pipeline.finetune.params import LoraParams
from pipeline.finetune.training import training_seed
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import mean_log_odds
from pipeline.fit.subsets import first_rows
from pipeline.stats.metrics import log_odds


def says(teacher: Classifier, tweets: pd.DataFrame, labels: np.ndarray, others: pd.DataFrame, fold: int) -> np.ndarray:
    """P(target = 1) of the other tweets, shape (n,), by a teacher of tweets with labels, of which `fold` is no part.

    What was fine-tuned is kept in the store, as the teacher's own stage keeps it, and taken from there.
    """
    if isinstance(teacher, FineTuned):
        chosen = first_rows(tweets, labels, teacher.params.train_rows)
        seeds = [training_seed(seed, fold) for seed in teacher.params.seeds]
        models = [teacher.train(*chosen, seed, resumable=True) for seed in seeds]
        scores = mean_log_odds(np.stack([model.predict(others) for model in models]))
    else:
        scores = teacher.predict(teacher.fit(tweets, labels), others)
    teacher.forget()
    return scores


def what_teachers_say(
    teachers: list[Classifier], tweets: pd.DataFrame, labels: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """P(target = 1) of each tweet, shape (n,): the mean log-odds of the teachers that have not learnt from it.

    A tweet with a label (0 or 1, in a fold of `folds`, shape (labelled,)) is scored by those of the other folds, one without (-1)
    by those of each fold. Which folds are no part of the tweets at all is seen by their numbers.
    """
    known = labels >= 0
    found = np.zeros(len(labels))
    numbers = np.unique(folds)
    absent = set(range(int(folds.max()) + 1)) - set(numbers.tolist())
    for fold in tqdm(numbers, desc="teachers", unit="fold", leave=False):
        learnt, asked = known.copy(), ~known
        learnt[known], asked[known] = folds != fold, folds == fold
        share = np.where(known[asked], 1, 1 / len(numbers)) / len(teachers)
        for teacher in teachers:
            # two folds that are left out are the same pair whichever of them is held out from the student
            scores = says(teacher, tweets[learnt], labels[learnt], tweets[asked], min({int(fold), *absent}))
            found[asked] += share * log_odds(scores)
    return np.asarray(expit(found))


class Small(Lora):
    """A preset of lora cut down to the lower layers of its base model, all of them with adapters."""

    def __init__(self, params: LoraParams, depth: int) -> None:
        super().__init__(params)
        self.depth = depth

    @classmethod
    def of(cls, preset: str, depth: int, epochs: int, learning_rate: float) -> Self:
        """With what else the preset of params.yaml says."""
        params = read_params(f"lora.{preset}", LoraParams)
        whole = {"layers": None, "inputs": ["text"], "train_rows": None, "validation": 0.0, "patience": None}
        return cls(params.model_copy(update=whole | {"epochs": epochs, "learning_rate": learning_rate}), depth)

    def fresh(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        model, tokenizer, trained_whole = encoder.load(self.params.base_model, self.params.hidden_dropout)
        _, layers = encoder.transformer_layers(model)
        if self.depth > len(layers):
            raise InputError(f"student.depth is {self.depth}, but {self.params.base_model} has {len(layers)} layers")
        del layers[self.depth :]
        model.config.num_hidden_layers = self.depth
        if self.params.pooling == "mean":
            encoder.show_mean(model, self.params.base_model)
        return adapters.put_on(model, self.params, TaskType.SEQ_CLS, trained_whole), tokenizer

    def whole(self, model: FineTunedModel[LoraParams]) -> PreTrainedModel:
        """A trained model with its adapters in its weights, in float32 on the CPU."""
        network, _ = self.fresh()
        learnt = adapters.trained(model.networks[0])
        for name, tensor in adapters.trained(network).items():
            tensor.copy_(learnt[name])
        merged: PreTrainedModel = network.merge_and_unload()
        return merged.eval()
