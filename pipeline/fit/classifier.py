"""What a family of classifiers is, with its params: fitted, asked, saved and opened."""

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import numpy as np
import pandas as pd

from pipeline.contracts import InputError, Params, Prepared, School, validated


class Classifier(ABC):
    """A family with its params. A model is whatever `fit` returns; the module of a family calls its class FAMILY."""

    school: School
    preset: str | None = None
    """An encoder, or a key of the family's section."""
    presets: ClassVar[bool] = True
    """Whether it is read with one."""
    semi_supervised: ClassVar[bool] = False
    """Whether it learns from rows without a label too: their label is -1."""
    samples: ClassVar[bool] = False
    """Whether it can make new texts, or vectors."""
    params_type: ClassVar[type[Params]]
    """Those that its base is written with: LogisticParams of `OnCounts[LogisticParams]`."""

    def __init__(self, params: Any, preset: str | None = None) -> None:
        self.params = params
        self.preset = preset

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        arguments = [each for base in vars(cls).get("__orig_bases__", ()) for each in get_args(base)]
        if arguments and isinstance(arguments[0], type):
            cls.params_type = arguments[0]

    @classmethod
    def family(cls) -> str:
        """Its module under `pipeline`."""
        return cls.__module__.removeprefix("pipeline.")

    @classmethod
    def name(cls) -> str:
        """That of its module, and of its section of params."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    @abstractmethod
    def read(cls, preset: str | None) -> Self:
        """The family with the params of params.yaml."""

    @classmethod
    def from_saved(cls, determined_by: dict[str, Any], preset: str | None, where: str) -> Self:
        """The family with the params that a saved model was made with, validated; an error begins with `where`."""
        return cls(validated(cls.params_type, determined_by.get("params"), f"{where}.params"), preset)

    @property
    def determined_by(self) -> dict[str, Any]:
        """All that a model depends on beside the tweets, the labels, the seed and the code."""
        return {"params": self.params.model_dump()}

    @abstractmethod
    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Any:
        """A model of tweets with labels of shape (n,)."""

    def fit_fold(self, _: int, tweets: pd.DataFrame, labels: np.ndarray) -> Any:
        """For `cross_fit`: the folds differ in their tweets, and share a seed."""
        return self.fit(tweets, labels, 0)

    def predict(self, model: Any, tweets: pd.DataFrame) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,); unless it says otherwise, as the model predicts."""
        return np.asarray(model.predict(tweets))

    @abstractmethod
    def parameters(self, model: Any) -> int:
        """How many numbers a model has learnt."""

    def save(self, model: Any, folder: Path) -> None:
        """Write a model into a folder, without pickle; unless it says otherwise, as the model is saved."""
        model.save(folder)

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """The model that `save` wrote; what is wrong with its files is an `InputError`."""

    def sample(self, model: Any, label: int, n: int, seed: int) -> list[str] | np.ndarray:
        """`n` new texts of a class, or vectors of shape (n, d) in the family's space; of families that have `samples`."""
        raise NotImplementedError

    def with_inputs(self, prepared: Prepared) -> Prepared:
        """The prepared tweets with what it reads beside their text."""
        return prepared

    def read_new(self, tweets: pd.DataFrame) -> pd.DataFrame:
        """Tweets that are not among the prepared ones, with the same."""
        return tweets

    def forget(self) -> None:  # noqa: B027 - most remember nothing
        """Let go of what `predict` remembers of tweets that it has read."""

    def here(self) -> dict[str, str]:
        """What determines a model too, as it is on this machine: a base model's files, the device."""
        return {}


def family_called(family: str, preset: str | None, where: str) -> type[Classifier]:
    """The FAMILY of a module under `pipeline`; `where` begins the message if there is none."""
    try:
        made: type[Classifier] | None = getattr(importlib.import_module(f"pipeline.{family}"), "FAMILY", None)
    except ModuleNotFoundError as missing:
        if not str(missing.name).startswith("pipeline."):
            raise
        made = None
    if made is None:
        raise InputError(f"{where}: there is no classifier family {family}")
    if made.presets == (preset is None):
        raise InputError(f"{where}: {family} with preset {preset} is no classifier")
    return made


def read_classifier_of(family: str, preset: str | None, where: str) -> Classifier:
    """The same with the params of params.yaml."""
    return family_called(family, preset, where).read(preset)
