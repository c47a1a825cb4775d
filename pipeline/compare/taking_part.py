"""Which classifiers take part: those that the lists of params.yaml name, and in the study those of study/params.yaml too.

The lists are a dependency of every stage that reads predictions: DVC leaves the files of a name that was taken out in place.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from pipeline.contracts import InputError, Name, Params, named, read_params
from pipeline.contracts.params import PARAMS
from pipeline.places import STUDY, in_study

SECTION = "classifiers"


class Family(NamedTuple):
    """What makes a classifier: the module of a family under `pipeline`, and the preset that it is read with."""

    module: str
    preset: str | None


class ClassifiersParams(Params):
    counts: list[Name] = Field(default_factory=list)
    """Families on counts: modules of pipeline/counts."""
    encoders: list[Name] = Field(default_factory=list)
    """Keys of embed, whose embeddings the vectors' families classify."""
    vectors: list[Name] = Field(default_factory=list)
    """Families over embeddings: modules of pipeline/vectors, each on those of every encoder."""
    lora: list[Name] = Field(default_factory=list)
    """Keys of lora."""
    class_lm: list[Name] = Field(default_factory=list)
    """Keys of class_lm; only the study runs them."""
    distil: list[Name] = Field(default_factory=list)
    """Modules of pipeline/distil, likewise."""
    prompts: list[Name] = Field(default_factory=list)
    """Files of prompts/."""
    imported: list[Name] = Field(default_factory=list)
    """Keys of imported."""

    def each(self) -> Iterator[tuple[str, str, Family | None]]:
        """The name of its predictions, what DVC calls the stage that makes them, and what is fitted (None: an LLM is asked)."""
        for name in self.counts:
            yield name, f"counts@{name}", Family(f"counts.{name}", None)
        for encoder, family in itertools.product(self.encoders, self.vectors):
            yield f"{family}_{encoder}", f"vectors@{family}-{encoder}", Family(f"vectors.{family}", encoder)
        for kind, presets in (("lora", self.lora), ("class_lm", self.class_lm)):
            yield from ((f"{kind}_{one}", f"{kind}@{one}", Family(f"finetune.{kind}", one)) for one in presets)
        for name in self.distil:
            yield name, f"distil@{name}", Family(f"distil.{name}", None)
        for kind, presets in (("prompt", self.prompts), ("imported", self.imported)):
            yield from ((f"{kind}_{one}", f"{kind}@{one}", None) for one in presets)

    def trained(self) -> dict[str, Family]:
        """What makes each classifier that is fitted, by the name of its predictions."""
        return {name: family for name, _, family in self.each() if family}

    def stages(self) -> dict[str, str]:
        """What DVC calls the stage that makes each, by the name of its predictions."""
        return {name: stage for name, stage, _ in self.each()}


def read_lists() -> list[ClassifiersParams]:
    """The main job's, and for a stage of the study its own."""
    lists = [read_params(SECTION, ClassifiersParams)]
    if in_study():
        lists.append(read_params(SECTION, ClassifiersParams, STUDY / PARAMS))
        if twice := lists[0].stages().keys() & lists[1].stages():
            both = f"{min(twice)} runs in the main job, by {PARAMS}: take it out of one of the two"
            raise InputError(f"{STUDY / PARAMS}: {SECTION}: {both}")
    return lists


def all_stages() -> dict[str, str]:
    """By the name of its predictions, the target of `dvc repro` that makes each, in the main job or else in the study."""
    study = read_params(SECTION, ClassifiersParams, STUDY / PARAMS).stages() if (STUDY / PARAMS).is_file() else {}
    theirs = {name: f"{STUDY}/dvc.yaml:{stage}" for name, stage in study.items()}
    return theirs | read_params(SECTION, ClassifiersParams).stages()


def taking_part() -> list[str]:
    """The names of all predictions that are compared."""
    return [name for each in read_lists() for name in each.stages()]


def family_of(name: str, where: str) -> Family:
    """What makes a classifier that takes part; `where` begins the message if none of that name is fitted."""
    trained = {key: family for each in read_lists() for key, family in each.trained().items()}
    return named(name, trained, where)


def predictions_of(name: str, folder: Path) -> Path:
    """Where the predictions of a classifier that takes part lie: with those of the list that names it."""
    study = in_study() and name not in read_lists()[0].stages()
    return (STUDY if study else Path()) / folder / f"{name}.parquet"
