"""Scoring modes: what each needs of an endpoint, what it asks about a tweet, how answers become P(target = 1).

A new mode is a class here, named in `CHAT` (best first), and its name in `prompt_file.Scoring`.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

from scipy.special import expit, logit
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.ask import Asker
from pipeline.prompting.prompt_file import ChannelPrompt, Message, PromptFile, Tweet, render, render_channel
from pipeline.prompting.sanitize import Sanitize, sanitized, special_tokens

TRIALS: list[Tweet] = [
    {"text": text, "keyword": None, "location": None, "label": label}
    for label, text in enumerate(["Good morning, everyone", "Fire in the harbour, many hurt"])
]
"""What an endpoint is tried with, within the prompt's own messages; also as examples."""
FLOOR = 0.01
"""What the label words must hold together of the first token's probability: a score from less comes of rounding."""
LEAST = 1e-9  # of a label word that is not among the tokens shown
_THINK = r"(?:think|thinking|thought|reasoning|seed:think)"
_THOUGHT = re.compile(
    rf"\A.*(?:</{_THINK}>|\[/think\]|<\|channel\|>final<\|message\|>)|(?:<{_THINK}>|\[think\]|<\|channel\|>analysis).*\Z",
    re.DOTALL | re.IGNORECASE,
)
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_ANNOUNCED = re.compile(r"\b(?:answer|label|verdict)(?: is|\W*[:=])", re.IGNORECASE)
_AROUND = " \t\n\r.,:;!\"'*_`()[]{}‹›<>▁Ġ"


class UnableError(Exception):
    """What an endpoint does in place of a mode."""


@dataclass(frozen=True)
class Chat:
    """What any chat request to an endpoint may hold."""

    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name that it has for the longest reply."""
    temperature: bool = False
    system: bool = True
    """Whether there may be a system message; else its text begins the first message of the user."""
    effort: str | None = None

    def ask(self, messages: list[Message]) -> Request:
        if not self.system and messages[0]["role"] == "system":
            first, second, *others = messages
            messages = [second | {"content": f"{first['content']}\n\n{second['content']}"}, *others]
        return {"messages": messages} | ({"reasoning_effort": self.effort} if self.effort else {})

    def greedy(self, tokens: int) -> dict[str, Any]:
        """Settings for the most probable reply, or as near to it as the endpoint lets one come."""
        return {self.length: tokens} | ({"temperature": 0.0} if self.temperature else {})


@dataclass(frozen=True)
class Mode(ABC):
    """A prompt's scoring on one endpoint. `score` is P(target = 1), None where the replies cannot be read."""

    name: ClassVar[str]
    hard: ClassVar[bool] = False
    """Whether its scores are 0 or 1, out of which no bias can be taken."""
    asker: Asker
    prompt: Any
    chat: Chat
    sanitize: Sanitize

    @abstractmethod
    async def able(self) -> Self:
        """The mode as the endpoint can do it; `UnableError` if it cannot. Its answers count: some ignore what they cannot do."""

    @abstractmethod
    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        """What to send about one tweet."""

    @abstractmethod
    def score(self, answers: list[Answer], prior: float, /) -> float | None:
        """From the answers to `requests`, and P(target = 1) before the tweet is seen, which only `channel` has to be told."""

    def reads(self, answer: Answer) -> bool:
        """Whether one answer says something."""
        return self.score([answer], 0.5) is not None

    def label_mass(self, _: list[Answer], /) -> float | None:
        """What the label words hold of the first token's probability, where that is known."""
        return None

    def asked(self, tweet: Tweet, examples: list[Tweet]) -> Request:
        return self.chat.ask(render(self.prompt, examples, tweet, self.sanitize))

    def trials(self) -> list[Request]:
        """What the mode asks about tweets that are nobody's."""
        return [self.requests(tweet, TRIALS if self.prompt.examples else [])[0] for tweet in TRIALS]

    async def tried(self) -> Answer:
        """The first answer to them that can be read, or is a refusal; else the last."""
        for trial in self.trials():
            answer = await self.asker.probe(trial)
            if answer.refused or self.reads(answer):
                break
        return answer

    def check(self, answer: Answer) -> None:
        if not self.reads(answer):
            raise UnableError(answer.in_short())


class Channel(Mode):
    """How probable each label's description makes the tweet."""

    name = "channel"

    async def able(self) -> Self:
        if self.asker.endpoint.kind == "local":
            tqdm.write(
                f"{self.asker.name}: scored by transformers: llama.cpp's server gives no log-probabilities of prompts"
            )
            return self
        answer = await self.asker.probe(self.trials()[0], plain=True)
        if answer.text_logprob is None:
            why = f" ({answer.in_short()})" if answer.refused else ""
            raise UnableError(
                f"it gives no log-probabilities of prompts{why}; vLLM does, and so does the local model (prompt.base_url: null)"
            )
        return self

    def requests(self, tweet: Tweet, _: list[Tweet], /) -> list[Request]:
        return [
            {"prompt": context + text, "context": len(context), "echo": True, "logprobs": 1, "max_tokens": 1}
            for context, text in render_channel(self.prompt, tweet, self.sanitize)
        ]

    def score(self, answers: list[Answer], prior: float, /) -> float | None:
        no, yes = (answer.text_logprob for answer in answers)
        return None if no is None or yes is None else float(expit(yes - no + logit(prior)))

    def reads(self, answer: Answer) -> bool:
        return answer.text_logprob is not None


@dataclass(frozen=True)
class Logprobs(Mode):
    """One token and its most probable rivals."""

    name = "logprobs"
    top: int = 20
    """How many of the most probable tokens the endpoint lists."""

    async def able(self) -> Self:
        if not (answer := await self.tried()).top_logprobs:
            answer = await replace(self, top=5).tried()
        if not answer.top_logprobs:
            raise UnableError(answer.in_short() if answer.refused else "it lists no tokens")
        self.check(answer)
        return replace(self, top=len(answer.top_logprobs))

    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        return [self.asked(tweet, examples) | self.chat.greedy(1) | {"logprobs": True, "top_logprobs": self.top}]

    def score(self, answers: list[Answer], _: float, /) -> float | None:
        return score_logprobs(answers[0].top_logprobs, self.prompt.label_words)

    def label_mass(self, answers: list[Answer], /) -> float | None:
        top = answers[0].top_logprobs
        return sum(map(sum, of_labels(top, self.prompt.label_words))) if top else None


@dataclass(frozen=True)
class Text(Mode):
    """One reply, kept to a JSON schema where that is possible."""

    name = "text"
    hard = True
    structured: bool = False
    """Whether the endpoint keeps replies to a JSON schema."""

    async def able(self) -> Self:
        mode = replace(self, structured=True)
        answer = await mode.tried()
        if not mode.reads(answer) or not all("{" in reply for reply in answer.replies):
            mode = self
            answer = await mode.tried()
        mode.check(answer)
        return mode

    def asked(self, tweet: Tweet, examples: list[Tweet]) -> Request:
        how = {"response_format": reply_format(self.prompt.label_words)} if self.structured else {}
        return super().asked(tweet, examples) | how

    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        return [self.asked(tweet, examples) | self.chat.greedy(self.asker.params.reply_tokens)]

    def score(self, answers: list[Answer], _: float, /) -> float | None:
        """The share of label 1 among the replies that can be read."""
        read = [parse_reply(reply, self.prompt.label_words) for answer in answers for reply in answer.replies]
        votes = [vote for vote in read if vote is not None]
        return sum(votes) / len(votes) if votes else None


@dataclass(frozen=True)
class Sample(Text):
    """Several replies, put to the vote."""

    name = "sample"
    hard = False
    choices: bool = False
    """Whether the endpoint gives several replies to one request; else each vote is a request."""
    seed: bool = False
    """Whether sampling can be repeated."""

    async def able(self) -> Self:
        if not self.chat.temperature:
            raise UnableError("it takes no temperature")
        mode = await super().able()
        several = await self.asker.probe(mode.trials()[0] | {"n": 2})
        seeded = await self.asker.probe(mode.trials()[0] | {"seed": 0})
        return replace(mode, choices=len(several.replies) == 2, seed=not seeded.refused)

    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        params = self.asker.params
        how = {self.chat.length: params.reply_tokens, "temperature": params.sampling.temperature}
        asked, votes = self.asked(tweet, examples) | how, params.sampling.replies
        if self.choices:
            return [asked | {"n": votes} | ({"seed": 0} if self.seed else {})]
        return [asked | {"vote": vote} | ({"seed": vote} if self.seed else {}) for vote in range(votes)]


CHAT: tuple[type[Mode], ...] = (Logprobs, Sample, Text)
"""The modes that a chat can fall back to, best first: each tells less about how sure the model is."""


async def choose_mode(asker: Asker, prompt: PromptFile, sanitize: Sanitize | None = None) -> Mode:
    """The prompt's mode, or the next one down that the endpoint can do: one for the whole run."""
    sanitize = sanitize or partial(
        sanitized, longest=asker.params.max_characters, own=special_tokens(asker.endpoint.file)
    )
    ladder: tuple[type[Mode], ...]
    if isinstance(prompt, ChannelPrompt):
        ladder, chat = (Channel,), Chat()
    else:
        ladder = CHAT[[mode.name for mode in CHAT].index(prompt.scoring) :]
        chat = await find_out(asker, render(prompt, TRIALS if prompt.examples else [], TRIALS[0], sanitize))
    cannot = []
    for wanted in ladder:
        try:
            mode = await wanted(asker, prompt, chat, sanitize).able()
        except UnableError as error:
            cannot.append(f"{wanted.name}: {error}")
            continue
        if cannot:
            print(f"{asker.name}: the endpoint cannot do {'; '.join(cannot)}; the whole run is scored by {mode.name}")
        return mode
    raise InputError(f"{asker.name}: the endpoint cannot do {'; '.join(cannot)}")


async def find_out(asker: Asker, messages: list[Message]) -> Chat:
    """What the endpoint can do of what all chats need, tried with the prompt's own messages.

    If it refuses them in every form, that is not kept: the model or the account is refused, and that may change.
    """
    refused: list[tuple[Request, Answer]] = []
    for system in (True, False) if messages[0]["role"] == "system" else (True,):
        for length in ("max_tokens", "max_completion_tokens"):
            chat = Chat(length, system=system, effort=asker.params.reasoning_effort)
            request = chat.ask(messages) | {length: max(asker.params.reply_tokens, 32)}
            plain = await asker.probe(request, plain=True)
            if not plain.refused:
                if not system and not (await asker.probe(refused[0][0], plain=True)).refused:  # that was of the moment
                    return await find_out(asker, messages)
                for before in refused:
                    asker.keep(*before)
                if not system:
                    print(f"{asker.name}: the endpoint takes no system message; its text goes before the user's")
                cold = await asker.probe(request | {"temperature": 0.0})
                return replace(chat, temperature=not cold.refused)
            refused.append((request, plain))
            if plain.refused >= 500:  # nothing that it says of a name
                break
    raise InputError(
        f"{asker.name}: the endpoint refused a plain question ({refused[0][1].in_short()}); check prompt.model and "
        "prompt.base_url, and for a model that thinks first whether prompt.reply_tokens is enough"
    )


def reply_format(label_words: list[str]) -> dict[str, Any]:
    """A JSON schema that leaves no room for anything but a label word."""
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": label_words}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def parse_reply(reply: str, label_words: list[str]) -> int | None:
    """The label that a free or structured reply states; None where it states none, or both.

    A label is stated where the reply is JSON with that label, is or begins with it ("Yes, it ..."), announces it
    ("Answer: Yes"), or has it alone on its last line. A label word within a sentence ("I have no idea") states nothing.
    """
    reply = _THOUGHT.sub("", reply).strip()
    if whole := _OBJECT.search(reply):
        # braces of another kind: the reply is read as text
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            reply = str(json.loads(whole[0])["label"])
    words = [word.strip(_AROUND).casefold() for word in label_words]
    stated = set()
    for candidate in (reply, *_ANNOUNCED.split(reply)[1:], *reply.splitlines()[-1:]):
        said = candidate.strip(_AROUND).casefold()
        for label, (word, other) in enumerate((words, words[::-1])):
            # The word alone, or the word and a mark: "No doubt about it" begins with a label word and does not state it.
            if not re.match(re.escape(word) + r"(?:\Z|\s*(?!-\w)[^\w\s]|[ \t]*\n)", said):
                continue
            # "Yes or no", "Yes. No.", but not "Yes, no doubt about it".
            if re.match(rf"{re.escape(word)}\W+(?:or\W+|and\W+)?{re.escape(other)}(?:\W*\Z|[^\w\s])", said):
                return None
            stated.add(label)
    return stated.pop() if len(stated) == 1 else None


def label_of(token: str, label_words: list[str]) -> int | None:
    """The label whose word this token is or begins, whatever its case and surrounding space or punctuation.

    A beginning counts from two letters on: tokenizers cut words ("dis", "aster"), and a single letter says too little.
    """
    token = token.strip(_AROUND).lower()
    words = [word.strip(_AROUND).lower() for word in label_words]
    labels = [n for n, word in enumerate(words) if token == word or (len(token) >= 2 and word.startswith(token))]
    return labels[0] if len(labels) == 1 else None


def of_labels(top_logprobs: list[tuple[str, float]], label_words: list[str]) -> list[list[float]]:
    """The probabilities of the tokens that are a spelling of label 0, and of those that are one of label 1."""
    found: list[list[float]] = [[], []]
    for token, logprob in top_logprobs:
        if (label := label_of(token, label_words)) is not None:
            found[label].append(math.exp(logprob))
    return found


def score_logprobs(top_logprobs: list[tuple[str, float]], label_words: list[str]) -> float | None:
    """P(target = 1) from the most probable first tokens and their log-probabilities; None if label words hold less than `FLOOR`.

    The probabilities of all spellings of a word are summed. A word that is not listed is at most as probable as the last
    token that is, and as what all of them leave; it is taken to be just that: certainty is not claimed from a cut list.
    """
    no, yes = map(sum, of_labels(top_logprobs, label_words))
    if no + yes < FLOOR:
        return None
    probabilities = [math.exp(logprob) for _, logprob in top_logprobs]
    rest = max(LEAST, min(*probabilities, 1 - sum(probabilities)))
    no, yes = no or rest, yes or rest
    return yes / (yes + no)
