"""Clean tweets and their keywords: pure functions."""

import html
import re

import ftfy
import ftfy.bad_codecs
import pandas as pd

URL = "http"
MENTION = "@user"
# The two tokens are those of TweetEval (Barbieri et al. 2020, https://aclanthology.org/2020.findings-emnlp.148).

_HIGH = re.compile(r"[\x80-\xff]{2,}")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_RETWEET = re.compile(r"^\W*(?:rt|via)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:'\w+)*")


def mend_mac_roman(text: str) -> str:
    """Undo a double mistake that this data set is full of: `\\x89Û÷` for a quotation mark, `åÊ` for a space.

    UTF-8 was read as Windows-1252, saved as Mac Roman and read as Latin-1; a run that survives the way back was damaged.
    """

    def back(match: re.Match[str]) -> str:
        try:
            return match[0].encode("latin-1").decode("mac_roman").encode("sloppy-windows-1252").decode("utf-8")
        except UnicodeError:
            return match[0]

    # Two characters lost their last byte on the way: Mac Roman has no broken bar, Windows-1252 no byte 9D.
    return _HIGH.sub(back, text.replace("\x89Û_", "…").replace("\x89Û\x9d", "”"))


def clean(text: str) -> str:
    """One line of text: mojibake and entities mended, links as `http`, mentions as `@user`, single spaces.

    Idempotent: `clean(clean(text)) == clean(text)` for tweets whose entities are not nested deeper than twice.
    """
    text = html.unescape(html.unescape(mend_mac_roman(text)))
    text = ftfy.fix_text(text, unescape_html=False)
    text = _MENTION.sub(MENTION, _URL.sub(URL, text))
    return " ".join(text.split()) or "…"


def clean_keywords(keywords: pd.Series) -> pd.Series:
    """Keywords in lower case, their blanks as blanks; null stays null."""
    return keywords.str.replace("%20", " ").str.lower()


def words(cleaned: str) -> list[str]:
    """The words that make a tweet the same tweet: lower case, without links, mentions, punctuation and "RT"."""
    text = cleaned.replace(MENTION, " ")
    text = _RETWEET.sub(" ", text).lower()
    return [word for word in _WORD.findall(text) if word != URL]
