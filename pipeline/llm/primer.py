"""Answers that depend on their questions alone: what a server has read before each is made the same.

llama.cpp keeps what it read for one question as far as the next begins alike, and where that ends decides how the numbers of the
next are rounded: after an interruption other questions came before, and scores differed. So questions that share all but their
last message (an instruction, the same examples) each follow a primer: that beginning, and a last message that none of them has.
It is read once, from nothing, and each question goes on from where it ends. What shares its beginning with no other question is
read from nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable

from pipeline.llm.answers import Request

LAST = {"role": "user", "content": "\u2063"}
"""The invisible separator: no tweet begins with it, so that a question parts from its primer where its own text begins."""


def beginning(request: Request) -> str:
    """All that a chat's last message follows."""
    return json.dumps(request.get("messages", [])[:-1], sort_keys=True)


class Primer:
    """What to send before each of these requests, and what the server may keep of the one before."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        self.sharing = Counter(map(beginning, requests))
        """Of all requests of a run, those that are answered already among them: an interruption must not change it."""
        self.last: str | None = None
        """The beginning of the last primer, if nothing but its own questions came after it."""

    def before(self, request: Request) -> tuple[Request | None, bool]:
        """The primer of a request, and whether it may go on from what was read before; None for a request without one."""
        begins = beginning(request)
        shared = self.sharing[begins] > 1
        goes_on = shared and begins == self.last
        self.last = begins if shared else None
        return ({"messages": [*request["messages"][:-1], LAST], "max_tokens": 1} if shared else None), goes_on
