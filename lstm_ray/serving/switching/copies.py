"""Copies of answered requests, handed to a policy whose answers nobody waits for. Plain ASGI; knows no policies.

A copy is made after its answer was sent. Few wait, and what finds no room is dropped: a slow shadow delays nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from lstm_ray.monitor.traffic import Compared
from lstm_ray.serving.switching.lane import Lane

COPIED = ("/v1/forecast", "/v1/classify", "/v1/label")
"""Paths of which copies are made: what really happened, not what-if. Truth reaches every policy through the register."""
MAX_WAITING = 64
"""Copies that wait for one policy."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """A request as the champion answered it."""

    scope: MutableMapping[str, Any]
    body: bytes
    answer: bytes
    seconds: float
    """The champion took."""


class Copies:
    """The copies that one policy gets, one after the other in the order of their answers."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue(MAX_WAITING)
        self._task = asyncio.get_running_loop().create_task(self._work())

    def offer(self, copy: Copy) -> None:
        try:
            self._waiting.put_nowait(copy)
        except asyncio.QueueFull:
            self._lane.record(Compared(num_dropped=1))

    def stop(self) -> None:
        self._task.cancel()

    async def _work(self) -> None:
        while True:
            copy = await self._waiting.get()
            with self._lane.busy():
                self._lane.record(await self._try(copy))

    async def _try(self, copy: Copy) -> Compared:
        began = time.perf_counter()
        try:
            status, answer = await _ask(self._lane, copy)
            seconds = time.perf_counter() - began
            if status != 200:
                return Compared(num_failed=1)
            found = self._lane.compare(copy.answer, answer)
        except Exception:  # whatever a policy on trial does, the one that is served goes on
            _log.exception("policy %s failed on a copied request", self._lane.version[:12])
            return Compared(num_failed=1)
        found.add(Compared(num_requests=1, seconds=seconds, champion_seconds=copy.seconds))
        return found


async def _ask(lane: Lane, copy: Copy) -> tuple[int, bytes]:
    status, parts = 500, []
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": copy.body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await lane.app(dict(copy.scope), receive, send)
    return status, b"".join(parts)
