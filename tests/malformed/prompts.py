"""Prompt files that cannot be read; what may be wrong within one is in tests/endpoint/test_prompting.py."""

from pathlib import Path

from .case import Case, Spoil, instead, recoded, removed, replaced, whole

FILE = "prompts/zero_shot.yaml"
WHERE = r"prompts/zero_shot\.yaml"
COMMAND = "pipeline.prompting.prompt zero_shot"


def case(name: str, spoil: Spoil, message: str) -> Case:
    return Case(name, spoil, WHERE + message, COMMAND)


CASES = [
    case("No prompt of that name", removed(FILE), ": no such file"),
    case("An empty prompt", whole(FILE, ""), r": Input should be .*"),
    case("A prompt that is a folder", instead(FILE, Path.mkdir), ": cannot be read: Is a directory"),
    case("A prompt that is no YAML", replaced(FILE, "version:", "version: :"), r": not YAML: line \d+, column \d+: .*"),
    case("A prompt in Latin-1", recoded(FILE, lambda raw: raw + "# Zürich\n".encode("latin-1")), ": not YAML: .*"),
]
