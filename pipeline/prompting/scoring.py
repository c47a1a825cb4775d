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
from pipeline.prompting.prompt_file import (
    ChannelPrompt,
    PromptFile,
    Sanitize,
    Tweet,
    render,
    render_channel,
    sanitized,
)

QUESTION: Request = {
    "messages": [{"role": "user", "content": "Is the sky above the clouds? Answer with one word, Yes or No."}]
}
LEAST = 1e-9  # of a label word that is not among the tokens shown
_THOUGHT = re.compile(r"\A.*</think>|<think>.*\Z", re.DOTALL | re.IGNORECASE)
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_ANNOUNCED = re.compile(r"\b(?:answer|label|verdict)(?: is|\W*[:=])", re.IGNORECASE)
_AROUND = " \t\n\r.,:;!\"'*_`()[]{}‹›<>▁Ġ"


@dataclass(frozen=True)
class Chat:
    """What any chat request to an endpoint may hold."""

    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name that it has for the longest reply."""
    temperature: bool = False

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
    async def able(self) -> Self | None:
        """The mode as the endpoint can do it, None if it cannot. Its answers count: some ignore what they cannot do."""

    @abstractmethod
    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        """What to send about one tweet."""

    @abstractmethod
    def score(self, answers: list[Answer], prior: float, /) -> float | None:
        """From the answers to `requests`, and P(target = 1) before the tweet is seen, which only `channel` has to be told."""

    def asked(self, tweet: Tweet, examples: list[Tweet]) -> Request:
        return {"messages": render(self.prompt, examples, tweet, self.sanitize)}


class Channel(Mode):
    """How probable each label's description makes the tweet."""

    name = "channel"

    async def able(self) -> Self | None:
        if self.asker.endpoint.kind == "local":
            tqdm.write(
                f"{self.asker.name}: scored by transformers: llama.cpp's server gives no log-probabilities of prompts"
            )
            return self
        if (await self.asker.probe(scored("The sky is", " above."), keep_refusal=False)).text_logprob is None:
            raise InputError(
                "prompt: the endpoint gives no log-probabilities of prompts, which scoring: channel needs; vLLM does, and "
                "so does the local model (prompt.base_url: null)"
            )
        return self

    def requests(self, tweet: Tweet, _: list[Tweet], /) -> list[Request]:
        return [scored(context, text) for context, text in render_channel(self.prompt, tweet, self.sanitize)]

    def score(self, answers: list[Answer], prior: float, /) -> float | None:
        no, yes = (answer.text_logprob for answer in answers)
        return None if no is None or yes is None else float(expit(yes - no + logit(prior)))


@dataclass(frozen=True)
class Logprobs(Mode):
    """One token and its most probable rivals."""

    name = "logprobs"
    top: int = 0
    """How many of the most probable tokens the endpoint lists."""

    async def able(self) -> Self | None:
        for top in (20, 5):
            found = await self.asker.probe(self.settings(QUESTION, top))
            if found.top_logprobs:
                await check_label_words(self.asker, self.prompt.label_words)
                return replace(self, top=len(found.top_logprobs))
        return None

    def settings(self, asked: Request, top: int) -> Request:
        return asked | self.chat.greedy(1) | {"logprobs": True, "top_logprobs": top}

    def requests(self, tweet: Tweet, examples: list[Tweet], /) -> list[Request]:
        return [self.settings(self.asked(tweet, examples), self.top)]

    def score(self, answers: list[Answer], _: float, /) -> float | None:
        return score_logprobs(answers[0].top_logprobs, self.prompt.label_words)


@dataclass(frozen=True)
class Text(Mode):
    """One reply, kept to a JSON schema where that is possible."""

    name = "text"
    hard = True
    structured: bool = False
    """Whether the endpoint keeps replies to a JSON schema."""

    async def able(self) -> Self | None:
        how = {"response_format": reply_format(["Up", "Down"])}
        found = await self.asker.probe(QUESTION | self.chat.greedy(room(self.asker)) | how)
        structured = False
        with suppress(ValueError, KeyError, TypeError):  # no model would say that by itself: it was asked for Yes or No
            structured = [json.loads(reply)["label"] in ("Up", "Down") for reply in found.replies] == [True]
        return replace(self, structured=structured)

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

    async def able(self) -> Self | None:
        if not self.chat.temperature or (mode := await super().able()) is None:
            return None
        sampled = QUESTION | {self.chat.length: room(self.asker), "temperature": 1.0}
        several = await self.asker.probe(sampled | {"n": 2})
        seeded = await self.asker.probe(sampled | {"seed": 0})
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
    """The prompt's mode, or the next one down that the endpoint can do: one for the whole run.

    A tweet's text is `sanitized` unless it is said how else to show it.
    """
    sanitize = sanitize or partial(sanitized, longest=asker.params.max_characters)
    ladder: tuple[type[Mode], ...]
    if isinstance(prompt, ChannelPrompt):
        ladder, chat = (Channel,), Chat()
    else:
        ladder, chat = CHAT[[mode.name for mode in CHAT].index(prompt.scoring) :], await find_out(asker)
    for wanted in ladder:
        if mode := await wanted(asker, prompt, chat, sanitize).able():
            if mode.name != prompt.scoring:
                can = f"the endpoint cannot do scoring: {prompt.scoring}; the whole run is scored by {mode.name}"
                print(f"{asker.name}: {can}")
            return mode
    raise InputError(f"{asker.name}: the endpoint can do no scoring from {prompt.scoring} down")


def room(asker: Asker) -> int:
    """Tokens for a reply to `QUESTION`: a model that thinks first may refuse it if there is not enough."""
    return max(asker.params.reply_tokens, 32)


async def find_out(asker: Asker) -> Chat:
    """What the endpoint can do of what all chats need.

    A refusal of both names for the length is not kept: the model or the account is refused, and that may change.
    """
    tokens, chat = room(asker), Chat()
    plain = await asker.probe(QUESTION | {"max_tokens": tokens}, keep_refusal=False)
    if plain.refused:
        if (await asker.probe(QUESTION | {"max_completion_tokens": tokens}, keep_refusal=False)).refused:
            raise InputError(
                "prompt: the endpoint refused a simple question; check prompt.model, and for a model that thinks first whether "
                "prompt.reply_tokens is enough"
            )
        asker.keep(QUESTION | {"max_tokens": tokens}, plain)
        chat = Chat(length="max_completion_tokens")
    cold = await asker.probe(QUESTION | {chat.length: tokens, "temperature": 0.0})
    return replace(chat, temperature=not cold.refused)


def scored(context: str, text: str) -> Request:
    """A request for log p(text | context)."""
    return {"prompt": context + text, "context": len(context), "echo": True, "logprobs": 1, "max_tokens": 1}


def reply_format(label_words: list[str]) -> dict[str, Any]:
    """A JSON schema that leaves no room for anything but a label word."""
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": label_words}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


async def check_label_words(asker: Asker, label_words: list[str]) -> None:
    """Refuse label words that the model's tokenizer begins with the same token: their probabilities could not be told apart.

    Where the endpoint does not show its tokens, words that begin with the same two letters are refused.
    """
    answers = []
    for word in label_words:
        answers.append(answer := await asker.probe({"tokenize": word.strip()}))
        if answer.refused:
            no, yes = (word.strip().lower()[:2] for word in label_words)
            if no == yes:
                raise InputError(
                    f"{asker.name}: label_words: both begin with {no!r}, so may share their first token; take others"
                )
            return
    if answers[0].replies[0] == answers[1].replies[0]:
        raise InputError(f"{asker.name}: label_words: both begin with the same token for this model; take others")


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


def score_logprobs(top_logprobs: list[tuple[str, float]], label_words: list[str]) -> float | None:
    """P(target = 1) from the most probable first tokens and their log-probabilities; None if no label word is among them.

    The probabilities of all spellings of a word are summed. A word that is not listed is at most as probable as the last
    token that is, and as what all of them leave; it is taken to be just that: certainty is not claimed from a cut list.
    """
    probabilities = [math.exp(logprob) for _, logprob in top_logprobs]
    mass: list[list[float]] = [[], []]
    for (token, _), probability in zip(top_logprobs, probabilities, strict=True):
        if (label := label_of(token, label_words)) is not None:
            mass[label].append(probability)
    if not any(sum(found) for found in mass):
        return None
    rest = max(LEAST, min(*probabilities, 1 - sum(probabilities)))
    no, yes = (sum(found) or rest for found in mass)
    return yes / (yes + no)
