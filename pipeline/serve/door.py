"""What every request passes: whose page it is from, the key, the size, the clock."""

import hmac
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serve.metrics import Metrics

OPEN = "/v2/health/"
"""Needs no key: who asks it is a machine, and learns nothing."""


class Door:
    """Middleware that turns away what another site's page asks (403), has no `key` (401), or is longer than `most` bytes (413).

    A browser on this machine reaches what listens on loopback, and says in Origin whose page it asks for.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, key: str | None, most: int) -> None:
        self.app, self.metrics, self.key, self.most = app, metrics, key, most

    def refusal(self, path: str, headers: Headers) -> tuple[int, str] | None:
        if (origin := headers.get("origin")) and urlsplit(origin).netloc != headers.get("host"):
            return 403, "asked by another site's page"
        given = headers.get("authorization", "").encode()
        if self.key and not path.startswith(OPEN) and not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
            return 401, "a key is needed: send the header Authorization: Bearer, followed by it"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.most:
            return 413, f"{int(length):,} bytes; a request has {self.most:,} at most"
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, read, status = time.perf_counter(), 0, 500

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise HTTPException(413, f"more than {self.most:,} bytes, which a request has at most")
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        refused = self.refusal(scope["path"], Headers(scope=scope))
        app: Any = self.app if refused is None else JSONResponse({"error": refused[1]}, refused[0])
        try:
            await app(scope, counted, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.request(route, status, time.perf_counter() - start)
        return None
