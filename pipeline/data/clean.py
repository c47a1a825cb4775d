"""Clean tweets and their keywords: pure functions."""

import html
import re
import unicodedata
from functools import cache

import ftfy
import ftfy.bad_codecs
import pandas as pd

URL = "http"
MENTION = "@user"
# The two tokens are those of TweetEval (Barbieri et al. 2020, https://aclanthology.org/2020.findings-emnlp.148).

_HIGH = re.compile(r"[\x80-\xff]{2,}")
_IN_LINK = r"[\w.~:/?#@$&*+=%;-]|[,!'](?![a-z])"
_URL = re.compile(
    # what an address may hold (RFC 3986), but for punctuation that ends it or has words after it (`http://t.co/abc,evacuate now`)
    rf"(?:https?://|www\.)(?:{_IN_LINK}|\((?:{_IN_LINK})*\))*(?<![.,:;?!'])"
    r"(?:(?:…|\.\.\.)(?!\w))?",  # and what says that it was cut
    re.IGNORECASE | re.ASCII,
)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_RETWEET = re.compile(r"^\W*(?:rt|via)\b", re.IGNORECASE)
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""
_UNIT = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")


@cache
def word_pattern() -> str:
    """A word: letters and digits, the marks that belong to them (vowel signs say), an apostrophe inside if it has one."""
    codes = (code for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    marks = "".join(chr(code) for code in codes if not 0xFE00 <= code <= 0xFE0F)  # those choose an emoji's look
    part = rf"\w+(?:[{marks}\u200c\u200d]+\w*)*"  # and joiners
    return f"{part}(?:'{part})*"


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


def mended(text: str) -> str:
    """The text as it was written: without mojibake and entities."""
    return str(ftfy.fix_text(html.unescape(html.unescape(mend_mac_roman(text))), unescape_html=False))


def clean(text: str) -> str:
    """One line of text: mojibake and entities mended, links as `http`, mentions as `@user`, single spaces.

    Idempotent: `clean(clean(text)) == clean(text)` for tweets whose entities are not nested deeper than twice.
    """
    text = _MENTION.sub(MENTION, _URL.sub(URL, mended(text)))
    return " ".join(text.split()) or "…"


def clean_keywords(keywords: pd.Series) -> pd.Series:
    """Keywords in lower case, their blanks as blanks; null stays null."""
    return keywords.str.replace("%20", " ").str.lower()


def words(cleaned: str) -> list[str]:
    """The words that make a tweet the same tweet: lower case, without links, mentions, punctuation and "RT"."""
    text = cleaned.replace(MENTION, " ")
    text = _RETWEET.sub(" ", text).lower()
    return [word for word in re.findall(word_pattern(), text) if word != URL]


def units(cleaned: str) -> list[str]:
    """What texts are compared by: their words, by character where a script has no spaces; without words all of the text."""
    return [unit for word in words(cleaned) for unit in _UNIT.findall(word)] or [cleaned]
