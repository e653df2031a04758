"""One policy's application between its first request and its last. Plain ASGI; knows no policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from lstm_ray.monitor.traffic import Compared
from lstm_ray.serving.gate import App


class Lane:
    """One policy's application while it is served.

    Args:
        lifespan: of the application: entered before its first request, left after its last.
        compare: the champion's answer and this one's to the same request, as JSON.
        record: takes what came of a copy.
        served: whatever else the caller keeps with it.
    """

    def __init__(
        self,
        version: str,
        app: App,
        lifespan: AbstractAsyncContextManager[Any],
        compare: Callable[[bytes, bytes], Compared] = lambda champion, own: Compared(),
        record: Callable[[Compared], None] = lambda compared: None,
        served: Any = None,
    ) -> None:
        self.version, self.app, self.compare, self.record, self.served = version, app, compare, record, served
        self._lifespan = lifespan
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        await self._lifespan.__aenter__()

    async def close(self) -> None:
        """Wait for the last request, then end the application."""
        await self._idle.wait()
        await self._lifespan.__aexit__(None, None, None)

    @contextmanager
    def busy(self) -> Iterator[Lane]:
        """A request of this policy: it is not closed before the block ends."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
