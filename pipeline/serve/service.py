"""The classifiers that are served, each with its batches: loaded, asked, and closed when all that waited is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException

from pipeline.serve.batching import Batcher
from pipeline.serve.metrics import Metrics
from pipeline.serve.served import Served


@dataclass(frozen=True)
class Limits:
    """What the service takes, and how long a text may wait for others."""

    max_batch: int = field(default=64, metadata={"help": "texts that are scored together; 1 for each alone"})
    max_wait_ms: float = field(default=2.0, metadata={"help": "milliseconds that a text waits for others at most"})
    max_queue: int = field(
        default=4096, metadata={"help": "texts that may wait; a request for more is answered by 429"}
    )
    max_texts: int = field(default=1024, metadata={"help": "texts of a request, or 422"})
    max_characters: int = field(default=10_000, metadata={"help": "of a text, which is answered by an error otherwise"})
    max_body_mb: float = field(default=4.0, metadata={"help": "megabytes of a request, or 413"})


class Service:
    """The classifiers, each with its batches."""

    def __init__(self, served: list[Served], limits: Limits, failed: Callable[[], None] = lambda: None) -> None:
        self.served = {one.name: one for one in served}
        self.limits = limits
        self.metrics = Metrics()
        self.failed = failed
        self.fault: Exception | None = None
        self.ready = False
        self.batchers = {
            name: Batcher(
                one.answer, limits.max_batch, limits.max_wait_ms / 1000, limits.max_queue, self.metrics.batch(name)
            )
            for name, one in self.served.items()
        }
        for name, batcher in self.batchers.items():
            self.metrics.waiting.labels(name).set_function(partial(len, batcher.waiting))

    async def open(self) -> None:
        """Load all, each in the thread that will score; what goes wrong is kept in `fault`, and `failed` is called."""
        loop = asyncio.get_running_loop()
        try:
            for name, one in self.served.items():
                await loop.run_in_executor(self.batchers[name].thread, one.open)
            self.ready = True
        except Exception as error:  # noqa: BLE001 - the command says it when the server has stopped
            self.fault = error
            self.failed()

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for name, one in self.served.items():
            await loop.run_in_executor(self.batchers[name].thread, one.opened.close)
            self.batchers[name].thread.shutdown()

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """From the first request to the last: by then all that waited has been answered."""
        tasks = [asyncio.create_task(self.open()), *(asyncio.create_task(one.run()) for one in self.batchers.values())]
        yield
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()
        await self.close()

    def named(self, name: str | None, status: int = 422) -> Served:
        if name is not None and name not in self.served:
            raise HTTPException(status, f"{name!r:.60} is not served here; these are: {', '.join(self.served)}")
        return self.served[name or next(iter(self.served))]

    async def answer(self, one: Served, items: list[Any]) -> list[float | str]:
        """P(target = 1) of each item, or why there is none."""
        if not self.ready:
            raise HTTPException(
                503, "the classifiers are being loaded; try again in a few seconds", {"Retry-After": "2"}
            )
        if len(items) > self.limits.max_texts:
            raise HTTPException(422, f"{len(items):,} texts; a request has {self.limits.max_texts:,} at most")
        try:
            found = await self.batchers[one.name](items)
        except asyncio.QueueFull as full:
            raise HTTPException(429, str(full), {"Retry-After": "1"}) from None
        self.metrics.decided(one.name, one.threshold, one.labels, found)
        return found
