"""The replicas that follow a register: which are there, and which have taken what they were told. Knows no policies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lstm_ray.errors import InputError

SILENT_SECONDS = 8.0
"""A replica that has not asked for so long is not waited for; it takes over the line-up when it comes back."""


@dataclass
class Replica:
    """As it last said."""

    seen: float
    sequence: int = 0
    error: str = ""


class Followers:
    """Replicas by name."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}

    def seen(self, name: str, sequence: int = 0) -> Replica:
        """A replica has just asked, and has the line-up of this number: a register that restarted was not told so."""
        found = self._replicas.setdefault(name, Replica(0.0))
        found.seen, found.sequence = time.monotonic(), found.sequence or sequence
        return found

    def took(self, name: str, sequence: int, error: str) -> None:
        """It serves the line-up of this number, or says why it does not."""
        found = self.seen(name)
        found.sequence, found.error = sequence, error

    def left(self, name: str) -> None:
        self._replicas.pop(name, None)

    def present(self) -> dict[str, Replica]:
        now = time.monotonic()
        return {name: found for name, found in self._replicas.items() if now - found.seen < SILENT_SECONDS}

    def behind(self, sequence: int) -> list[str]:
        """Names of those that have not taken the line-up of this number."""
        return [name for name, found in self.present().items() if found.sequence != sequence]

    def errors(self, sequence: int | None = None) -> list[str]:
        """What they have against the line-up of this number, or against any."""
        there = self.present().values()
        return sorted({r.error for r in there if r.error and sequence in (None, r.sequence)})


async def until(holds: Callable[[], Any], words: str, seconds: float) -> None:
    """Wait. Raises InputError with the words where that takes too long; goes on where there are none."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            if words:
                raise InputError(words)
            return
        await asyncio.sleep(0.01)
