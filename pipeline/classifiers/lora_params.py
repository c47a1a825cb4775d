"""The params of one lora preset, and those of them that every fine-tuning by adapters has."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.contracts import Params, ProjectPath
from pipeline.device import Device, Precision

Column = Literal["keyword", "location", "text", "raw_text"]
Variant = Literal["lora", "rslora", "dora", "loha", "lokr"]


class TuningParams(Params):
    base_model: ProjectPath
    """A hub id, a folder, a GGUF file, or `package:NAME/PATH` for a model that a Python package carries."""
    max_tokens: int = Field(ge=8)
    train_rows: int | None = Field(ge=1)
    """Learn from so many of the training rows at most, the first of the order that all share; null for all."""

    variant: Variant
    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    """The adapters' output is scaled by alpha / rank (rslora: alpha / √rank)."""
    dropout: float = Field(ge=0, lt=1)
    """Of the adapters' inputs (loha, lokr: of their ranks)."""
    hidden_dropout: float = Field(ge=0, lt=1)
    """Everywhere else in the layers that are trained, in place of what the model's own config says."""
    target_modules: Literal["all-linear"] | list[str]
    """Last parts of the names of the linear layers that get an adapter."""
    layers: int | None = Field(ge=1)
    """How many of the top layers get adapters; null for all. What the others put out is computed once and reused."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    layer_decay: float = Field(gt=0, le=1)
    """The learning rate of each layer as a share of that of the layer above it."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(ge=0)
    validation: float = Field(ge=0, lt=0.5)
    """Share of the training rows, by group, that is held out of training to choose the best epoch by; 0 for none."""
    patience: int | None = Field(ge=1)
    """Epochs without a lower validation loss after which training stops; null for never."""

    seeds: list[int] = Field(min_length=1)
    """One model each; scores are averaged as log-odds."""
    test_rows: Literal["folds", "refit"]
    """Test tweets are scored by the average of the folds' models, or by a model refitted on all train rows."""
    device: Device
    precision: Precision

    @model_validator(mode="after")
    def patience_needs_validation(self) -> "TuningParams":
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs a validation share above 0")
        return self


class LoraParams(TuningParams):
    inputs: list[Column] = Field(min_length=1)
    """What the encoder reads: the last column, and those before it, joined by commas, as the first text of a pair."""
    label_smoothing: float = Field(ge=0, lt=1)
    class_weights: Literal["none", "balanced"]
    soft_labels: bool
    """Train near-duplicates towards the mean of their labels."""
