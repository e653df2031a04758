"""What stands before every route: the bearer token, the limit on bodies, and the count of answers. Plain ASGI."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/docs", "/healthz", "/readyz")
"""Paths that need no token: probes, and pages that hold no data of their own."""
BODY_SECONDS = 10.0
"""A body that takes longer to arrive is given up."""


class Gate:
    """Refuses before the application sees a request.

    Args:
        max_body_bytes: larger bodies get 413, as soon as that is known and before anything parses them.
        token_digest: SHA-256 of the bearer token; None where none is needed.
        record: called with path, status and seconds for every answer.
    """

    def __init__(
        self,
        app: App,
        max_body_bytes: int,
        token_digest: bytes | None,
        record: Callable[[str, int, float], None],
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app, self._max_body_bytes, self._token_digest = app, max_body_bytes, token_digest
        self._record, self._body_seconds = record, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        path = scope["path"][len(scope.get("root_path", "")) :] or "/"

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(path, scope, receive, send_and_note)
        finally:
            self._record(path, status, time.perf_counter() - began)

    async def _pass(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._token_digest is not None and path not in OPEN and not self._knows(headers):
            words = "a bearer token is needed: send the header 'Authorization: Bearer TOKEN'"
            await refuse(send, 401, ["header", "authorization"], words, {"www-authenticate": "Bearer"})
            return
        too_large = f"the body exceeds {self._max_body_bytes} bytes; send fewer series or steps at a time"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            await refuse(send, 413, ["body"], too_large)
            return
        if scope["method"] == "POST" and not headers.get(b"content-type", b"").startswith(b"application/json"):
            words = "the body must be JSON and say so: send the header 'Content-Type: application/json'"
            await refuse(send, 422, ["header", "content-type"], words)
            return
        try:
            body = await asyncio.wait_for(self._read(receive), self._body_seconds)
        except TimeoutError:
            words = f"the body did not arrive within {self._body_seconds:g} seconds; send it at once"
            await refuse(send, 408, ["body"], words)
            return
        if body is None:
            await refuse(send, 413, ["body"], too_large)
            return
        await self._app(scope, _replay(body, receive), send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        assert self._token_digest is not None
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        return hmac.compare_digest(digest(token.strip()), self._token_digest) and kind.lower() == b"bearer"

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body, or None where it exceeds the limit.

        What a refused client still sends is for the server beneath to read and drop: closing on it would lose the answer.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body_bytes:
                return None
            if message["type"] != "http.request" or not message.get("more_body", False):
                return b"".join(parts)


async def refuse(
    send: Send, status: int, location: list[str | int], words: str, headers: dict[str, str] | None = None
) -> None:
    """Answer with an error in the shape that FastAPI gives its own."""
    body = json.dumps({"detail": [{"loc": location, "msg": words}]}).encode()
    sent = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(name.encode(), value.encode()) for name, value in sent.items()]})
    await send({"type": "http.response.body", "body": body})


def digest(token: bytes) -> bytes:
    """What is kept of a token: replicas and cluster state never hold the token itself."""
    return hashlib.sha256(token).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
