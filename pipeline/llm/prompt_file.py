"""Prompt files: how a tweet becomes messages, and which words stand for the two labels."""

from pathlib import Path
from string import Formatter

import pandas as pd
from pydantic import Field

from pipeline.contracts import InputError, Params, read_yaml, validated

VARIABLES = {"text", "keyword", "location"}
Message = dict[str, str]


class Examples(Params):
    """Labelled tweets shown before the question: the same for all tweets of a fold, half of them of each label."""

    count: int = Field(ge=2, multiple_of=2)
    seed: int = Field(ge=0)


class PromptFile(Params):
    """One way to ask. `user` is filled in for each example and for the tweet itself; examples are answered by label words."""

    version: int
    """Raise it with every change of wording: scores are compared by it."""
    system: str | None
    user: str
    label_words: list[str] = Field(min_length=2, max_length=2)
    """The answers that stand for target 0 and for target 1."""
    examples: Examples | None


def read_prompt(path: Path) -> PromptFile:
    """Read and check a prompt file; anything wrong is said before a request is made."""
    prompt = validated(PromptFile, read_yaml(path), str(path))
    try:
        named = {name for _, name, _, _ in Formatter().parse(prompt.user) if name is not None}
    except ValueError as error:
        raise InputError(f"{path}: user: {error}; write a brace as {{{{ or }}}}") from None
    if unknown := named - VARIABLES:
        raise InputError(
            f"{path}: user: no variable {', '.join(map(repr, unknown))}; there are {', '.join(sorted(VARIABLES))}"
        )
    if "text" not in named:
        raise InputError(f"{path}: user: must contain {{text}}, the tweet")
    no, yes = (word.strip().lower() for word in prompt.label_words)
    if not no or not yes or no.startswith(yes) or yes.startswith(no):
        raise InputError(f"{path}: label_words: must be two words, neither the beginning of the other")
    return prompt


def choose_examples(train: pd.DataFrame, examples: Examples) -> pd.DataFrame:
    """Balanced, seeded examples, labels in turn, each from another near-duplicate group that carries one label only."""
    clear = train[train["train_target"].notna()]
    clear = clear[clear.groupby("group")["train_target"].transform("nunique") == 1].drop_duplicates("group")
    half = examples.count // 2
    if (rarest := clear["train_target"].value_counts().reindex([0, 1], fill_value=0).min()) < half:
        raise InputError(f"prompt examples: {half} of each label are wanted, {rarest} are there")
    chosen = [clear[clear["train_target"] == label].sample(half, random_state=examples.seed) for label in (0, 1)]
    return pd.concat(chosen).assign(turn=[*range(half), *range(half)]).sort_values(["turn", "train_target"])


def fill(template: str, tweet: pd.Series) -> str:
    """The template with the tweet's fields in place of its variables; a tweet's own braces stay text."""
    return template.format(**{name: tweet[name] if pd.notna(tweet[name]) else "none" for name in VARIABLES})


def render(prompt: PromptFile, examples: pd.DataFrame | None, tweet: pd.Series) -> list[Message]:
    """The chat messages that ask about one tweet."""
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    for _, example in examples.iterrows() if examples is not None else ():
        messages.append({"role": "user", "content": fill(prompt.user, example)})
        messages.append({"role": "assistant", "content": prompt.label_words[example["train_target"]]})
    return [*messages, {"role": "user", "content": fill(prompt.user, tweet)}]
