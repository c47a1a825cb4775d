"""Texts of requests that come at about the same time, scored together by one thread: a batch costs little more than a text."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Batcher(Generic[Item, Result]):
    """Awaited with items, it returns the result of each, in order; `asyncio.QueueFull` if so many cannot wait.

    `work` makes results of items, of one or of `most`, in a thread of its own: it need not be safe for several. A batch is
    begun when it is full, when its first item has waited `wait` seconds, or, longer, when the batch before it is done.
    """

    work: Callable[[list[Item]], Sequence[Result]]
    most: int
    wait: float
    queue: int
    """How many items may wait."""
    told: Callable[[int, float], None] = lambda _size, _seconds: None
    """Of each batch, how many items it had and what it took."""
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    waiting: deque[tuple[Item, asyncio.Future[Result]]] = field(default_factory=deque)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, items: Sequence[Item]) -> list[Result]:
        if len(self.waiting) + len(items) > self.queue:
            raise asyncio.QueueFull(
                f"{len(self.waiting):,} texts wait already, and {self.queue:,} may; try again in a second"
            )
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self.waiting.extend(zip(items, futures, strict=True))
        self.came.set()
        return list(await asyncio.gather(*futures))

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.came.wait()
            until = time.monotonic() + self.wait
            while len(self.waiting) < self.most and (left := until - time.monotonic()) > 0:
                self.came.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.came.wait(), left)
            await self.next_batch()
            (self.came.set if self.waiting else self.came.clear)()

    async def next_batch(self) -> None:
        batch = [self.waiting.popleft() for _ in range(min(self.most, len(self.waiting)))]
        batch = [(item, future) for item, future in batch if not future.done()]  # nobody waits for the others any more
        if not batch:
            return
        start = time.perf_counter()
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self.thread, self.work, [one for one, _ in batch]
            )
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self.told(len(batch), time.perf_counter() - start)
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
