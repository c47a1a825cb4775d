"""Prompt files: how a tweet becomes messages, which words stand for the labels, how a reply becomes a score."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from pipeline.contracts import InputError, Params, read_yaml, validated
from pipeline.prompting.sanitize import Sanitize

Message = dict[str, str]
Tweet = Mapping[str, Any]
"""A tweet's fields by name; of an example its `label`, too."""
Scoring = Literal["logprobs", "sample", "text"]
"""The modes of `scoring` for a chat."""
FIELDS = ("text", "keyword", "location")
VARIABLES = (*FIELDS, "labels", "positive")


class Template(Params):
    """One message; {text}, {keyword} and {location} are the tweet's, {label} is a label word; of data.labels, {labels} are both,
    {positive} the second."""

    role: Literal["system", "user", "assistant"]
    content: str


class Examples(Params):
    """Labelled tweets before the question: the same balanced ones for all tweets of a fold, or those most like the tweet.

    The nearest is last (KATE, Liu et al. 2022, https://arxiv.org/abs/2101.06804).
    """

    choice: Literal["fixed", "retrieved"]
    count: int = Field(ge=2, multiple_of=2)
    seed: int = Field(0, ge=0)
    """Of fixed ones."""
    messages: list[Template] = Field(min_length=1)
    """How an example is written."""


class Prompt(Params):
    version: int
    """Raise it with every change of wording: scores are compared by it."""
    labels: list[str] | None = Field(default=None, min_length=2, max_length=2)
    """The data.labels that the wording is about: with others it is refused. Null for a wording that fits any; then, once it is
    read, those of the data."""
    label_words: list[str] = Field(min_length=2, max_length=2)
    """What stands for target 0 and for target 1: replies, or of a channel descriptions."""
    examples: Examples | None

    @property
    def choice(self) -> str | None:
        """How its examples are chosen, if it has some."""
        return self.examples.choice if self.examples else None


class ChatPrompt(Prompt):
    """A question about a tweet: discriminative, p(label | tweet)."""

    scoring: Scoring
    messages: list[Template] = Field(min_length=1)
    """The examples, if any, go before the last one."""


class ChannelPrompt(Prompt):
    """A description of each label, and how probable it makes the tweet: generative, p(tweet | label) p(label).

    The noisy channel of Min et al. 2022, https://arxiv.org/abs/2108.04106.
    """

    scoring: Literal["channel"]
    context: str
    """What comes before the tweet; {label} is the label's description."""
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


def check_messages(messages: list[Template], allowed: Iterable[str], wanted: Mapping[str, str], where: str) -> None:
    """Refuse messages with unknown variables, or without the `wanted` ones; these with what they are."""
    each = (check_template(message.content, allowed, f"{where}.{place}") for place, message in enumerate(messages))
    named = set[str]().union(*each)
    for name, what in wanted.items():
        if name not in named:
            raise InputError(f"{where}: must contain {{{name}}}, {what}")


def read_prompt(path: Path, labels: list[str]) -> PromptFile:
    """Read and check a prompt file for data of these labels; anything wrong is said before a request is made."""
    values = read_yaml(path)
    channel = isinstance(values, dict) and values.get("scoring") == "channel"
    prompt = validated(ChannelPrompt, values, str(path)) if channel else validated(ChatPrompt, values, str(path))
    no, yes = (word.strip() for word in prompt.label_words)
    if isinstance(prompt, ChannelPrompt):
        if "label" not in check_template(prompt.context, ["label"], f"{path}: context"):
            raise InputError(f"{path}: context: must contain {{label}}, the label's description")
        if not no or not yes or no == yes:
            raise InputError(f"{path}: label_words: must be two descriptions")
    else:
        check_messages(prompt.messages, VARIABLES, {"text": "the tweet"}, f"{path}: messages")
        if prompt.messages[-1].role != "user":
            raise InputError(f"{path}: messages: the last one must be the user's")
        if prompt.examples:
            wanted = {"text": "the tweet", "label": "the label word"}
            check_messages(prompt.examples.messages, (*VARIABLES, "label"), wanted, f"{path}: examples.messages")
        if not no or not yes or no.lower().startswith(yes.lower()) or yes.lower().startswith(no.lower()):
            raise InputError(f"{path}: label_words: must be two words, neither the beginning of the other")
    if prompt.labels not in (None, labels):  # it would be answered, and its answers would mean nothing
        raise InputError(
            f"{path}: labels: it asks about {' / '.join(prompt.labels or [])}, and data.labels in params.yaml are "
            f"{' / '.join(labels)}; name a prompt for these in classifiers.prompts, such as any_zero_shot"
        )
    return prompt.model_copy(update={"labels": labels})


def render(prompt: ChatPrompt, examples: list[Tweet], tweet: Tweet, sanitize: Sanitize) -> list[Message]:
    """The chat messages that ask about one tweet. What a tweet lacks is "none"; braces of a value stay text."""
    names = {"labels": " or ".join(prompt.labels), "positive": prompt.labels[1]} if prompt.labels else {}

    def fill(templates: list[Template], tweet: Tweet) -> list[Message]:
        own = {name: sanitize(tweet[name]) if pd.notna(tweet[name]) else "none" for name in FIELDS}
        label = {"label": prompt.label_words[int(tweet["label"])]} if "label" in tweet else {}
        return [
            {"role": template.role, "content": template.content.format(**own, **names, **label)}
            for template in templates
        ]

    asked = fill(prompt.messages, tweet)
    how = prompt.examples.messages if prompt.examples else []
    before = [turn for example in examples for turn in fill(how, example)]
    return [*asked[:-1], *before, asked[-1]]


def render_channel(prompt: ChannelPrompt, tweet: Tweet, sanitize: Sanitize) -> list[tuple[str, str]]:
    """For each label: what comes before the tweet, and the tweet, a space before it."""
    text = " " + sanitize(tweet["text"])
    return [(prompt.context.format(label=word).rstrip(), text) for word in prompt.label_words]
