"""How many requests a replica is answering. Plain ASGI; knows no routes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lstm_ray.monitor.traffic import Load

TOLD_SECONDS = 5.0
"""A replica tells its load so often even where nobody asks it anything."""
INSTANT = ("GET", "HEAD")
"""Methods of what is answered at once, probes and pages: they are no load."""


@dataclass
class InFlight:
    """Requests under way in one replica.

    Args:
        replica: its name.
        capacity: requests that it takes at once; 0: whoever serves it knows of no limit, and no load is told.
        queued: how many wait to be predicted.
    """

    replica: str = ""
    capacity: int = 0
    queued: Callable[[], int] = lambda: 0
    now: int = 0
    most: int = 0
    """At once, since it was told."""
    _told: float = float("-inf")

    @property
    def due(self) -> bool:
        """Whether it is to be told though nothing happened."""
        return bool(self.capacity) and time.monotonic() - self._told >= TOLD_SECONDS

    def told(self) -> dict[str, Load]:
        """The load by replica, once; from here on the most at once is counted anew."""
        if not self.capacity:
            return {}
        most, self.most, self._told = self.most, self.now, time.monotonic()
        return {self.replica: Load(self.now, most, self.queued(), self.capacity)}


class Counted:
    """Counts what passes into the application."""

    def __init__(self, app: Any, in_flight: InFlight) -> None:
        self._app, self._in_flight = app, in_flight

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] in INSTANT:
            await self._app(scope, receive, send)
            return
        count = self._in_flight
        count.now += 1
        count.most = max(count.most, count.now)
        try:
            await self._app(scope, receive, send)
        finally:
            count.now -= 1
