"""Ask an endpoint many questions: each only once, concurrently or in batches, with one clear line when it cannot be done."""

import asyncio
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Self

import openai
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.prompting import batch
from pipeline.prompting.answers import Answer, AnswerStore, Request, request_key
from pipeline.prompting.faults import UNREADABLE, explain, refusal, worth_asking_again
from pipeline.prompting.params import PromptParams
from pipeline.prompting.send import Sender
from pipeline.prompting.server import Endpoint

Reads = Callable[[Answer], bool]
HOPELESS = 20
"""As many answers that cannot be read, and none that can, end a run."""
GRACE = 10.0  # seconds that answers under way are waited for when the run is told to end


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP cancel the task that enters, as asyncio has SIGINT do, and end as a KeyboardInterrupt."""
    loop, task, told = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    alone = threading.current_thread() is threading.main_thread()  # no other may listen
    free = [number for number in numbers if alone and signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: object) -> None:
        told.append(number)
        if task:
            loop.call_soon_threadsafe(task.cancel)

    for number in free:
        signal.signal(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


class Asker:
    """One endpoint and the store of its answers.

    A question that the store can answer is not asked, and if it can answer all of them, the endpoint is not even started.
    """

    def __init__(self, endpoint: Endpoint, store: AnswerStore, params: PromptParams, name: str) -> None:
        self.endpoint, self.store, self.params, self.name = endpoint, store, params, name
        store.name(endpoint.identity, endpoint.model)
        self.sender = Sender(endpoint, params)
        self.used: dict[str, tuple[Request, Answer]] = {}
        """All answers that were asked for, by their keys, and what they answer."""
        self.sent = 0
        """The questions that were sent; the other answers were stored."""
        self.not_kept: set[str] = set()
        """The keys of those that the store does not have: what was refused may be answered another time."""
        self.reads: Reads | None = None
        self.unread = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.close()

    def key(self, request: Request) -> str:
        return request_key(self.endpoint.identity, request)

    def known(self, request: Request) -> Answer | None:
        """The stored answer to a request, which then is among those used."""
        if (answer := self.store.get(key := self.key(request))) is not None:
            self.used[key] = (request, answer)
        return answer

    def keep(self, request: Request, answer: Answer) -> None:
        """Use an answer, and put it into the store; where another process was first, its answer is used."""
        self.used[self.key(request)] = (request, self.store.put(self.endpoint.identity, request, answer))

    def refuse(self, request: Request, answer: Answer) -> None:
        """Use an answer that is not stored: the question is asked again in the next run."""
        self.not_kept.add(key := self.key(request))
        self.used[key] = (request, answer)

    def forget(self) -> None:
        """Let go of all answers so far, which the store has: who asks without an end needs no more memory for it."""
        self.used.clear()
        self.not_kept.clear()

    async def send(self, request: Request) -> Answer:
        self.store.must_be_writable()
        answer = await self.sender.send(request)
        self.sent += 1
        return answer

    async def probe(self, request: Request, *, plain: bool = False) -> Answer:
        """The answer to a request about the endpoint, `refused` if that cannot do it.

        A refusal of a `plain` one is not stored, nor is one that says something of the moment.
        """
        if (known := self.known(request)) is not None:
            return known
        try:
            answer = await self.send(request)
        except (openai.OpenAIError, ValueError) as error:
            refused = refusal(error, probing=True)
            if refused is None or (plain and refused.refused == UNREADABLE):
                raise explain(error, self.endpoint) from None
            answer = refused
        if not answer.refused or not (plain or worth_asking_again(answer.refused)):
            self.keep(request, answer)
        return answer

    async def ask(self, requests: list[Request], reads: Reads | None = None) -> list[Answer]:
        """The answer to each request, in order. The first goes alone, so that a wrong address or key costs one.

        A remote endpoint that has answered may refuse single questions, for example because a filter takes a tweet for an
        incitement, or send something that cannot be read: such an answer has `refused` set. It is stored if it was paid for;
        else it is asked for again in the next run. If `reads` can make nothing of the first `HOPELESS` that come, no more are
        asked for.
        """
        asked = {self.key(request): request for request in requests}
        missing = {
            key: request for key, request in asked.items() if key not in self.used and self.known(request) is None
        }
        self.unread, self.reads = 0, reads
        if reads and any(reads(self.used[key][1]) for key in asked.keys() - missing.keys()):
            self.reads = None
        if missing:
            budget = self.sender.budget
            budget.learn(self.used.values())
            stored = len(asked) - len(missing)
            ahead = budget.forecast(missing.values(), batch=self.params.batch.use)
            tqdm.write(f"{self.name}: {ahead}" + (f"; {stored:,} answers are stored" if stored else ""))
            with tqdm(total=len(asked), initial=stored, desc=self.name, unit="request") as progress:
                await (self.ask_in_batches if self.params.batch.use else self.ask_live)(missing, progress)
        answers = [self.used[self.key(request)][1] for request in requests]
        if refused := Counter(answer.refused for answer in answers if answer.refused):
            told = ", ".join(f"{number} with status {status}" for status, number in sorted(refused.items()))
            print(f"{self.name}: refused, perhaps by a filter, and not unread: {told}")
        if len(versions := {answer.version for answer in answers if answer.version}) > 1:
            print(
                f"{self.name}: answers of {len(versions)} versions of the model; a new prompt.revision has all asked anew"
            )
        return answers

    async def ask_live(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        # Sorted, so that neighbours share the longest prefix (the same examples), which a server need not read again.
        first, *others = sorted(missing.values(), key=lambda request: json.dumps(request, sort_keys=True))
        gate = asyncio.Semaphore(self.endpoint.concurrency)
        failures: list[Exception] = []

        async def one(request: Request, *, may_be_refused: bool) -> None:
            async with gate:
                if failures or self.sender.stopped:  # what is under way is waited for and kept
                    return
                try:
                    self.keep(request, answer := await self.send(request))
                except (openai.OpenAIError, ValueError, InputError) as error:
                    if not may_be_refused or (refused := refusal(error)) is None:
                        failures.append(error)
                        return
                    self.refuse(request, answer := refused)
                self.show(progress)
                if self.reads and self.reads(answer):
                    self.reads = None
                self.unread += 1
                if self.reads and self.unread >= HOPELESS:
                    said = f"none of the first {self.unread} answers could be read: {answer.in_short()}"
                    failures.append(InputError(f"{self.name}: {said}; no more are asked for"))

        async def all_of_them() -> None:
            remote = self.endpoint.kind == "remote"
            answered = any(not answer.refused for _, answer in self.used.values())
            await one(first, may_be_refused=remote and answered)
            await asyncio.gather(*(one(request, may_be_refused=remote) for request in others))

        asking = asyncio.create_task(all_of_them())
        with ended_by_signals():
            try:
                await asyncio.shield(asking)
            except asyncio.CancelledError:
                self.sender.stopped = True
                tqdm.write(f"{self.name}: ends; answers under way are waited for, {GRACE:.0f} seconds at most")
                await asyncio.wait([asking], timeout=GRACE)
                raise
        if failures:
            raise explain(failures[0], self.endpoint) from None

    async def ask_in_batches(self, missing: dict[str, Request], progress: "tqdm[Any]") -> None:
        try:
            async with aclosing(batch.answers(self.sender, self.store, missing)) as found:
                async for key, answer in found:
                    if not answer.kept:
                        self.refuse(missing[key], answer)
                    elif self.known(missing[key]) is None:  # else paid for by another run that began it
                        self.sender.budget.add(answer)
                        self.keep(missing[key], answer)
                        self.sent += 1
                    self.show(progress)
        except (openai.OpenAIError, ValueError) as error:
            raise explain(error, self.endpoint) from None

    def show(self, progress: "tqdm[Any]") -> None:
        if money := self.sender.budget.money:
            progress.set_postfix(money=f"{money:.4f}", refresh=False)
        progress.update()
