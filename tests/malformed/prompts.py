"""Prompt files that would ask for nothing, or for something else."""

from pathlib import Path

from .case import Case, Spoil, instead, recoded, removed, replaced, whole

FILE = "prompts/zero_shot.yaml"
WHERE = r"prompts/zero_shot\.yaml"
COMMAND = "pipeline.prompting.prompt zero_shot"


def prompt(old: str, new: str) -> Spoil:
    return replaced(FILE, old, new)


def case(name: str, spoil: Spoil, message: str) -> Case:
    return Case(name, spoil, WHERE + message, COMMAND)


CASES = [
    case("No prompt of that name", removed(FILE), ": no such file"),
    case("An empty prompt", whole(FILE, ""), r": Input should be .*"),
    case("A prompt that is a folder", instead(FILE, Path.mkdir), ": cannot be read: Is a directory"),
    case("A prompt that is no YAML", prompt("version:", "version: :"), r": not YAML: line \d+, column \d+: .*"),
    case("A prompt in Latin-1", recoded(FILE, lambda raw: raw + "# Zürich\n".encode("latin-1")), ": not YAML: .*"),
    case("A prompt without the tweet", prompt("{text}", "the tweet"), r": messages: must contain \{text\}, the tweet"),
    case(
        "A variable that is misspelt",
        prompt("{text}", "{txet}"),
        r": messages\.\d: no variable 'txet'; there are keyword, labels, location, positive, text",
    ),
    case(
        "An attribute of a variable",
        prompt("{text}", "{text.__class__}"),
        r": messages\.\d: no variable 'text\.__class__'; .*",
    ),
    case(
        "A brace that is not closed",
        prompt("{text}", "{text"),
        r": messages\.\d: unmatched '{' in format spec; write a brace as \{\{ or \}\}",
    ),
    case(
        "A way of scoring that is unknown",
        recoded(FILE, lambda raw: raw.replace(b"scoring: logprobs", b"scoring: guess")),
        r"\.scoring: Input should be .*\(it is 'guess'\)",
    ),
    case(
        "Label words of which one begins the other",
        recoded(
            FILE,
            lambda raw: (
                b'label_words: ["No", "Nope"]\n'
                + b"\n".join(line for line in raw.splitlines() if b"label_words" not in line)
            ),
        ),
        r": label_words: must be two words, neither the beginning of the other",
    ),
    case(
        "A version that is a word",
        recoded(FILE, lambda raw: raw.replace(b"version: ", b"version: v")),
        r"\.version: Input should be a valid integer .*",
    ),
]
