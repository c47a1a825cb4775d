"""What comes over the wire, as answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import openai
from openai.types import Completion
from openai.types.chat import ChatCompletion

from pipeline.contracts import without_secrets
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.faults import UnreadableError

WRONG = (AttributeError, LookupError, TypeError, ValueError)
"""What reading raises: the client checks nothing, and hands on as text what is not JSON."""


def read_chat(completion: ChatCompletion, seconds: float) -> Answer:
    """The answer in a chat completion."""
    try:
        choices = completion.choices
        tokens = (choices[0].logprobs.content or []) if choices[0].logprobs else []
        return Answer(
            replies=[without_secrets(choice.message.content or "") for choice in choices],
            top_logprobs=[(top.token, top.logprob) for top in tokens[0].top_logprobs] if tokens else [],
            **usage_of(completion),
            seconds=seconds,
        )
    except WRONG as error:
        raise UnreadableError("no chat completion") from error


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
    usage = completion.usage
    details = usage.prompt_tokens_details if usage else None
    return {
        "prompt_tokens": (usage.prompt_tokens or 0) if usage else 0,
        "cached_tokens": (details.cached_tokens or 0) if details else 0,
        "completion_tokens": (usage.completion_tokens or 0) if usage else 0,
    }


def body_of(request: Request) -> dict[str, Any]:
    """What is sent of a request: where a scored text begins, and which vote it is, are for the reader only."""
    return {key: value for key, value in request.items() if key not in ("context", "vote")}


async def tokenize(client: openai.AsyncOpenAI, model: str, word: str) -> Answer:
    """The tokens of a word, by the route that llama.cpp and vLLM have for it; they do not agree on its fields' names."""
    root = str(client.base_url).rstrip("/").removesuffix("/v1")
    body = {"model": model, "content": word, "add_special": False, "prompt": word, "add_special_tokens": False}
    found = await client.post(f"{root}/tokenize", body=body, cast_to=dict[str, Any])
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if not isinstance(tokens, list) or not tokens:
        raise UnreadableError("no tokens")
    return Answer(replies=[str(token) for token in tokens])
