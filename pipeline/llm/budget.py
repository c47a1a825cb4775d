"""What a run may send and spend: an estimate before it, caps while it runs."""

from collections.abc import Iterable

from pipeline.contracts import InputError
from pipeline.llm.answers import Answer, Request
from pipeline.llm.params import Limits, Prices

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


def tokens_around(known: Iterable[tuple[Request, Answer]]) -> float:
    """How many tokens a chat template adds to a request's text, as measured on answers so far."""
    added = [answer.prompt_tokens - characters(request) / CHARACTERS_PER_TOKEN for request, answer in known]
    return max(0.0, sum(added) / len(added)) if added else 0.0


class Budget:
    """What was sent, and the caps on it. What is under way counts by its estimate until its answer is there."""

    def __init__(self, prices: Prices, limits: Limits) -> None:
        self.prices, self.limits = prices, limits
        self.requests = self.tokens = 0
        self.money = 0.0
        self.tokens_around = 0.0

    def estimate(self, request: Request, *, batch: bool = False) -> Answer:
        """What an answer will use at most, as an `Answer` with nothing in it but tokens."""
        read = round(characters(request) / CHARACTERS_PER_TOKEN + self.tokens_around) + 1
        return Answer(prompt_tokens=read, completion_tokens=reply_tokens(request), batch=batch)

    def promise(self, expected: Answer) -> None:
        """Count a request that is about to be sent; an `InputError` if it would pass a cap."""
        after = {
            "requests": self.requests + 1,
            "tokens": self.tokens + expected.prompt_tokens + expected.completion_tokens,
            "money": self.money + self.prices.of(expected),
        }
        for name, total in after.items():
            cap = getattr(self.limits, name)
            if cap is not None and total > cap + 1e-12:
                raise InputError(
                    f"prompt.limits.{name}: the cap of {cap:,} is reached after {self.requests:,} requests "
                    f"({self.tokens:,} tokens, money {self.money:.4f}); their answers are kept, raise it to go on"
                )
        self.add(expected)
        self.requests += 1

    def settle(self, request: Request, expected: Answer, answer: Answer | None) -> None:
        """Put what an answer used in the place of its estimate, and learn from it; None if there is no answer."""
        self.add(expected, sign=-1)
        if answer:
            self.add(answer)
            # The most that was seen, not the mean: a cap may be reached too early, but not passed.
            self.tokens_around = max(self.tokens_around, tokens_around([(request, answer)]))

    def add(self, answer: Answer, sign: int = 1) -> None:
        self.tokens += sign * (answer.prompt_tokens + answer.completion_tokens)
        self.money += sign * self.prices.of(answer)

    def forecast(self, requests: Iterable[Request], *, batch: bool) -> str:
        """One line on what sending these requests will take at most, and which cap will stop it."""
        expected = [self.estimate(request, batch=batch) for request in requests]
        tokens = sum(answer.prompt_tokens + answer.completion_tokens for answer in expected)
        money = sum(self.prices.of(answer) for answer in expected)
        totals = {"requests": len(expected), "tokens": tokens, "money": money}
        line = f"{len(expected):,} requests, about {tokens:,} tokens"
        if money:
            line += f", money {money:.4f} at most"
        passed = [
            f"prompt.limits.{name} ({getattr(self.limits, name):,})"
            for name, total in totals.items()
            if getattr(self.limits, name) is not None and total > getattr(self.limits, name)
        ]
        return line + (f"; {' and '.join(passed)} will stop it" if passed else "")
