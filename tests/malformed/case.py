"""What a case is, and small ways to spoil a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Spoil = Callable[[Path], object]
"""Puts what is wrong into a project that is whole."""

PREPARE = "pipeline.data.prepare"
TRAIN, PARAMS = "data/sample/train.csv", "params.yaml"


@dataclass(frozen=True)
class Case:
    name: str
    """What is wrong, in words."""
    spoil: Spoil
    message: str
    """A regular expression for all of the line after `error: `."""
    command: str = PREPARE
    process: bool = False
    """Whether it is met in a process of its own: where native code might end the process, or to see that it is the same there."""
    unless_root: bool = False
    """Root may do it."""


def whole(path: str, content: str | bytes) -> Spoil:
    """A file's content, whatever it was."""

    def spoil(project: Path) -> None:
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def replaced(path: str, old: str, new: str) -> Spoil:
    """A part of a file, which must be there."""

    def spoil(project: Path) -> None:
        text = (project / path).read_text()
        assert old in text, f"{path}: no {old}"
        (project / path).write_text(text.replace(old, new))

    return spoil


def recoded(path: str, change: Callable[[bytes], bytes]) -> Spoil:
    """A file's bytes, changed."""
    return lambda project: (project / path).write_bytes(change((project / path).read_bytes()))


def instead(path: str, make: Callable[[Path], object]) -> Spoil:
    """Something else by the name of a file."""

    def spoil(project: Path) -> None:
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        make(file)

    return spoil


def removed(path: str) -> Spoil:
    return lambda project: (project / path).unlink()


def both(*spoils: Spoil) -> Spoil:
    def spoil(project: Path) -> None:
        for one in spoils:
            one(project)

    return spoil


def loop(path: Path) -> None:
    """A symlink to itself."""
    path.symlink_to(path.name)
