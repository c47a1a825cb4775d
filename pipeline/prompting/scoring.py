"""Scoring modes: what each asks of an endpoint, and how answers become P(target = 1). Pure functions, no guesses."""

import json
import math
import re
from contextlib import suppress

from scipy.special import expit, logit

from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.capabilities import Capabilities, reply_format
from pipeline.prompting.params import Sampling
from pipeline.prompting.prompt_file import Message, Mode

_THOUGHT = re.compile(r"\A.*</think>|<think>.*\Z", re.DOTALL | re.IGNORECASE)
LEAST = 1e-9  # of a label word that is not among the tokens shown
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_ANNOUNCED = re.compile(r"\b(?:answer|label|verdict)(?: is|\W*[:=])", re.IGNORECASE)
_AROUND = " \t\n\r.,:;!\"'*_`()[]{}‹›<>▁Ġ"


def requests(
    mode: Mode,
    messages: list[Message],
    label_words: list[str],
    can: Capabilities,
    sampling: Sampling,
    reply_tokens: int,
) -> list[Request]:
    """What to send about one tweet: one request, or, where an endpoint gives one reply at a time, one a vote."""
    asked: Request = {"messages": messages}
    if mode == "logprobs":
        return [asked | can.greedy(1) | {"logprobs": True, "top_logprobs": can.top_logprobs}]
    if can.structured:
        asked |= {"response_format": reply_format(label_words)}
    if mode == "text":
        return [asked | can.greedy(reply_tokens)]
    asked |= {can.length: reply_tokens, "temperature": sampling.temperature}
    if can.choices:
        return [asked | {"n": sampling.replies} | ({"seed": 0} if can.seed else {})]
    return [asked | {"vote": vote} | ({"seed": vote} if can.seed else {}) for vote in range(sampling.replies)]


def score(mode: Mode, answers: list[Answer], label_words: list[str], prior: float) -> float | None:
    """P(target = 1) from the answers to what was asked about one tweet; None where they cannot be read.

    `prior` is P(target = 1) before the tweet is seen: only `channel` needs it, in the other modes the model brings its own.
    """
    if mode == "channel":
        return score_channel([answer.text_logprob for answer in answers], prior)
    if mode == "logprobs":
        return score_logprobs(answers[0].top_logprobs, label_words)
    votes = [parse_reply(reply, label_words) for answer in answers for reply in answer.replies]
    read = [vote for vote in votes if vote is not None]
    return sum(read) / len(read) if read else None


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


def score_channel(text_logprobs: list[float | None], prior: float) -> float | None:
    """P(target = 1) by Bayes' rule from log p(tweet | label) of both labels and the share of target 1."""
    no, yes = text_logprobs
    return None if no is None or yes is None else float(expit(yes - no + logit(prior)))
