"""Answers that depend on their questions alone: what a server has read before each is made the same.

llama.cpp keeps what it read for one question as far as the next begins alike, and where that ends decides how the numbers of the
next are rounded. After an interruption another question came before, and scores differed by up to 0.04. So each question follows
a primer: what all questions of the run begin with, and a message that none of them has. The beginning is read once, from the
primer; each question then goes on from its end.
"""

from itertools import takewhile
from typing import Any

from pipeline.llm.answers import Request

LAST = {"role": "user", "content": "\u2063"}
"""The invisible separator: no tweet begins with it, so that questions part from the primer where their own text begins."""


def primer(requests: list[Request]) -> list[dict[str, Any]] | None:
    """The messages that all these requests begin with, and a last one; None if they are not all chats."""
    if not all("messages" in request for request in requests):
        return None
    chats = [request["messages"][:-1] for request in requests]
    same = takewhile(lambda column: all(message == column[0] for message in column), zip(*chats, strict=False))
    return [*(column[0] for column in same), LAST]
