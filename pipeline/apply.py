"""Change values of params.yaml and study/params.yaml; all else in them, comments too, stays as it is.

A VALUE is a number, true, false, null, a [list, of, values], or else a text just as it stands; `~/` is the home folder. A FILE is
YAML that holds only what differs. What is named under `study` is in study/params.yaml.

in:  params.yaml, study/params.yaml
out: the same, in the form that `dvc exp run -S` writes, too
run: python -m pipeline.apply data.source=data/kaggle 'classifiers.lora=[minilm, mpnet]'
     python -m pipeline.apply examples/spam.yaml   (`git diff` shows what changed, `git checkout params.yaml study` goes back)
"""

import argparse
import importlib
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipeline.contracts import InputError, Params, named, read_yaml, unknown, validated, write_text
from pipeline.contracts.params import PARAMS
from pipeline.data.csv_file import not_there
from pipeline.places import STUDY
from pipeline.process import run

OF_ENTRIES = ("class_lm", "embed", "imported", "lora", "vectors")
"""Sections of sections, each of which is read by itself."""
NEW_ENTRIES = {("embed",), ("lora",)}
"""Those that may get entries of any name: with a base_model, so that a misspelt name is none."""
NOT_BY_FILE = {
    "lora.launch": "it is run as a command",
    "prompt.base_url": "your key and texts are sent there",
    "prompt.api_key_env": "what it names is sent as a key",
    "prompt.limits": "they cap what you pay",
    "prompt.price_per_million_tokens": "they count what you pay",
}
"""What somebody else's file may not set."""


def value_of(text: str) -> Any:
    """A value as a command line gives it: numbers, true, false, null and what begins with a bracket or a quote is YAML."""
    if text.startswith("~/"):  # which a shell leaves as it is behind an equals sign
        return str(Path(text).expanduser())
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError):
        return text
    return value if value is None or isinstance(value, bool | int | float) or text[0] in "[{\"'" else text


def sections(path: Path) -> dict[str, Any]:
    """The content of a file of params."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: it must be sections, with names and values")
    return values


def wanted_by(argument: str) -> dict[str, Any]:
    """The values, nested, that NAME=VALUE or a file asks for."""
    names, equals, text = argument.partition("=")
    if equals and re.fullmatch(r"[\w-]+(\.[\w-]+)*", names):
        *outer, last = names.split(".")
        values = {last: value_of(text.strip())}
        for name in reversed(outer):
            values = {name: values}
        return values
    values = sections(Path(argument))
    for name, what in NOT_BY_FILE.items():
        section, _, key = name.partition(".")
        if key in (values.get(section) or ()):
            raise InputError(f"{argument}: {name}: {what}, so no file may set it; if you mean it, do it yourself")
    return values


def merged(first: Any, second: Any) -> Any:
    """Nested values: those of the second, and of the first what the second does not name."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return first | {key: merged(first.get(key), value) for key, value in second.items()}


def class_of(names: tuple[str, ...]) -> type[Params] | None:
    """The class that a section is read as, found by its name; None if it is no such section, or libraries of its are missing."""
    top, *entry = names[names[:1] == (str(STUDY),) :] or ("",)
    if not top or len(entry) != (top in OF_ENTRIES):
        return None
    name = (entry[0] if top == "vectors" else top).title().replace("_", "") + "Params"
    root = Path(__file__).parent
    vectors = {*root.glob("vectors/*.py")}
    for path in sorted(vectors if top == "vectors" else {*root.glob("*/*.py")} - vectors):
        if f"class {name}(" in path.read_text(encoding="utf-8"):
            with suppress(ModuleNotFoundError):
                found: type[Params] = getattr(importlib.import_module(f"pipeline.{path.parent.name}.{path.stem}"), name)
                return found
    return None


def put(section: Any, wanted: Any, names: tuple[str, ...] = (), *, inside: bool = False) -> Iterator[str]:
    """Set the wanted values in a section, and a line for each that changed.

    A name that it lacks has a default, if it is read as a class (or is `inside` of such a section) that knows it.
    """
    if not isinstance(wanted, dict):
        raise InputError(f"{'.'.join(names)} is a section, with names and values")
    model = None if inside else class_of(names)
    for key, value in wanted.items():
        name, there = ".".join((*names, str(key))), key in section
        if not there and names in NEW_ENTRIES and isinstance(value, dict) and "base_model" in value:
            section.insert(max(len(section) - 1, 0), key, CommentedMap())
        if isinstance(section.get(key), dict):
            yield from put(section[key], value, (*names, str(key)), inside=inside or model is not None)
        elif not (there or inside or model):
            known = [*section, *(f"{STUDY}.{one}" for one in section.get(str(STUDY), ()))]
            raise InputError(f"{name}: {unknown(key, known)}")
        elif not there or section[key] != value:
            yield f"{name}: {shown(section[key]) if there else 'its default'} → {shown(value)}"
            if not there:  # before the last one: an empty line that follows it stays where it is
                section.insert(max(len(section) - 1, 0), key, None)
            section[key] = value
            if value == []:  # a comment between it and the next section would swallow the line's end
                section.ca.items.pop(key, None)
    if model:
        validated(model, section, ".".join(names))


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check_lists(params: dict[str, Any]) -> None:
    """What takes part has a section, in that of its kind, or a file."""
    known = params | params[str(STUDY)]
    prompts = {path.stem: path for path in Path("prompts").glob("*.yaml")}
    places = known | {"counts": known, "distil": known, "encoders": known["embed"], "prompts": prompts}
    for where, values in (("", params), (f"{STUDY}.", params[str(STUDY)])):
        for kind, names in values.get("classifiers", {}).items():
            for name in names:
                named(name, places.get(kind, {}), f"{where}classifiers.{kind}")


def apply(params: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Set the wanted values in the params, which hold those of the study under its name; a line for each that changed."""
    told = list(put(params, wanted))
    check_lists(params)
    source = params["data"]["source"]
    if "source" in wanted.get("data", {}) and not Path(source).exists():  # DVC would stop before any stage could say it
        raise InputError(f"data.source: {not_there(source)}")
    return told


def written(values: Any) -> str:
    """As DVC writes params, so that the next `dvc exp run -S` changes no other line."""
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.dump(values, text)
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wanted", nargs="+", help="NAME=VALUE, or a YAML file with some of the names of params.yaml")
    wanted: dict[str, Any] = {}
    for argument in parser.parse_args().wanted:
        wanted = merged(wanted, wanted_by(argument))
    files = {path: YAML().load(path) for path in (PARAMS, STUDY / PARAMS) if sections(path)}
    before = {path: written(values) for path, values in files.items()}
    told = apply({**files[PARAMS], str(STUDY): files[STUDY / PARAMS]}, wanted)
    for path, values in files.items():
        if (text := written(values)) != before[path]:
            write_text(path, text)
    print("\n".join(told) or "it is so already")


if __name__ == "__main__":
    run(main)
