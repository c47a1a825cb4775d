"""Change params.yaml as a file says that holds only what differs; its comments stay, and `git diff` shows what is new.

in:  params.yaml, a file such as examples/spam.yaml
out: params.yaml
run: python -m pipeline.apply examples/spam.yaml   (and `git checkout params.yaml` to go back)
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.contracts import InputError, read_yaml, run, write_text

PARAMS = Path("params.yaml")

Change = tuple[str, Any, Any]
"""A name with dots, what it was, and what it is now."""


def apply(params: dict[str, Any], changes: Any, where: str, prefix: str = "") -> Iterator[Change]:
    """Put the changes into params, mapping by mapping, and say of each value that differs what it was."""
    if not isinstance(changes, dict):
        raise InputError(f"{where}: {prefix.removesuffix('.') or 'it'} must be a section, with names and values")
    for key, value in changes.items():
        name = f"{prefix}{key}"
        if key not in params:
            raise InputError(f"{where}: {name}: unknown; known here: {', '.join(map(str, params))}")
        if isinstance(params[key], dict):
            yield from apply(params[key], value, where, f"{name}.")
        elif params[key] != value:
            yield name, params[key], value
            params[key] = value


def round_trip() -> YAML:
    """A reader and writer that keeps comments, quotes and the way params.yaml is laid out."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a YAML file with some of the names of params.yaml")
    file = Path(parser.parse_args().file)
    changes, yaml = read_yaml(file), round_trip()
    try:
        params = yaml.load(PARAMS)
    except FileNotFoundError:
        raise InputError(f"{PARAMS}: no such file; run this where it is") from None
    except YAMLError as error:
        raise InputError(f"{PARAMS}: not YAML: {' '.join(str(error).split())}") from None
    made = list(apply(params, changes, str(file)))
    written = io.StringIO()
    yaml.dump(params, written)
    write_text(PARAMS, written.getvalue())
    for name, before, after in made:
        print(f"{name}: {before} → {after}")
    if not made:
        print(f"{PARAMS}: nothing in it differs from {file}")


if __name__ == "__main__":
    run(main)
