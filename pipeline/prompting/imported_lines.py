"""The lines of imported answers: what each says of one tweet, checked against the prepared ones."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import Field, ValidationError

from pipeline.contracts import InputError, Params, Prepared
from pipeline.data.clean import clean
from pipeline.prompting.answers import Answer, Line, Request, request_key
from pipeline.prompting.prompt_file import harmless

Kind = Literal["transcript", "score", "reply", "label"]
WHOLE = 10**9


class Usage(Params):
    """What an answer took, as far as the line says it."""

    model: str | None = None
    prompt_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0)


class Plain(Usage):
    """A line that somebody else wrote. It has one of the three fields of the classes below."""

    id: int
    text: str | None = None
    """The tweet as it was shown, raw or cleaned: to be sure that it is the same."""
    examples: list[int] = Field(default=[])
    """Ids of the train tweets whose labels were shown before the question."""


class OfScore(Plain):
    score: float | None = Field(ge=0, le=1)
    """P(target = 1); null for a reply that could not be read."""


class OfReply(Plain):
    reply: str


class OfLabel(Plain):
    label: int | str
    """0, 1, or a label word."""


class OfTranscript(Line):
    """A line of transcripts/: as written by the stage prompt."""

    uncalibrated: float | None = Field(default=None, ge=0, le=1)


PLAIN: dict[Kind, type[Plain]] = {"score": OfScore, "reply": OfReply, "label": OfLabel}


@dataclass(frozen=True)
class Told:
    """What a line says: of a tweet, or (id of None) of the endpoint."""

    where: str
    kind: Kind
    id: int | None
    line: OfTranscript | Plain
    shown: set[int | str] = field(default_factory=set)
    """The examples that were shown before the question, by id or as text."""
    gave_away: bool = False
    """Whether the tweet itself, or a near-duplicate, was among them: its label was shown."""

    def used(self) -> dict[str, Usage]:
        """What its answers took, by question: two tweets of the same text are one question."""
        if isinstance(self.line, Plain):
            said = {name: getattr(self.line, name) for name in Usage.model_fields}
            return {self.where: Usage(**said)}
        name = self.line.identity
        model = name.partition(" ")[2] if name.startswith("http") else name  # an address and a model, or a file's hash
        return {
            request_key(name, pair.request): Usage(
                model=model,
                **pair.answer.model_dump(include={"prompt_tokens", "cached_tokens", "completion_tokens", "seconds"}),
            )
            for pair in self.line.asked
        }

    def answers(self) -> list[Answer]:
        return [pair.answer for pair in self.line.asked] if isinstance(self.line, OfTranscript) else []


class Known(NamedTuple):
    """The prepared tweets, to look lines up in: `tweets` by id, and the train tweets' texts by group."""

    tweets: pd.DataFrame
    of_group: dict[int, list[str]]


def known(prepared: Prepared) -> Known:
    tweets = pd.concat([prepared.train, prepared.test])[["id", "text", "raw_text", "group"]].set_index("id")
    train = prepared.train.groupby("group")["text"].agg(list)
    return Known(tweets, {int(str(group)): texts for group, texts in train.items()})


def parse(text: bytes, where: str) -> tuple[Kind, OfTranscript | Plain]:
    """A line's kind and content; what is wrong with it as an `InputError` that names the column."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError, too
        raise InputError(f"{where}: not JSON: {error}") from None
    kinds = [kind for kind in ("asked", *PLAIN) if isinstance(values, dict) and kind in values]
    if "asked" in kinds:
        kind: Kind = "transcript"
        model: Callable[[Any], OfTranscript | Plain] = OfTranscript.model_validate
    elif len(kinds) == 1:
        kind = next(one for one in PLAIN if one in kinds)
        model = PLAIN[kind].model_validate
    else:
        raise InputError(f"{where}: must have one of score, reply and label, or be a transcript's line")
    try:
        return kind, model(values)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}, column {column}: {first['msg']} (it is {first['input']!r:.60})") from None


def shows(content: str, text: str) -> bool:
    """Whether a tweet stands in what was asked, whole or cut off with an ellipsis.

    A short one may stand in a longer one: then it was not shown, and is taken for shown.
    """
    whole = harmless(text, WHOLE)
    if whole in content:
        return True
    for cut in (place for place, character in enumerate(content) if character == "…"):
        start = content.rfind(whole[:19], 0, cut)  # no tweet is cut before that
        if start >= 0 and whole.startswith(content[start:cut]):
            return True
    return False


def examples_of(request: Request) -> list[str]:
    """The messages with which examples were shown: the user's, but the last one."""
    return [message["content"] for message in request.get("messages", [])[:-1] if message.get("role") == "user"]


def question_of(request: Request) -> str:
    messages = request.get("messages")
    return str(messages[-1]["content"] if messages else request.get("prompt", ""))


def check(kind: Kind, line: OfTranscript | Plain, tweets: Known, where: str) -> Told:
    """A line held against the tweet that it is about; another one is an `InputError`."""
    if line.id is None:
        return Told(where, kind, None, line)
    if line.id not in tweets.tweets.index:
        raise InputError(
            f"{where}, column id: {line.id} is not among the prepared tweets: these answers are about others"
        )
    tweet = tweets.tweets.loc[line.id]
    if isinstance(line, Plain):
        if line.text is not None and line.text != tweet["raw_text"] and clean(line.text) != tweet["text"]:
            raise InputError(f"{where}, column text: not that of tweet {line.id}: these answers are about others")
        for example in line.examples:
            if example not in tweets.tweets.index:
                raise InputError(f"{where}, column examples: {example} is not among the prepared tweets")
        own = any(tweets.tweets.loc[example, "group"] == tweet["group"] for example in line.examples)
        return Told(where, kind, line.id, line, set(line.examples), own)
    if not line.asked:
        raise InputError(f"{where}, column asked: nothing was asked about tweet {line.id}")
    shown: set[int | str] = set()
    for pair in line.asked:
        if not shows(question_of(pair.request), str(tweet["text"])):
            raise InputError(
                f"{where}, column asked: does not show the text of tweet {line.id}: these answers are about other tweets"
            )
        shown.update(examples_of(pair.request))
    near = tweets.of_group.get(int(str(tweet["group"])), [])
    own = any(shows(str(example), text) for example in shown for text in near)
    return Told(where, kind, line.id, line, shown, own)


def read_folder(folder: Path, prepared: Prepared) -> Iterator[Told]:
    """The lines of a folder's *.jsonl, all of one kind, each tweet once."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no such folder, or no *.jsonl in it; put the answers there")
    tweets, places, kinds = known(prepared), dict[int, str](), dict[Kind, str]()
    for path in paths:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                where = f"{path}: line {number}"
                told = check(*parse(text, where), tweets, where)
                kinds.setdefault(told.kind, where)
                if len(kinds) > 1:
                    first = next(iter(kinds))
                    raise InputError(f"{where}: a {told.kind}, where {kinds[first]} is a {first}; one folder, one kind")
                if told.id is not None and (before := places.setdefault(told.id, where)) != where:
                    raise InputError(
                        f"{where}, column id: {told.id} is there twice, in {before} too; one folder, one prompt"
                    )
                yield told
