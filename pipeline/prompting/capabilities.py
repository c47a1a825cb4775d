"""What an endpoint can do, found out once by asking it; the answers, refusals among them, are in the store."""

import json
from typing import Any, Literal

from pydantic import BaseModel
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.prompting.answers import Request
from pipeline.prompting.ask import Asker
from pipeline.prompting.prompt_file import ChannelPrompt, Message, Mode, PromptFile

QUESTION: list[Message] = [{"role": "user", "content": "Is the sky above the clouds? Answer with one word, Yes or No."}]
# The modes that a prompt can fall back to, best first: each tells less about how sure the model is.
LADDER: tuple[Mode, ...] = ("logprobs", "sample", "text")


class Capabilities(BaseModel, frozen=True):
    """What requests to an endpoint may hold."""

    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name that it has for the longest reply."""
    temperature: bool = False
    top_logprobs: int = 0
    """How many of the most probable tokens it lists; 0 if it gives no log-probabilities."""
    structured: bool = False
    """Whether it keeps replies to a JSON schema."""
    choices: bool = False
    """Whether it gives several replies to one request."""
    seed: bool = False
    """Whether sampling can be repeated."""

    def greedy(self, tokens: int) -> dict[str, Any]:
        """Settings for the most probable reply, or as near to it as the endpoint lets one come."""
        return {self.length: tokens} | ({"temperature": 0.0} if self.temperature else {})

    def modes(self) -> list[Mode]:
        """The modes that it can do, best first."""
        able = {"logprobs": self.top_logprobs > 0, "sample": self.temperature, "text": True}
        return [mode for mode in LADDER if able[mode]]


def reply_format(label_words: list[str]) -> dict[str, Any]:
    """A JSON schema that leaves no room for anything but a label word."""
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": label_words}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


async def find_out(asker: Asker, mode: Mode) -> Capabilities:
    """What an endpoint can do of what `mode` and those below it on the ladder need.

    Some servers refuse what they cannot do, others ignore it: what counts is the answer. Replies are given the room that the
    params give them: a model that thinks first may refuse a question if there is not enough.
    """
    asked: Request = {"messages": QUESTION}
    room = max(asker.params.reply_tokens, 32)

    async def can_do(request: Request) -> bool:
        return (await asker.probe(request)).refused is None

    # A refusal of both is not kept: it is the question, the model or the account that is refused, and that may change.
    can = Capabilities()
    plain = await asker.probe(asked | {"max_tokens": room}, keep_refusal=False)
    if plain.refused:
        if (await asker.probe(asked | {"max_completion_tokens": room}, keep_refusal=False)).refused:
            raise InputError(
                "prompt: the endpoint refused a simple question; check prompt.model, and for a model that thinks first whether "
                "prompt.reply_tokens is enough"
            )
        asker.keep(asked | {"max_tokens": room}, plain)
        can = Capabilities(length="max_completion_tokens")
    can = can.model_copy(update={"temperature": await can_do(asked | {can.length: room, "temperature": 0.0})})
    if mode == "logprobs":
        for top in (20, 5):
            answer = await asker.probe(asked | can.greedy(1) | {"logprobs": True, "top_logprobs": top})
            if answer.top_logprobs:
                return can.model_copy(update={"top_logprobs": len(answer.top_logprobs)})
    answer = await asker.probe(asked | can.greedy(room) | {"response_format": reply_format(["Up", "Down"])})
    can = can.model_copy(update={"structured": states_a_direction(answer.replies)})
    if mode == "sample" or (mode == "logprobs" and can.temperature):
        sampled = asked | {can.length: room, "temperature": 1.0}
        answer = await asker.probe(sampled | {"n": 2})
        seed = await can_do(sampled | {"seed": 0})
        can = can.model_copy(update={"choices": len(answer.replies) == 2, "seed": seed})
    return can


def states_a_direction(replies: list[str]) -> bool:
    """Whether a reply keeps to the schema of `find_out`, which no model would by itself: its question is about Yes and No."""
    try:
        return [json.loads(reply)["label"] in ("Up", "Down") for reply in replies] == [True]
    except (ValueError, KeyError, TypeError):
        return False


async def choose_mode(asker: Asker, prompt: PromptFile) -> tuple[Mode, Capabilities]:
    """The prompt's mode, or the next one down that the endpoint can do: one for the whole run."""
    if isinstance(prompt, ChannelPrompt) and asker.endpoint.kind == "local":
        tqdm.write(f"{asker.name}: scored by transformers: llama.cpp's server gives no log-probabilities of prompts")
        return "channel", Capabilities()
    if isinstance(prompt, ChannelPrompt):
        context = "The sky is"
        request = {"prompt": f"{context} above.", "context": len(context), "echo": True, "logprobs": 1, "max_tokens": 1}
        if (await asker.probe(request, keep_refusal=False)).text_logprob is None:
            raise InputError(
                "prompt: the endpoint gives no log-probabilities of prompts, which scoring: channel needs; vLLM does, and "
                "so does the local model (prompt.base_url: null)"
            )
        return "channel", Capabilities()
    can = await find_out(asker, prompt.scoring)
    below = LADDER[LADDER.index(prompt.scoring) :]
    return next(mode for mode in can.modes() if mode in below), can


async def check_label_words(asker: Asker, label_words: list[str], where: str) -> None:
    """Refuse label words that the model's tokenizer begins with the same token: their probabilities could not be told apart.

    Where the endpoint does not show its tokens, words that begin with the same two letters are refused.
    """
    first = []
    for word in label_words:
        answer = await asker.probe({"tokenize": word.strip()})
        if answer.refused:
            no, yes = (word.strip().lower()[:2] for word in label_words)
            if no == yes:
                raise InputError(
                    f"{where}: label_words: both begin with {no!r}, so may share their first token; take others"
                )
            return
        first.append(answer.replies[0])
    if first[0] == first[1]:
        raise InputError(f"{where}: label_words: both begin with the same token for this model; take others")
