"""What a run may send and spend: an estimate before it, caps while it runs."""

from collections.abc import Iterable

from pipeline.contracts import InputError
from pipeline.prompting.answers import Answer, Request
from pipeline.prompting.params import Limits, Prices

CHARACTERS_PER_TOKEN = 3.5  # of English tweets, on the safe side


def characters(request: Request) -> int:
    """How many characters a request has the model read."""
    if "messages" in request:
        return sum(len(message["content"]) for message in request["messages"])
    return len(request.get("prompt", ""))


def reply_tokens(request: Request) -> int:
    """The most tokens that a request lets the model write."""
    longest = request.get("max_tokens") or request.get("max_completion_tokens") or 1
    return int(longest) * int(request.get("n", 1))


def tokens_of(answers: Iterable[Answer]) -> int:
    return sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)


class Budget:
    """What was sent, and the caps on it. Each attempt at a request counts by its estimate until it is known what it used."""

    def __init__(self, prices: Prices, limits: Limits) -> None:
        self.prices, self.limits = prices, limits
        self.requests = self.tokens = 0
        self.money = 0.0
        self.tokens_around = 0.0

    def estimate(self, request: Request, *, batch: bool = False) -> Answer:
        """What an answer will use at most, as an `Answer` with nothing in it but tokens."""
        read = round(characters(request) / CHARACTERS_PER_TOKEN + self.tokens_around) + 1
        return Answer(prompt_tokens=read, completion_tokens=reply_tokens(request), batch=batch)

    def count(self, expected: list[Answer]) -> None:
        """Count requests that are about to be sent together; an `InputError` if they or their estimates would pass a cap."""
        more = {"requests": len(expected), "tokens": tokens_of(expected), "money": sum(map(self.prices.of, expected))}
        for name, added in more.items():
            cap = getattr(self.limits, name)
            if cap is not None and getattr(self, name) + added > cap + 1e-12:
                raise InputError(
                    f"prompt.limits.{name}: the cap of {cap:,} is reached after {self.requests:,} requests "
                    f"({self.tokens:,} tokens, money {self.money:.4f}); answers so far are kept, raise it to go on"
                )
        self.requests += len(expected)

    def add(self, answer: Answer, sign: int = 1) -> None:
        self.tokens += sign * tokens_of([answer])
        self.money += sign * self.prices.of(answer)

    def learn(self, known: Iterable[tuple[Request, Answer]]) -> None:
        """Take the most tokens that a request was seen to have beyond its estimate into all estimates to come.

        The most, not the mean: a cap may then be reached a little early, and is passed only by a request that is dearer for its
        length than all before it.
        """
        for request, answer in known:
            if answer.prompt_tokens:
                beyond = answer.prompt_tokens - characters(request) / CHARACTERS_PER_TOKEN
                self.tokens_around = max(self.tokens_around, beyond)

    def forecast(self, requests: Iterable[Request], *, batch: bool) -> str:
        """One line on what sending these requests will take at most, and which cap will stop it."""
        expected = [self.estimate(request, batch=batch) for request in requests]
        tokens, money = tokens_of(expected), sum(map(self.prices.of, expected))
        line = f"{len(expected):,} requests, about {tokens:,} tokens"
        if money:
            line += f", money {money:.4f} at most"
        for name, total in (("requests", len(expected)), ("tokens", tokens), ("money", money)):
            if (cap := getattr(self.limits, name)) is not None and total > cap:
                line += f"; prompt.limits.{name} ({cap:,}) will stop it"
        return line
