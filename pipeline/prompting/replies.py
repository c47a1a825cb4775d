"""What comes over the wire, as answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from openai.types import Completion
from openai.types.chat import ChatCompletion

from pipeline.contracts import without_secrets
from pipeline.prompting.answers import MOST_TOKENS, Answer, Request
from pipeline.prompting.faults import UnreadableError

WRONG = (AttributeError, LookupError, TypeError, ValueError)
"""What reading raises: the client checks nothing, and hands on as text what is not JSON."""


def part(whole: Any, *path: Any) -> Any:
    """What stands at a path of attributes, keys and places; None where nothing does."""
    for step in path:
        try:
            whole = whole[step] if isinstance(whole, dict | list) else getattr(whole, str(step))
        except (AttributeError, LookupError, TypeError):
            return None
    return whole


def read_chat(completion: ChatCompletion, seconds: float) -> Answer:
    """The answer in a chat completion. A field that is not as it should be is as good as absent, and the others count."""
    choices = part(completion, "choices")
    if not isinstance(choices, list) or not choices or any(part(choice, "message") is None for choice in choices):
        raise UnreadableError("no chat completion")
    replies = [without_secrets(text_of(part(choice, "message", "content"))) for choice in choices]
    ended = part(choices, 0, "message", "refusal") or part(choices, 0, "finish_reason")
    return Answer(
        replies=replies,
        top_logprobs=top_of(part(choices, 0, "logprobs")),
        said="" if any(replies) or ended in ("stop", "length", None) else without_secrets(str(ended))[:150],
        **usage_of(completion),
        seconds=seconds,
    )


def text_of(content: Any) -> str:
    """A message's text, which may be in parts; what is thought in between is none."""
    if isinstance(content, list):
        return "".join(text_of(one if isinstance(one, str) else part(one, "text")) for one in content)
    return content if isinstance(content, str) else ""


def top_of(logprobs: Any) -> list[tuple[str, float]]:
    """The most probable first tokens with their log-probabilities, in any of the forms that servers have for them."""
    ways = (("content", 0, "top_logprobs"), (0, "top_logprobs"), ("top_logprobs", 0))
    first = next((found for way in ways if isinstance(found := part(logprobs, *way), list | dict)), [])
    listed = [(part(one, "token"), part(one, "logprob")) for one in first] if isinstance(first, list) else first.items()
    return [
        (token, value)
        for token, value in listed
        if isinstance(token, str) and isinstance(value, int | float) and value <= 1
    ]


def text_logprob(ends: list[int], logprobs: Sequence[float | None], context: int) -> float:
    """log p(text | context) from each token's end, in characters, and its log-probability; `context` is that long."""
    found = [logprob for end, logprob in zip(ends, logprobs, strict=True) if end > context]
    if not found or any(logprob is None for logprob in found):
        raise UnreadableError("no log-probability of the text")
    return float(sum(logprob for logprob in found if logprob is not None))


def read_scored(completion: Completion, request: Request, seconds: float) -> Answer:
    """The log-probability of a text, in a completion that echoes it; no `text_logprob` where it is not echoed.

    Where each token stands is counted from the tokens: servers do not agree on `text_offset` (vLLM counts the token that begins
    every text, others send none).
    """
    try:
        logprobs = completion.choices[0].logprobs
        answer = Answer(**usage_of(completion), seconds=seconds)
        if logprobs is None or not logprobs.tokens or not logprobs.token_logprobs:
            return answer
        pairs = list(zip(logprobs.tokens, logprobs.token_logprobs, strict=True))
        if not request["prompt"].startswith(pairs[0][0]):
            pairs = pairs[1:]
        if not "".join(token for token, _ in pairs).startswith(request["prompt"]):
            return answer
        ends = np.cumsum([len(token) for token, _ in pairs])
        inside = int(np.searchsorted(ends, len(request["prompt"]))) + 1  # without what was written after the prompt
        score = text_logprob(ends[:inside].tolist(), [logprob for _, logprob in pairs[:inside]], request["context"])
        return answer.model_copy(update={"text_logprob": score})
    except WRONG as error:
        raise UnreadableError("no completion") from error


def usage_of(completion: ChatCompletion | Completion) -> dict[str, int]:
    def count(*path: str) -> int:
        value = part(completion, "usage", *path)
        return int(value) if isinstance(value, int | float) and 0 < value <= MOST_TOKENS else 0

    return {
        "prompt_tokens": count("prompt_tokens"),
        "cached_tokens": count("prompt_tokens_details", "cached_tokens"),
        "completion_tokens": count("completion_tokens"),
        "reasoning_tokens": count("completion_tokens_details", "reasoning_tokens"),
    }


def body_of(request: Request) -> dict[str, Any]:
    """What is sent of a request: where a scored text begins, and which vote it is, are for the reader only."""
    return {key: value for key, value in request.items() if key not in ("context", "vote")}
