"""Change params.yaml as a file says that holds only what differs; all else in it, comments too, stays as it is.

in:  params.yaml, a file such as examples/spam.yaml
out: params.yaml
run: python -m pipeline.apply examples/spam.yaml   (`git diff` shows what changed, `git checkout params.yaml` goes back)
"""

import argparse
import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pipeline.contracts import InputError, read_yaml, run, write_text

PARAMS = Path("params.yaml")

Values = dict[str, Any]


def changed(
    params: Values, wanted: Any, where: str, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The names, outermost first, and the new value of each value that differs; a name that params lack is an `InputError`."""
    if not isinstance(wanted, dict):
        raise InputError(f"{where}: {'.'.join(names) or 'it'} must be a section, with names and values")
    for key, value in wanted.items():
        if key not in params:
            raise InputError(
                f"{where}: {'.'.join((*names, str(key)))}: unknown; known here: {', '.join(map(str, params))}"
            )
        if isinstance(params[key], dict):
            yield from changed(params[key], value, where, (*names, key))
        elif params[key] != value:
            yield (*names, key), value


def end(node: Node) -> int:
    """Where a value ends in the text; a list of lines ends with its last item, not with the comments below it."""
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return end(node.value[-1])
    return int(node.end_mark.index)


def place(root: Node, names: tuple[str, ...]) -> tuple[int, int] | None:
    """Where a value stands in the text, from and to; None if it is not written there, but taken over from elsewhere."""
    node = root
    for name in names:
        inner = node.value if isinstance(node, MappingNode) else []
        found = [(key, value) for key, value in inner if key.value == name]
        if not found or found[0][1].start_mark.index < found[0][0].end_mark.index:
            return None
        node = found[0][1]
    return int(node.start_mark.index), end(node)


def as_text(value: Any) -> str:
    """A value on one line of YAML."""
    yaml, written = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width = True, 10_000
    yaml.dump([value], written)
    return written.getvalue().strip()[1:-1]


def with_value(values: Values, names: tuple[str, ...], value: Any) -> Values:
    """The values with one of them changed."""
    new = copy.copy(values)
    first, *others = names
    new[first] = with_value(values[first], tuple(others), value) if others else value
    return new


def apply(text: str, wanted: Any, where: str) -> tuple[str, list[str]]:
    """The text of params.yaml with the wanted values in it, and a line for each that changed."""
    told, values = [], YAML(typ="safe").load(text)
    for names, value in list(changed(values, wanted, where)):
        name, values = ".".join(names), with_value(values, names, value)
        if (at := place(YAML().compose(text), names)) is not None:
            told.append(f"{name}: {text[slice(*at)]} → {as_text(value)}")
            text = text[: at[0]] + as_text(value) + text[at[1] :]
        if at is None or YAML(typ="safe").load(text) != values:
            raise InputError(f"{where}: {name}: other values hang together with it; change it in {PARAMS} itself")
    return text, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a YAML file with some of the names of params.yaml")
    file = Path(parser.parse_args().file)
    wanted = read_yaml(file)
    read_yaml(PARAMS)  # or it says what is wrong with it
    try:
        text, told = apply(PARAMS.read_text(encoding="utf-8"), wanted, str(file))
    except YAMLError as error:  # an anchor that is gone, for example
        raise InputError(f"{file}: {PARAMS} would not be YAML any more: {' '.join(str(error).split())}") from None
    write_text(PARAMS, text)
    print("\n".join(told) or f"{PARAMS}: it is as {file} says already")


if __name__ == "__main__":
    run(main)
