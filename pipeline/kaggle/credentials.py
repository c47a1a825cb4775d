"""Where the kaggle command line takes its token from, and how to show what it prints without showing a token."""

import os
import re
from pathlib import Path


def credential_files() -> list[Path]:
    """The files that the kaggle command line takes a token from, those that are there."""
    home = Path("~/.kaggle").expanduser()
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    folders = [Path(configured)] if configured else [home, config]
    places = [home / name for name in ("access_token", "access_token.txt", "credentials.json")]
    if named := os.environ.get("KAGGLE_API_TOKEN"):  # a token, or the path of a file with one
        places.insert(0, Path(named))
    return [place for place in places + [folder / "kaggle.json" for folder in folders] if is_file(place)]


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


TOKEN = re.compile(r"\bKGAT_\w+|\b[0-9a-f]{32}\b")
"""What looks like one of Kaggle's."""


def holds_secret(text: str) -> bool:
    """Whether a token of this user, or what looks like one of Kaggle's, is in the text."""
    return any(secret in text for secret in secrets()) or re.search(TOKEN, text) is not None


def redacted(text: str) -> str:
    """The text without tokens, signed addresses and passwords of proxies."""
    for secret in secrets():
        text = text.replace(secret, "***")
    text = re.sub(r"(Bearer|Basic) [^'\"\n]+", r"\1 ***", text)
    text = re.sub(TOKEN, "***", text)
    return re.sub(r"(https?://)[^/@\s]+@", r"\1***@", re.sub(r"(https?://[^\s?]+)\?\S+", r"\1?***", text))
