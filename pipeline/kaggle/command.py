"""Run the kaggle command line without showing a token, and say in one line why it failed and what to do.

It authenticates at import and exits where it cannot, so it is a process of its own. What it prints is never shown as it
is: its messages can hold the token, or an address that is as good as one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.contracts import InputError
from pipeline.store import store_folder

COMPETITION = "nlp-getting-started"
SETTINGS = "kaggle.com/settings/api"
UPLOAD_FAILED = "Could not submit to competition"
NO_SPACE = r"No space left on device|Disk quota exceeded"
WORTH_TELLING = r"(Retry \d|Retrying in|Resuming from)"
"""Lines of a download that are passed on: without them a wait of a minute looks like a command that hangs."""
TOKEN = re.compile(r"\bKGAT_\w+|\b[0-9a-f]{32}\b")
"""What looks like one of Kaggle's."""


class PassingError(InputError):
    """A failure that may be over by itself in a while."""


# What the command prints, and what it means; the first that fits is meant.
FOR_GOOD = {
    NO_SPACE: "the disk is full: free some space and run again, what has arrived is kept",
    r"Invalid leading whitespace|Invalid header value|codec can't encode": (
        f"the Kaggle token holds a character that no token has: copy it again from {SETTINGS}"
    ),
    r"No module named '?(kaggle|six)": "the kaggle package is not installed; run `make install`",
    r"submission (allowance|limit)": "today's submissions are used up, says Kaggle: there are new ones at 00:00 UTC",
    r"verif\w+ .*(phone|identity|account)": "Kaggle wants your account verified first, at kaggle.com/settings",
    r"accept.*rules|403 Client Error|Forbidden|Permission .*denied": (
        "Kaggle wants its rules accepted first, at kaggle.com/c/{competition}/rules"
    ),
    r"404 Client Error|Not Found|Could not find competition": (
        "Kaggle knows no competition {competition}, or it has other files now; was it renamed? Pass its name by --competition"
    ),
}
PASSING = {
    r"429 Client Error|Too Many Requests": "too many requests for Kaggle: wait some minutes and run again",
    r"\b50\d Server Error|Internal error|temporarily unavailable": (
        "Kaggle has troubles of its own: try again in some minutes"
    ),
    rf"IncompleteRead|Connection (broken|aborted)|does not match expected size|{UPLOAD_FAILED}": (
        "the connection to Kaggle was cut: run again, a download goes on where it stopped"
    ),
    r"ConnectionError|Max retries exceeded|NameResolution|Timeout|timed out|SSLError|ProxyError": (
        "Kaggle cannot be reached: check the network and run again"
    ),
}


def explain(output: str, competition: str = COMPETITION) -> InputError:
    """Why the kaggle command failed, from what it printed."""
    # Without progress bars, and without the code in a traceback, which speaks of all that can go wrong.
    lines = [line for line in output.splitlines() if line.strip() and line[0] != " " and "%|" not in line]
    said = "\n".join(lines)
    if re.search(r"Authentication required|401 Client Error|Unauthori[sz]ed|Unauthenticated|Invalid credentials", said):
        if (source := token_source()) is None:
            return InputError(f"no Kaggle token: create one at {SETTINGS} and set KAGGLE_API_TOKEN to it")
        return InputError(
            f"Kaggle does not accept the token in {source}: it may have expired; create one at {SETTINGS}"
        )
    for kind, failures in ((InputError, FOR_GOOD), (PassingError, PASSING)):
        for sign, meaning in failures.items():
            if re.search(sign, said, re.IGNORECASE):
                return kind(meaning.format(competition=competition))
    return InputError(f"the kaggle command failed: {redacted(lines[-1] if lines else 'it printed nothing')}")


def kaggle(competition: str, verb: str, *arguments: str) -> str:
    """What `kaggle competitions <verb> <competition> ...` printed; `InputError` in one line if it failed."""
    command = [sys.executable, "-m", "kaggle", "-W", "competitions", verb, competition, *arguments]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VERBOSE")
    }  # prints the token
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    printed = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    ) as process:
        for line in process.stdout or ():
            printed.append(line)
            if re.search(NO_SPACE, line):  # it would try five times more
                process.kill()
            elif re.match(WORTH_TELLING, line):
                print(f"kaggle: {redacted(line.strip())}", file=sys.stderr)
    if process.returncode != 0 or UPLOAD_FAILED in "".join(printed):  # after a failed upload it ends as if all was well
        raise explain("".join(printed), competition)
    return "".join(printed)


@contextmanager
def only_one(what: str) -> Iterator[None]:
    """Refuse to go on while another process of this user does the same."""
    try:
        held = FileLock(store_folder() / f"kaggle_{what}.lock").acquire(blocking=False)
    except Timeout:
        raise InputError(f"another {what} is running: wait until it has ended") from None
    with held:
        yield


# --- tokens -----------------------------------------------------------------------------------------------------------


def credential_files() -> list[Path]:
    """The files that the kaggle command line takes a token from, those that are there."""
    home = Path("~/.kaggle").expanduser()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    named = os.environ.get("KAGGLE_API_TOKEN")  # a token, or the path of a file with one
    places = [Path(named)] if named else []
    places += [home / name for name in ("access_token", "access_token.txt", "credentials.json")]
    places += [folder / "kaggle.json" for folder in ([Path(configured)] if configured else [home, config])]
    return [place for place in places if is_file(place)]


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a token is no path, and may be too long for one
        return False


def token_source() -> str | None:
    """Where the token comes from, for a message; None if there is none."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    return next(map(str, credential_files()), None)


def secrets() -> list[str]:
    """All that must not be shown: tokens of the environment, and whatever looks like one in the usual files."""
    found = [os.environ.get(name, "").strip() for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY")]
    for path in credential_files():
        try:
            found += re.findall(r"[\w.-]{16,}", path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
    return sorted({secret for secret in found if len(secret) >= 6}, key=len, reverse=True)


def holds_secret(text: str) -> bool:
    """Whether a token of this user, or what looks like one of Kaggle's, is in the text."""
    return any(secret in text for secret in secrets()) or re.search(TOKEN, text) is not None


def redacted(text: str) -> str:
    """The text without tokens, signed addresses and passwords of proxies."""
    for secret in secrets():
        text = text.replace(secret, "***")
    text = re.sub(TOKEN, "***", re.sub(r"(Bearer|Basic) [^'\"\n]+", r"\1 ***", text))
    return re.sub(r"(https?://)[^/@\s]+@", r"\1***@", re.sub(r"(https?://[^\s?]+)\?\S+", r"\1?***", text))
