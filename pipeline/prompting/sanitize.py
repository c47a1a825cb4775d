"""Tweets without what marks turns of a conversation, for the model at hand and for common families."""

import mmap
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

Sanitize = Callable[[str], str]
"""How a tweet's text is shown to the model: `sanitized`, but for the study of what that is good for."""

_ANGLES = str.maketrans("<>", "‹›")
_BRACKETED = re.compile(r"\[(/?[A-Z_]+(?:_\d+)?|gMASK|sMASK|control_\d+|\|\w+\|)\]")
_HEADING = re.compile(r"#{2,}(?=\s*[A-Za-z][\w ]{0,30}:)")
_ROLE = re.compile(r"\b(USER|ASSISTANT|SYSTEM|User|Assistant|System|Human)\s*:")
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens in GGUF files."""
HEAD, MOST = 1 << 28, 1 << 21
"""Bytes of a file that its metadata lie within; tokens that a model has at most."""


def sanitized(text: str, longest: int, own: Iterable[str] = ()) -> str:
    """A tweet as text without what templates of chats mark turns by, cut at `longest` characters.

    Chat templates are tokenized together with what they are filled with, so a tweet that spells a turn's marker would end
    its turn. Angle brackets, brackets around capitals or bars, several # before a heading, and the colon after a speaker become
    look-alikes or fewer; a blank parts what else is among the model's `own` special tokens. What is not shown (control,
    bidirectional and other format characters) goes, and line breaks become spaces.
    """
    shown = (
        " " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character
        for character in text
        if unicodedata.category(character) not in ("Cf", "Cs", "Co")
    )
    text = " ".join("".join(shown).split())
    text = _BRACKETED.sub(r"(\1)", text.translate(_ANGLES))
    text = _ROLE.sub("\\1\ua789", _HEADING.sub("#", text))
    for token in own:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text if len(text) <= longest else text[: longest - 1] + "…"


@cache
def special_tokens(file: Path | None) -> tuple[str, ...]:
    """The special tokens of a GGUF file that `sanitized` would leave as they are; none without a file.

    Words and blanks are left out: as a part of a tweet they say nothing.
    """
    if file is None:
        return ()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as raw:

        def after(name: bytes) -> tuple[int, int]:
            """How many items an array of metadata has, and where they begin."""
            at = raw.find(name, 0, HEAD) + len(name) + 8
            return int.from_bytes(raw[at : at + 8], "little"), at + 8

        (count, at), (same, types_at) = after(b"tokenizer.ggml.tokens"), after(b"tokenizer.ggml.token_type")
        if count != same or count > MOST or types_at + 4 * count > len(raw):  # llama.cpp says what is wrong with it
            return ()
        tokens = []
        for kind in np.frombuffer(raw[types_at : types_at + 4 * count], "<i4").tolist():
            end = at + 8 + int.from_bytes(raw[at : at + 8], "little")
            if kind in (CONTROL, USER_DEFINED):
                tokens.append(raw[at + 8 : end].decode(errors="replace"))
            at = end
    marks = [token for token in tokens if token.strip() and not token.strip().isalnum() and len(token) > 1]
    return tuple(token for token in marks if sanitized(token, len(token)) == token)
