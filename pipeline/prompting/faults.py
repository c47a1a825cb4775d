"""What an error of an endpoint means: one policy for probes, single requests and batches."""

import openai

from pipeline.contracts import InputError, printable, redacted
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.server import Endpoint

REFUSED = (400, 422, 501)
"""What servers say to a request that they understood and will not do."""
OF_THE_MOMENT = (401, 408, 409, 429, 502, 503, 504, 529)
"""What they say of the key, of a limit, or when they are not there."""
UNREADABLE = 200
"""The status of an answer that came and cannot be read."""

ADVICE: dict[tuple[type[Exception], ...], str] = {
    (
        openai.AuthenticationError,
        openai.PermissionDeniedError,
    ): "the key was refused ({status}); check the variable that prompt.api_key_env names",
    (openai.NotFoundError,): "not found (404); check prompt.base_url (it usually ends in /v1) and prompt.model",
    (
        openai.RateLimitError,
    ): "too many requests or no credit left (429); lower prompt.concurrency or prompt.limits, or run "
    "again later; answers so far are kept",
    (openai.APITimeoutError,): "no answer within prompt.timeout; answers so far are kept, run again to go on",
    (openai.APIConnectionError,): "cannot be reached; is it running? Answers so far are kept",
    (
        openai.BadRequestError,
        openai.UnprocessableEntityError,
    ): "refused the request ({status}); the prompt may be longer than "
    "the model's context (prompt.embedded.context), the reply longer than prompt.reply_tokens, or the model unknown",
    (openai.APIStatusError,): "refused the request ({status}); answers so far are kept",
    (openai.OpenAIError, ValueError): "answered with something that is no completion ({kind}); answers so far are kept",
}
"""What to say of an error: the first that fits."""


class UnreadableError(ValueError):
    """A reply that is well-formed and not what was asked for."""


def worth_asking_again(status: int) -> bool:
    """Whether a status says something of the moment, nothing of the request."""
    return status in (408, 409, 429) or (status >= 500 and status not in REFUSED)


def words_of(error: Exception) -> str:
    """What a server said with an error, in one line without secrets, at most 150 characters."""
    said = getattr(error, "body", None)
    while isinstance(said, dict):
        said = next((said[name] for name in ("message", "error", "detail", "msg") if said.get(name)), str(said))
    return printable(redacted(" ".join(str(said or "").split())))[:150]


def refusal(error: Exception, request: Request, *, probing: bool = False) -> Answer | None:
    """The answer that an error amounts to, with its HTTP status as `refused`; None if it says nothing of this request alone.

    When `probing`, that is any error but of a key, a limit or the connection: the endpoint cannot do what was asked. The route
    for tokens is one that can be done without: whatever it says, but for silence, is a refusal.
    """
    optional = "tokenize" in request
    match error:
        case openai.APIStatusError(status_code=status):
            known = status not in OF_THE_MOMENT if probing else status in REFUSED
            return Answer(refused=status, said=words_of(error)) if known or optional else None
        case UnreadableError():
            return Answer(refused=UNREADABLE)
        case openai.APIConnectionError():
            return None
        case openai.OpenAIError() | ValueError():
            return Answer(refused=UNREADABLE) if optional or probing else None
    return None


def explain(error: Exception, endpoint: Endpoint) -> Exception:
    """One line on what went wrong and what to do. The response's body stays out: it may repeat a part of the key."""
    where = f"prompt: {endpoint.identity if endpoint.kind == 'remote' else 'the embedded server'}"
    for kinds, advice in ADVICE.items():
        if isinstance(error, kinds):
            said = advice.format(status=getattr(error, "status_code", None), kind=type(error).__name__)
            return InputError(f"{where}: {said}")
    return error
