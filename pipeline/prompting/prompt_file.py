"""Prompt files: how a tweet becomes messages, which words stand for the labels, how a reply becomes a score."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Discriminator, Field

from pipeline.contracts import InputError, Params, read_yaml, validated

Message = dict[str, str]
Tweet = Mapping[str, Any]
"""A tweet's fields by name; of an example its `label`, too."""
Scoring = Literal["logprobs", "sample", "text"]
"""The modes of `scoring` for a chat."""
Shown = Callable[[str], str]
"""How a tweet's text is shown to the model: `harmless`, but for the study of what that is good for."""
FIELDS = ("text", "keyword", "location")
NAMES = ("labels", "positive")

_MARKERS = str.maketrans("<>", "‹›")
_BRACKETED = re.compile(r"\[(/?[A-Z_]+|gMASK|\|\w+\|)\]")


class Template(Params):
    """One message; {text}, {keyword} and {location} are the tweet's, {label} is a label word; of data.labels, {labels} are both,
    {positive} the second."""

    role: Literal["system", "user", "assistant"]
    content: str


class FixedExamples(Params):
    """The same balanced, seeded examples for all tweets of a fold."""

    choice: Literal["fixed"]
    count: int = Field(ge=2, multiple_of=2)
    seed: int = Field(ge=0)
    messages: list[Template] = Field(min_length=1)
    """How an example is written."""


class RetrievedExamples(Params):
    """The tweets most like the one asked about, nearest last (KATE, Liu et al. 2022, https://arxiv.org/abs/2101.06804)."""

    choice: Literal["retrieved"]
    count: int = Field(ge=2, multiple_of=2)
    balanced: bool
    """Whether half of them must be of each label."""
    messages: list[Template] = Field(min_length=1)


class ChatPrompt(Params):
    """A question about a tweet: discriminative, p(label | tweet)."""

    scoring: Scoring
    version: int
    """Raise it with every change of wording: scores are compared by it."""
    messages: list[Template] = Field(min_length=1)
    """The examples, if any, go before the last one."""
    labels: list[str] | None = Field(default=None, min_length=2, max_length=2)
    """The data.labels that the wording is about: with others it is refused. Null for a wording that fits any; then, once it is
    read, those of the data."""
    label_words: list[str] = Field(min_length=2, max_length=2)
    """The replies that stand for target 0 and for target 1."""
    examples: Annotated[FixedExamples | RetrievedExamples, Discriminator("choice")] | None


class ChannelPrompt(Params):
    """A description of each label, and how probable it makes the tweet: generative, p(tweet | label) p(label).

    The noisy channel of Min et al. 2022, https://arxiv.org/abs/2108.04106.
    """

    scoring: Literal["channel"]
    version: int
    context: str
    """What comes before the tweet; {label} is the label's description."""
    labels: list[str] | None = Field(default=None, min_length=2, max_length=2)
    label_words: list[str] = Field(min_length=2, max_length=2)
    examples: None = None


PromptFile = ChatPrompt | ChannelPrompt


def check_template(template: str, allowed: Iterable[str], where: str) -> set[str]:
    """The variables that a template names; an unknown one, or a brace that is none, is an `InputError`."""
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise InputError(f"{where}: {error}; write a brace as {{{{ or }}}}") from None
    named = {str(name) for _, name, _, _ in parts}
    if any(form or conversion for _, _, form, conversion in parts):
        raise InputError(f"{where}: a variable is written as {{name}}, without a format")
    if unknown := named - set(allowed):
        raise InputError(
            f"{where}: no variable {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(sorted(allowed))}"
        )
    return named


def read_prompt(path: Path, labels: list[str]) -> PromptFile:
    """Read and check a prompt file for data of these labels; anything wrong is said before a request is made."""
    values = read_yaml(path)
    channel = isinstance(values, dict) and values.get("scoring") == "channel"
    prompt = validated(ChannelPrompt, values, str(path)) if channel else validated(ChatPrompt, values, str(path))
    if isinstance(prompt, ChannelPrompt):
        if "label" not in check_template(prompt.context, ["label"], f"{path}: context"):
            raise InputError(f"{path}: context: must contain {{label}}, the label's description")
        if len({word.strip() for word in prompt.label_words} - {""}) < 2:
            raise InputError(f"{path}: label_words: must be two descriptions")
    else:
        check_chat(prompt, path)
    if prompt.labels not in (None, labels):  # it would be answered, and its answers would mean nothing
        raise InputError(
            f"{path}: labels: it asks about {' / '.join(prompt.labels or [])}, and data.labels in params.yaml are "
            f"{' / '.join(labels)}; name a prompt for these in classifiers.prompts, such as any_zero_shot"
        )
    return prompt.model_copy(update={"labels": labels})


def check_chat(prompt: ChatPrompt, path: Path) -> None:
    check_messages(prompt.messages, (*FIELDS, *NAMES), f"{path}: messages")
    if prompt.messages[-1].role != "user":
        raise InputError(f"{path}: messages: the last one must be the user's")
    if prompt.examples:
        named = check_messages(prompt.examples.messages, (*FIELDS, *NAMES, "label"), f"{path}: examples.messages")
        if "label" not in named:
            raise InputError(f"{path}: examples.messages: must contain {{label}}, the label word")
    no, yes = (word.strip().lower() for word in prompt.label_words)
    if not no or not yes or no.startswith(yes) or yes.startswith(no):
        raise InputError(f"{path}: label_words: must be two words, neither the beginning of the other")


def check_messages(messages: list[Template], allowed: Iterable[str], where: str) -> set[str]:
    """The variables that messages name, {text} among them."""
    named = set()
    for number, message in enumerate(messages):
        named |= check_template(message.content, allowed, f"{where}.{number}")
    if "text" not in named:
        raise InputError(f"{where}: must contain {{text}}, the tweet")
    return named


def harmless(text: str, longest: int) -> str:
    """A tweet as text without what templates of chats mark turns by, cut at `longest` characters.

    Chat templates are tokenized together with what they are filled with, so a tweet that spells a turn's marker would end
    its turn. Angle brackets, and brackets around capitals or bars, become look-alikes; what is not shown (control,
    bidirectional and other format characters) goes, and line breaks become spaces.
    """
    shown = (
        " " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character
        for character in text
        if unicodedata.category(character) not in ("Cf", "Cs", "Co")
    )
    text = " ".join("".join(shown).split())
    text = _BRACKETED.sub(r"(\1)", text.translate(_MARKERS))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def fields_of(tweet: Tweet, shown: Shown) -> dict[str, str]:
    """A tweet's variables as they are shown; what it lacks is "none"."""
    return {name: shown(tweet[name]) if pd.notna(tweet[name]) else "none" for name in FIELDS}


def fill(templates: list[Template], values: dict[str, str]) -> list[Message]:
    """Messages with values in place of variables; the braces of a value stay text."""
    return [{"role": template.role, "content": template.content.format(**values)} for template in templates]


def render(prompt: ChatPrompt, examples: list[Tweet], tweet: Tweet, shown: Shown) -> list[Message]:
    """The chat messages that ask about one tweet."""
    names = dict(zip(NAMES, (" or ".join(prompt.labels), prompt.labels[1]), strict=True)) if prompt.labels else {}
    turns: list[Message] = []
    if prompt.examples:
        for example in examples:
            label = prompt.label_words[int(example["label"])]
            turns += fill(prompt.examples.messages, fields_of(example, shown) | names | {"label": label})
    asked = fill(prompt.messages, fields_of(tweet, shown) | names)
    return [*asked[:-1], *turns, asked[-1]]


def render_channel(prompt: ChannelPrompt, tweet: Tweet, shown: Shown) -> list[tuple[str, str]]:
    """For each label: what comes before the tweet, and the tweet, a space before it."""
    text = " " + shown(tweet["text"])
    return [(prompt.context.format(label=word).rstrip(), text) for word in prompt.label_words]
