"""One process at a time where no file can be locked: an object with a heartbeat. Knows nothing of what it guards.

It is best effort, for pyarrow offers no conditional writes: of two that begin within the same instant the later one wins,
since each looks again after a moment; a process that was cut off from storage for longer than a lease finds out before it
publishes, but may have worked in vain.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects

BEAT_SECONDS = 3.0
STALE_SECONDS = 15.0
"""A lease that has not beaten for so long is its owner's no more; watched here, for the clocks of two machines differ."""
MOMENT_SECONDS = 0.3
"""Between writing a lease and looking whether it is still there."""


class Held(BaseModel):
    """What the object tells."""

    owner: str
    host: str
    where: str
    """The machine's start and the space of its process numbers."""
    pid: int
    beat: int = 0


class Lease:
    """Held while the block of ``taken`` runs."""

    def __init__(self, objects: Objects, path: str, shown: str) -> None:
        self._objects, self._path, self._shown = objects, path, shown
        self._held = Held(owner=uuid4().hex, host=platform.node(), where=_where(), pid=os.getpid())

    @contextmanager
    def taken(self, say: Callable[[str], None]) -> Iterator[None]:
        """Raises InputError where another process is alive in there; waits for what one that is dead has left."""
        self._wait_for_free(say)
        self._beat()
        time.sleep(MOMENT_SECONDS)
        self.require()
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):
                # A storage that fails is told by whoever needs it; a lease that was taken over, before publishing.
                with suppress(OSError, InputError):
                    self.require()
                    self._beat()

        thread = threading.Thread(target=beat, daemon=True, name="lstm-ray-lease")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with suppress(OSError, InputError):
                self.require()
                self._objects.delete(self._path)

    def require(self) -> None:
        """Raises InputError where another process has taken the run directory over."""
        now = self._look()
        if now is None or now.owner != self._held.owner:
            raise (
                self._refused(now)
                if now
                else InputError(
                    f"the lease on '{self._shown}' was removed; give the same command again, it goes on from here"
                )
            )

    def _wait_for_free(self, say: Callable[[str], None]) -> None:
        first, began = self._look(), time.monotonic()
        if first is None or self._is_dead(first):
            return
        told = False
        while time.monotonic() - began < STALE_SECONDS:
            time.sleep(min(1.0, BEAT_SECONDS / 3))
            now = self._look()
            if now is None:
                return
            if (now.owner, now.beat) != (first.owner, first.beat):
                raise self._refused(now)
            if not told and time.monotonic() - began > BEAT_SECONDS * 1.5:
                say(
                    f"a process on {first.host} has left '{self._shown}' without a word; waiting {STALE_SECONDS:g} s for it"
                )
                told = True

    def _is_dead(self, held: Held) -> bool:
        """Of a process of this very machine that is known at once."""
        if held.where != self._held.where:
            return False
        try:
            os.kill(held.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def _refused(self, held: Held) -> InputError:
        return InputError(
            f"another process is running in '{self._shown}' (process {held.pid} on {held.host}); wait for it or use --run-dir"
        )

    def _beat(self) -> None:
        self._held.beat += 1
        self._objects.write(self._path, self._held.model_dump_json().encode())

    def _look(self) -> Held | None:
        try:
            return Held.model_validate_json(self._objects.read(self._path))
        except (FileNotFoundError, ValidationError):
            return None


def _where() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid4().hex  # another system tells neither: its leases are watched
