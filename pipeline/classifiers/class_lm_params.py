"""The params of one class_lm preset."""

from typing import Literal

from pydantic import Field

from pipeline.classifiers.lora_params import TuningParams


class ClassLmParams(TuningParams):
    labels: list[str] = Field(min_length=2, max_length=2)
    """What a tweet of class 0 and one of class 1 are announced by, before a colon."""
    objective: Literal["generative", "discriminative"]
    """What training minimises: -log p(tweet | label), or -log p(label | tweet) by Bayes' rule over these likelihoods."""
    validation: float = Field(gt=0, lt=0.5)
    """Share of the training rows, by group, on which the best epoch and the temperature of Bayes' rule are chosen."""
