"""Answers that depend on their questions alone: what a server has read before each is made the same.

llama.cpp keeps what it read for one question as far as the next begins alike, and where that ends decides how the numbers of the
next are rounded: after an interruption, or in another company, other questions came before, and scores differed. So each question
follows a primer: all its messages but the last (an instruction, examples), and a last message that no question has. It is read
from nothing, once for neighbours that share it, and each question goes on from where it ends.
"""

import json

from pipeline.prompting.answers import Request

LAST = {"role": "user", "content": "\u2063"}
"""The invisible separator: no tweet begins with it, so that a question parts from its primer where its own text begins."""


class Primer:
    """What to send before a request, and what the server may keep of the one before."""

    def __init__(self) -> None:
        self.last: str | None = None
        """The beginning of the last primer."""

    def before(self, request: Request) -> tuple[Request, bool]:
        """The primer of a chat request, and whether it may go on from what was read before."""
        first = request["messages"][:-1]
        begins = json.dumps(first, sort_keys=True)
        goes_on, self.last = begins == self.last, begins
        return {"messages": [*first, LAST], "max_tokens": 1}, goes_on
