"""The params of one class_lm preset."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.classifiers.lora_params import TuningParams


class ClassLmParams(TuningParams):
    labels: list[str] | None = Field(min_length=2, max_length=2)
    """What a tweet of class 0 and one of class 1 are announced by, before a colon, where both share the adapters; null for
    the names of data.labels."""
    adapters: Literal["shared", "per_class"]
    """One set for both classes, which the label's name before the tweet tells apart; or a set for each, and no name."""
    objective: Literal["generative", "discriminative"]
    """What training minimises: -log p(tweet | label), or -log p(label | tweet) by Bayes' rule over these likelihoods."""
    validation: float = Field(gt=0, lt=0.5)
    """Share of the training rows, by group, on which the best epoch and the temperature of Bayes' rule are chosen."""

    @property
    def names(self) -> list[str]:
        """The labels, once they are known: `class_lm.read` fills them in."""
        if self.labels is None:
            raise ValueError("labels are those of data.labels, which were not read")
        return self.labels

    @model_validator(mode="after")
    def check_objective(self) -> "ClassLmParams":
        if self.objective == "discriminative" and self.adapters == "per_class":
            raise ValueError("the discriminative objective needs both classes in one network: adapters: shared")
        return self
