"""Kaggle's client, and why it failed in one line: by the HTTP status, with what Kaggle said, and without a token in it."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from filelock import FileLock, Timeout

from pipeline.contracts import InputError, reason, without_secrets
from pipeline.contracts.errors import exhausted
from pipeline.store import store_folder

COMPETITION = "nlp-getting-started"
SETTINGS = "kaggle.com/settings/api"
NO_TOKEN = (
    f"Kaggle has no token of yours that it accepts: create one at {SETTINGS} and set KAGGLE_API_TOKEN to it, or write it to "
    "~/.kaggle/access_token"
)
ADVICE = {
    403: "are the rules accepted, at kaggle.com/c/{competition}/rules, and is your account verified?",
    404: "was the competition {competition} renamed? Pass its name by --competition",
    429: "wait some minutes and run again",
}
TOKEN = re.compile(r"\bKGAT_\w+|\b[0-9a-f]{32}\b")
"""What looks like one of Kaggle's."""


class PassingError(InputError):
    """A failure that may be over by itself in a while."""


class Said(io.StringIO):
    """What the client prints, which may hold an address as good as a token: only that it goes on, or waits, is shown."""

    def write(self, text: str, /) -> int:
        if re.match(r"Retry|Resuming", text):
            print(f"kaggle: {text.strip()}", file=sys.stderr)
        return super().write(text)


@contextmanager
def client(competition: str) -> Iterator[Any]:
    """Kaggle's client, authenticated; `InputError` in one line where it, or the block, fails."""
    for name in [name for name in os.environ if name.startswith("VERBOSE")]:  # with it, the client prints the token
        del os.environ[name]
    try:
        with redirect_stdout(Said()):
            from kaggle import api  # noqa: PLC0415 - it asks Kaggle about the token when it is imported

            if not getattr(api, "_authenticated", False):  # what went wrong as it was imported is told here
                api.authenticate()
            yield api
    except SystemExit:
        raise InputError(NO_TOKEN) from None
    except (OSError, ValueError) as error:  # those of requests are OSErrors
        raise explained(error, competition) from None


def explained(error: Exception, competition: str) -> InputError:
    """Why the client failed."""
    said = re.sub(r"(Bearer|Basic) [^'\"]+", r"\1 ***", f"{type(error).__name__}: {without_tokens(reason(error))}")
    if (status := getattr(getattr(error, "response", None), "status_code", None)) is not None:
        if status == 401:
            return InputError(f"{NO_TOKEN} ({said})")
        advice = ADVICE.get(status, "try again in some minutes" if status >= 500 else "")
        kind = PassingError if status == 429 or status >= 500 else InputError
        return kind(f"Kaggle says {said}{advice and '; '}{advice.format(competition=competition)}")
    if isinstance(error, ValueError) and re.search("header|codec", said):
        return InputError(f"the Kaggle token holds a character that no token has: copy it again from {SETTINGS}")
    if full := exhausted(error):
        return InputError(full)
    return PassingError(f"the connection to Kaggle failed: run again, a download goes on where it stopped ({said})")


@contextmanager
def only_one(what: str) -> Iterator[None]:
    """Refuse to go on while another process of this user does the same."""
    try:
        held = FileLock(store_folder() / f"kaggle_{what}.lock").acquire(blocking=False)
    except Timeout:
        raise InputError(f"another {what} is running: wait until it has ended") from None
    with held:
        yield


def without_tokens(text: str) -> str:
    """The text without what looks like a token of Kaggle's, or is a secret of the environment."""
    return TOKEN.sub("***", without_secrets(text))
