"""What stands before every route: the bearer token, the limits on bodies, the request's id, and the account of answers.
Plain ASGI.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from lstm_ray.serving.log import Passed
from lstm_ray.serving.page.pages import is_public
from lstm_ray.serving.routes.reading import NAMES, SERIES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES = ("/healthz", "/readyz")
"""Paths that need no token; so do pages, which hold no data of their own."""
ID = b"x-request-id"
SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
TOKEN = "lstm_ray.token"
"""Where a request's scope holds the name of the token that it showed: who did it."""
GONE = 499
"""Status that is told of a client which left before it was answered."""
ARRIVED = "lstm_ray.arrived"
"""Where a request's scope holds the process that met it first, and when."""
RETRY_SECONDS = 1.0
"""After which whoever is turned away shall come again; and for which a request may wait before anybody begins with it. A
queue that is bounded by its length alone makes those in it wait without bound where the server slows down."""


class Gate:
    """Refuses before the application sees a request.

    Args:
        max_body_bytes: larger bodies get 413, as soon as that is known and before anything parses them.
        tokens: SHA-256 of the bearer tokens that open this server, by their names; empty where none is needed.
        record: called with every answer once it is sent.
        body_seconds: a body that takes longer to arrive gets 408.
        echoes_id: whether answers tell the request's id; a server beneath may do so itself.
        is_route: whether a path is a documented one, which may be told of a request that is refused before it met its route.
    """

    def __init__(
        self,
        app: App,
        max_body_bytes: int,
        tokens: Mapping[str, bytes],
        record: Callable[[Passed], None],
        body_seconds: float = 10.0,
        echoes_id: bool = True,
        is_route: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self._app, self._max_body_bytes, self._tokens = app, max_body_bytes, tokens
        self._record, self._body_seconds, self._echoes_id = record, body_seconds, echoes_id
        self._is_route = is_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, size = time.perf_counter(), 0, 0
        headers = dict(scope["headers"])
        path, request_id = scope["path"][len(scope.get("root_path", "")) :] or "/", request_id_of(headers.get(ID, b""))

        async def receive_and_note() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echoes_id:
                    message["headers"] = [*message.get("headers", ()), (ID, request_id.encode())]
            await send(message)

        try:
            await self._pass(path, headers, scope, receive_and_note, send_and_note)
        except asyncio.CancelledError:
            status = status or GONE
            raise
        except Exception:
            if not status:
                words = f"the server failed; its log tells why, under {request_id}"
                await refuse(send_and_note, 500, [], words)
            raise
        finally:
            seconds = time.perf_counter() - began
            route = scope.get("route")
            met = route.path if route is not None else path if self._is_route(path) else "other"
            # A stream's id is a name as well.
            stream = scope.get("path_params", {}).get("id")
            names = [stream] if stream else scope.get(NAMES, ())
            told = (request_id, scope["method"], met, status or 500, seconds, size, scope.get(SERIES))
            self._record(Passed(*told, scope.get(TOKEN), names))

    async def _pass(self, path: str, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        if waited(scope) > RETRY_SECONDS and path not in PROBES:
            words = (
                f"the server is overloaded: the request waited for more than {RETRY_SECONDS:g} s; send it again later"
            )
            await refuse(send, 503, [], words, {"retry-after": f"{RETRY_SECONDS:.0f}"})
            return
        if self._tokens:
            scope[TOKEN] = whose(headers.get(b"authorization", b""), self._tokens)
        if self._tokens and scope[TOKEN] is None and not is_open(path):
            words = "a bearer token is needed: send the header 'Authorization: Bearer TOKEN'"
            if b"authorization" in headers:
                words = (
                    "the bearer token is wrong: send that of this server in the header 'Authorization: Bearer TOKEN'"
                )
            await refuse(send, 401, ["header", "authorization"], words, {"www-authenticate": "Bearer"})
            return
        too_large = f"the body exceeds {self._max_body_bytes} bytes; send fewer series or steps at a time"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            await refuse(send, 413, ["body"], too_large)
            return
        if scope["method"] in ("POST", "PUT") and (b"transfer-encoding" in headers or length != b"0"):
            if headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
                words = "a compressed body is not read; send it as it is, without the header 'Content-Encoding'"
                await refuse(send, 415, ["header", "content-encoding"], words, {"accept-encoding": "identity"})
                return
            if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
                words = "the body must be JSON and say so: send the header 'Content-Type: application/json'"
                await refuse(send, 415, ["header", "content-type"], words, {"accept": "application/json"})
                return
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._read(receive)
        except TimeoutError:
            words = f"the body did not arrive within {self._body_seconds:g} seconds; send it at once, or less of it"
            await refuse(send, 408, ["body"], words, {"connection": "close"})
            return
        if body is None:
            await refuse(send, 413, ["body"], too_large)
            return
        await self._app(scope, _replay(body, receive), send)

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


def arrived(scope: Scope) -> None:
    """Note that a request is here, before it waits for its turn."""
    scope[ARRIVED] = (os.getpid(), time.monotonic())


def waited(scope: Scope) -> float:
    """Seconds since then, told once: a copy of the request is nobody's wait. 0 where nobody noted it, or another process did,
    which may run by another machine's clock."""
    process, when = scope.pop(ARRIVED, (0, 0.0))
    return time.monotonic() - when if process == os.getpid() else 0.0


def is_open(path: str) -> bool:
    """Whether a path needs no token."""
    return path in PROBES or is_public(path)


def whose(authorization: bytes, tokens: Mapping[str, bytes]) -> str | None:
    """The name of the token in an Authorization header, in a time that tells neither how much of it is right nor which it is;
    None where it is none of them."""
    kind, _, token = authorization.partition(b" ")
    given, found = digest(token.strip()), None
    for name, expected in tokens.items():
        if hmac.compare_digest(given, expected):
            found = name
    return found if kind.lower() == b"bearer" else None


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


def request_id_of(given: bytes) -> str:
    """The caller's, where it is one that a log can hold; else one that is made up."""
    return given.decode() if SANE_ID.fullmatch(given) else secrets.token_hex(8)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
