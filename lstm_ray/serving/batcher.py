"""Requests that wait are predicted together. Knows no policy, no HTTP and no Ray.

No timer: a batch is what has come once the event loop has nothing more to bring, so that a lone request waits for nobody and
many share a pass. Each policy has a batcher of its own, so no batch mixes two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

IDLE_PASSES = 4
"""Of the event loop in a row that bring no request: from its socket to here, one takes about as many. Each is microseconds."""
Given = TypeVar("Given")
Found = TypeVar("Found")


class Batcher(Generic[Given, Found]):
    """Calls ``work`` with what waits, one batch at a time.

    Args:
        work: returns an answer for each, in order; where it is an exception, it is raised for that one alone.
        most: requests in a batch at most.
    """

    def __init__(self, work: Callable[[Sequence[Given]], Awaitable[Sequence[Found | Exception]]], most: int) -> None:
        self._work, self._most = work, most
        self._waiting: list[tuple[Given, asyncio.Future[Found]]] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    async def __call__(self, given: Given) -> Found:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.append((given, future))
        if self._working is None:
            self._working = loop.create_task(self._empty())
        return await future

    async def _empty(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                # Who gave up waiting, as after a timeout, costs no prediction.
                if batch := [(given, future) for given, future in batch if not future.done()]:
                    await self._answer(batch)
        finally:
            self._working = None

    async def _gather(self) -> None:
        """Let those in whose bytes have arrived: what many are read and answered with costs little more than what one is."""
        idle = 0
        while idle < IDLE_PASSES and (before := len(self._waiting)) < self._most:
            await asyncio.sleep(0)
            idle = idle + 1 if len(self._waiting) == before else 0

    async def _answer(self, batch: list[tuple[Given, asyncio.Future[Found]]]) -> None:
        try:
            found: Sequence[Found | Exception] = await self._work([given for given, _ in batch])
        except Exception as error:  # each of the batch is told
            found = [error] * len(batch)
        for (_, future), answer in zip(batch, found, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
