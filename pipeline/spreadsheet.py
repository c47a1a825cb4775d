"""Tables of tweets that people open in a spreadsheet: what begins like a formula stays text there.

A cell that begins with = + - @, a tab or a line break is computed, and a tweet may say `=HYPERLINK(...)`. An apostrophe before
it keeps it text (https://owasp.org/www-community/attacks/CSV_Injection); reading takes it off again.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline.contracts import written_whole

_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")


def inert(text: str) -> str:
    """A cell's text as a spreadsheet may see it."""
    return "'" + text if _FORMULA.match(text) else text


def as_it_was(text: str) -> str:
    """What `inert` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def each_text(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The frame with its strings changed."""
    texts = frame.select_dtypes(["object", "string"]).columns
    return frame.assign(
        **{name: frame[name].map(lambda value: change(value) if isinstance(value, str) else value) for name in texts}
    )


def write_tweets(path: Path, frame: pd.DataFrame) -> None:
    """A csv for spreadsheets, without the index."""
    with written_whole(path) as partial:
        each_text(frame, inert).to_csv(partial, index=False)
