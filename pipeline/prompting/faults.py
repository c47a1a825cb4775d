"""What an error of an endpoint means: one policy for probes, single requests and batches."""

import re

import openai

from pipeline.contracts import InputError
from pipeline.contracts.errors import printable, redacted
from pipeline.prompting.answers import Answer
from pipeline.prompting.server import Endpoint

REFUSED = (400, 422, 501)  # said to a request that was understood and will not be done
OF_THE_MOMENT = (401, 408, 409, 429, 502, 503, 504, 529)  # said of the key, of a limit, or by nobody
UNREADABLE = 200  # of an answer that came and cannot be read

KEY_REFUSED = "the key was refused ({status}); check the variable that prompt.api_key_env names"
TOO_LONG = (
    "refused the request ({status}); the prompt may be longer than the model's context (prompt.embedded.context), the reply "
    "longer than prompt.reply_tokens, or the model unknown"
)
KEPT = "answers so far are kept, run again to go on"
ADVICE = {
    401: KEY_REFUSED,
    403: KEY_REFUSED,
    404: "not found (404); check prompt.base_url (it usually ends in /v1) and prompt.model",
    429: f"too many requests or no credit left (429); lower prompt.concurrency or prompt.limits; {KEPT}",
    400: TOO_LONG,
    422: TOO_LONG,
}
"""What to say of a status."""


class UnreadableError(ValueError):
    """A reply that is well-formed and not what was asked for."""


def worth_asking_again(status: int) -> bool:
    """Whether a status says something of the moment, nothing of the request."""
    return status in (408, 409, 429) or (status >= 500 and status not in REFUSED)


def server_says(error: openai.APIStatusError) -> str:
    """The beginning of what a server says beside its status, without secrets: nor how the key begins, nor what it masked."""
    said = error.body
    while isinstance(said, dict):
        said = next((said[name] for name in ("message", "error", "detail") if said.get(name)), str(said))
    text = redacted(" ".join(str(said or "").split())[:10_000])
    key = re.escape(error.request.headers.get("Authorization", "").removeprefix("Bearer ")[:8])
    return printable(re.sub(rf"(?<!\w){key or '-'}\S*|\S*\*{{2,}}\S*", "***", text))[:150]


def refusal(error: Exception, *, probing: bool = False) -> Answer | None:
    """The answer that an error amounts to, with its HTTP status as `refused`; None if it says nothing of this request alone.

    When `probing`, that is any error but of a key, a limit or the connection: the endpoint cannot do what was asked.
    """
    match error:
        case openai.APIStatusError(status_code=status):
            known = status not in OF_THE_MOMENT if probing else status in REFUSED
            return Answer(refused=status, said=server_says(error)) if known else None
        case UnreadableError():
            return Answer(refused=UNREADABLE)
        case openai.APIConnectionError():
            return None
        case openai.OpenAIError() | ValueError():
            return Answer(refused=UNREADABLE) if probing else None
    return None


def what_broke(error: BaseException) -> str:
    """What a failed connection began with: a name that is not known, a certificate, a proxy, a header."""
    text, cause = "", error.__cause__
    while cause:
        text = str(cause) or text
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return printable(redacted(text))[:150]


def explain(error: Exception, endpoint: Endpoint) -> Exception:
    """One line on what went wrong, in the server's own words too, and what to do."""
    where = f"prompt: {endpoint.identity if endpoint.kind == 'remote' else 'the embedded server'}"
    match error:
        case openai.APIStatusError(status_code=status):
            advice = ADVICE.get(status, f"refused the request ({{status}}); {KEPT}").format(status=status)
            advice += f"; it says: {said}" if (said := server_says(error)) else ""
        case openai.APITimeoutError():
            advice = f"no answer within prompt.timeout; {KEPT}"
        case openai.APIConnectionError():
            advice = f"cannot be reached; is it running? ({what_broke(error)}) {KEPT.capitalize()}"
        case openai.OpenAIError() | ValueError():
            advice = f"answered with something that is no completion ({type(error).__name__}); {KEPT}"
        case _:
            return error
    return InputError(f"{where}: {advice}")
