"""Which policy answers: the champion, a canary by its share or by header; a shadow gets copies. Plain ASGI, no policies.

A request is handed whole to one policy's application, so no answer mixes two. A change takes effect between requests: those
that have begun end where they began, and an application is closed after its last.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from lstm_ray.registry.lineup import Lineup
from lstm_ray.serving.gate import Receive, Scope, Send, refuse
from lstm_ray.serving.switching.copies import COPIED, Copies, Copy
from lstm_ray.serving.switching.lane import Lane

CHOICE, VERSION, REQUEST_ID = b"x-policy", b"x-policy-version", b"x-request-id"
"""Headers: the policy asked for (champion, canary, or the beginning of a version), the one that answered, the request's own."""
SHARED = ("/v1/forecast", "/v1/classify", "/v1/label", "/v1/what-if", "/v1/plan")
"""Paths of which a canary gets its share; pages, probes, observations and the monitor are the champion's."""
SHORTEST_VERSION = 6
GOLDEN = 0.6180339887498949
"""Steps by the golden ratio fill [0, 1) evenly: of any stretch the canary gets its share, give or take one or two."""
_log = logging.getLogger(__name__)


class UnknownPolicyError(ValueError):
    """A request asks for a policy that does not answer here."""


class Switch:
    """Hands each request to one lane.

    Whoever makes one adds lanes and calls ``turn`` before the first request.

    Args:
        stop: called once when the server shuts down, before the lanes are closed.
    """

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stop = stop
        self.lanes: dict[str, Lane] = {}
        """By version, whatever they are for."""
        self._lineup: Lineup | None = None
        self._copies: dict[str, Copies] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._turn = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        choice = request_id = None
        for name, value in scope.get("headers", ()):
            if name == CHOICE:
                choice = value
            elif name == REQUEST_ID:
                request_id = value
        path = scope["path"][len(scope.get("root_path", "")) :] or "/"
        try:
            lane = self.choose(choice, request_id, path in SHARED)
        except UnknownPolicyError as error:
            await refuse(send, 422, ["header", "x-policy"], str(error))
            return
        version = (VERSION, lane.version.encode())

        async def send_named(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                # A stream tells its own: all lanes share the streams.
                if not any(name == VERSION for name, _ in headers):
                    message = {**message, "headers": [*headers, version]}
            await send(message)

        with lane.busy():
            if self._copies and lane is self.champion and path in COPIED:
                await self._copied(lane, scope, receive, send_named)
            else:
                await lane.app(scope, receive, send_named)

    @property
    def champion(self) -> Lane:
        assert self._lineup is not None, "turn comes before the first request"
        return self.lanes[self._lineup.champion]

    def choose(self, choice: bytes | None, request_id: bytes | None, shared: bool) -> Lane:
        """The lane of a request. Raises UnknownPolicyError where it asks for one that is not there.

        Args:
            choice: what the header X-Policy says.
            request_id: where the caller sent one, the share is dealt by it: the same request gets the same policy again.
            shared: whether a canary gets its share of such requests.
        """
        lineup = self._lineup
        assert lineup is not None, "turn comes before the first request"
        if choice is not None:
            return self.lanes[_named(choice.decode("latin-1").strip(), lineup)]
        if lineup.canary is None or not shared:
            return self.lanes[lineup.champion]
        if request_id is None:
            at = self._turn = (self._turn + GOLDEN) % 1.0
        else:
            at = int.from_bytes(hashlib.sha256(request_id).digest()[:8], "big") / 2**64
        return self.lanes[lineup.canary if at < lineup.share else lineup.champion]

    async def add(self, lane: Lane) -> None:
        """Have a policy ready. Nothing is sent to it before ``turn`` names it."""
        await lane.open()
        self.lanes[lane.version] = lane

    def turn(self, lineup: Lineup) -> None:
        """Serve as the line-up says, from the next request on. Lanes that it does not name are closed after their last."""
        self._lineup = lineup
        for version in set(self._copies) - {lineup.shadow}:
            self._copies.pop(version).stop()
        if lineup.shadow is not None and lineup.shadow not in self._copies:
            self._copies[lineup.shadow] = Copies(self.lanes[lineup.shadow])
        for version in set(self.lanes) - set(lineup.versions):
            task = asyncio.get_running_loop().create_task(_closed(self.lanes.pop(version)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every lane after its last request."""
        for copies in self._copies.values():
            copies.stop()
        await asyncio.gather(*self._closing, *(_closed(lane) for lane in self.lanes.values()))

    async def _copied(self, lane: Lane, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and then offer what was asked and answered to those beside."""
        asked, answered, status = [], [], 0

        async def receive_and_keep() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                asked.append(message.get("body", b""))
            return message

        async def send_and_keep(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            answered.append(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        await lane.app(scope, receive_and_keep, send_and_keep)
        if status == 200:
            seconds = time.perf_counter() - began
            copy = Copy(dict(scope), b"".join(asked), b"".join(answered), seconds)
            for copies in self._copies.values():
                copies.offer(copy)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _closed(lane: Lane) -> None:
    await lane.close()
    _log.info("policy %s was put down", lane.version[:12])


def _named(choice: str, lineup: Lineup) -> str:
    """The version that a header means."""
    answering = {"champion": lineup.champion} | ({"canary": lineup.canary} if lineup.canary else {})
    found = answering.get(choice)
    if found is None and len(choice) >= SHORTEST_VERSION:
        found = next((version for version in answering.values() if version.startswith(choice)), None)
    if found is None:
        held = ", ".join(f"{role} ({version[:12]})" for role, version in answering.items())
        raise UnknownPolicyError(
            f"no policy '{choice}' answers here; send one of {held}, or no header X-Policy to have one chosen"
        )
    return found
