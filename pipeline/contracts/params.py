"""Typed params: a section of params.yaml as a model, and the first thing that is wrong with it as one line."""

import difflib
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from pipeline.contracts.errors import InputError, reason, redacted
from pipeline.places import STUDY

Model = TypeVar("Model", bound=BaseModel)
Meant = TypeVar("Meant")
PLAIN = "[A-Za-z0-9_-]+"


class Params(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are errors, never ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True)


def stays(path: str) -> str:
    """A path of params, unless it is relative and leads out of the project; for pydantic, so it raises `ValueError`."""
    if Path(os.path.normpath(path)).parts[:1] == ("..",):
        raise ValueError("leads out of the project; give an absolute path to a place outside of it")
    return path


ProjectPath = Annotated[str, AfterValidator(stays)]
"""A file or folder that params name: inside of the project, or an absolute path."""


Name = Annotated[str, Field(pattern=f"^{PLAIN}$")]
"""What `plain_name` allows, of a list that dvc.yaml makes commands of."""


def plain_name(name: str) -> str:
    """A name of params that becomes part of a command and of file names, unless there is more in it than a name has."""
    if not re.fullmatch(PLAIN, name):
        raise InputError(f"{name!r:.60}: not a name; names are made of letters, digits, _ and -")
    return name


class Shown(reprlib.Repr):
    """A value, however large, on one short line; what is secret in a text is taken out before the text is cut."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redacted(x), level)


def nearest(name: object, known: Iterable[object]) -> str:
    """A question, after a blank, whether the nearest of the known names is meant; empty if none is near."""
    return "".join(f" did you mean {one}?" for one in difflib.get_close_matches(str(name), map(str, known), n=1))


def unknown(name: object, known: Iterable[object]) -> str:
    """What to say of a name that is none of those known: the nearest of them, and all if there are not many."""
    names = sorted(map(str, known))
    near = nearest(name, names)
    return f"unknown;{near}" if near and len(names) > 20 else f"unknown;{near} known here: {', '.join(names) or 'none'}"


def named(name: str, among: Mapping[str, Meant], where: str) -> Meant:
    """What a name stands for; if for nothing, an `InputError` that begins with `where`."""
    if name not in among:
        raise InputError(f"{where}: {name}: {unknown(name, among)}")
    return among[name]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def known_at(models: list[type[BaseModel]], path: Iterable[int | str]) -> set[str]:
    """The names that may stand where a path leads to, from models on; what is no field's name leads nowhere else."""
    for name in path:
        fields = [model.model_fields[str(name)] for model in models if name in model.model_fields]
        models = [inner for field in fields for inner in models_in(field.annotation)] or models
    return {name for model in models for name in model.model_fields}


def validated(model: type[Model], values: object, where: str) -> Model:
    """`values` as a `model`; the first thing wrong with them as an `InputError` that begins with `where`.

    A name that is unknown comes first: if it is misspelt, another is missing.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        at = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            *path, name = first["loc"]
            raise InputError(f"{at}: {unknown(name, known_at([model], path))}") from None
        given = "" if first["type"] == "missing" else f" (it is {Shown().repr(first['input']):.60})"
        raise InputError(f"{at}: {first['msg']}{given}") from None


def read_yaml(path: Path) -> object:
    """The content of a YAML 1.2 file: there `1e-4` is a number and `no` is a word, unlike in PyYAML."""
    try:
        return YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except ReaderError as error:
        line = path.read_bytes()[: error.position].count(b"\n") + 1
        raise InputError(f"{path}: not YAML: line {line}: not UTF-8, or a character that YAML forbids") from None
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or a number that is none
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", error)
        raise InputError(f"{path}: not YAML: {at}{' '.join(str(problem).split())}") from None


PARAMS = Path("params.yaml")


def read_params(section: str, model: type[Model], path: Path | None = None) -> Model:
    """The section (dots descend into it) of the params file, validated; of the study's, if the main job's has none of it."""
    keys, study = section.split("."), STUDY / PARAMS
    values = read_yaml(path or PARAMS)
    if path is None and isinstance(values, dict) and keys[0] not in values and study.is_file():
        others = read_yaml(study)
        if isinstance(others, dict) and keys[0] in others:
            path, values = study, others
    path = path or PARAMS
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            near = nearest(key, values if isinstance(values, dict) else ())
            raise InputError(f"{path}: there is no section {section}{near and ';'}{near}")
        values = values[key]
    return validated(model, {} if values is None else values, f"{path}: {section}")
