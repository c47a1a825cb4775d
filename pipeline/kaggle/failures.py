"""What the kaggle command line prints when it fails, and what a user should read instead: one line with what to do."""

import re

from pipeline.contracts import InputError
from pipeline.kaggle.credentials import redacted, token_source

COMPETITION = "nlp-getting-started"
SETTINGS = "kaggle.com/settings/api"
UPLOAD_FAILED = "Could not submit to competition"
NO_SPACE = r"No space left on device|Disk quota exceeded"
UNAUTHENTICATED = r"Authentication required|401 Client Error|Unauthori[sz]ed|Unauthenticated|Invalid credentials"


class PassingError(InputError):
    """A failure that may be over by itself in a while."""


# The first that fits is meant.
KNOWN_FAILURES: list[tuple[str, type[InputError], str]] = [
    (NO_SPACE, InputError, "the disk is full: free some space and run again, what has arrived is kept"),
    (
        r"Invalid leading whitespace|Invalid header value|codec can't encode",
        InputError,
        f"the Kaggle token holds a character that no token has: copy it again from {SETTINGS}",
    ),
    (r"No module named '?(kaggle|six)", InputError, "the kaggle package is not installed; run `make install`"),
    (
        r"submission (allowance|limit)",
        InputError,
        "today's submissions are used up, says Kaggle: there are new ones at 00:00 UTC",
    ),
    (
        r"verif\w+ .*(phone|identity|account)",
        InputError,
        "Kaggle wants your account verified first, at kaggle.com/settings",
    ),
    (
        r"429 Client Error|Too Many Requests",
        PassingError,
        "too many requests for Kaggle: wait some minutes and run again",
    ),
    (
        r"accept.*rules|403 Client Error|Forbidden|Permission .*denied",
        InputError,
        "Kaggle wants its rules accepted first, at kaggle.com/c/{competition}/rules",
    ),
    (
        r"404 Client Error|Not Found|Could not find competition",
        InputError,
        "Kaggle knows no competition {competition}, or it has other files now; was it renamed? Pass its name by --competition",
    ),
    (
        r"\b50\d Server Error|Internal error|temporarily unavailable",
        PassingError,
        "Kaggle has troubles of its own: try again in some minutes",
    ),
    (
        rf"IncompleteRead|Connection (broken|aborted)|does not match expected size|{UPLOAD_FAILED}",
        PassingError,
        "the connection to Kaggle was cut: run again, a download goes on where it stopped",
    ),
    (
        r"ConnectionError|Max retries exceeded|NameResolution|Timeout|timed out|SSLError|ProxyError",
        PassingError,
        "Kaggle cannot be reached: check the network and run again",
    ),
]


def explain(output: str, competition: str = COMPETITION) -> InputError:
    """Why the kaggle command failed, from what it printed."""
    # Without progress bars, and without the code in a traceback, which speaks of all that can go wrong.
    lines = [line for line in output.splitlines() if line.strip() and line[0] != " " and "%|" not in line]
    said = "\n".join(lines)
    if re.search(UNAUTHENTICATED, said):
        source = token_source()
        if source is None:
            return InputError(f"no Kaggle token: create one at {SETTINGS} and set KAGGLE_API_TOKEN to it")
        return InputError(
            f"Kaggle does not accept the token in {source}: it may have expired; create one at {SETTINGS}"
        )
    for sign, kind, meaning in KNOWN_FAILURES:
        if re.search(sign, said, re.IGNORECASE):
            return kind(meaning.format(competition=competition))
    return InputError(f"the kaggle command failed: {redacted(lines[-1] if lines else 'it printed nothing')}")
