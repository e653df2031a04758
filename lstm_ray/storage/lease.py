"""One process at a time where no file can be locked: an object with a heartbeat. Knows nothing of what it guards.

It is best effort, for pyarrow offers no conditional writes: of two that begin within the same instant the later one wins,
since each looks again after a moment. A process that was paused or cut off from storage for long may find another in its
place: its main thread is stopped then, as by Ctrl-C, and it ends by one error. What it does until then must harm nobody.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from pydantic import BaseModel

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects

BEAT_SECONDS = 3.0
STALE_SECONDS = 80.0
"""A lease that has not beaten for so long is its owner's no more: longer than one beat may be on its way, with all that the
client of storage repeats of itself. Watched here, for the clocks of two machines differ."""
MOMENT_SECONDS = 0.3
"""Between writing a lease and looking whether it is still there."""
_own: set[str] = set()
"""Owners of leases that this process holds."""


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
        # A beat is not tried again: it would be old when it arrives, and the next one comes soon.
        self._once = objects.once()
        self._held = Held(owner=uuid4().hex, host=platform.node(), where=_where(), pid=os.getpid())
        self._lost: InputError | None = None

    @contextmanager
    def taken(self, say: Callable[[str], None]) -> Iterator[None]:
        """Raises InputError where another process is alive in there, also later; waits for what one that is dead has left."""
        self._wait_for_free(say)
        self._beat(self._objects)
        time.sleep(MOMENT_SECONDS)
        self.require()
        try:
            with self._beating():
                yield
        except BaseException:
            if self._lost is not None:
                raise self._lost from None
            raise

    def require(self) -> None:
        """Raises InputError where another process has taken the run directory over."""
        self._judge(self._look(self._objects))

    @contextmanager
    def _beating(self) -> Iterator[None]:
        ended, ending = threading.Event(), threading.Lock()
        can_be_stopped = threading.current_thread() is threading.main_thread()

        def beat() -> None:
            while self._lost is None and not ended.wait(BEAT_SECONDS):
                # A storage that fails is told by whoever needs it.
                with suppress(OSError, InputError):
                    self._while_mine(lambda: self._beat(self._once))
            with ending:
                if can_be_stopped and not ended.is_set():
                    _stop_main_thread()

        thread = threading.Thread(target=beat, daemon=True, name="lstm-ray-lease")
        _own.add(self._held.owner)
        thread.start()
        try:
            yield
        finally:
            with ending:
                ended.set()
            thread.join()
            _own.discard(self._held.owner)
            with suppress(OSError, InputError):
                self._while_mine(lambda: self._objects.delete(self._path))

    def _while_mine(self, work: Callable[[], None]) -> None:
        """Do it after a look. One that took long, or was followed by a pause, says nothing about now."""
        looked = time.monotonic()
        self._judge(self._look(self._once))
        if time.monotonic() - looked < BEAT_SECONDS:
            work()

    def _judge(self, now: Held | None) -> None:
        if self._lost is None and (now is None or now.owner != self._held.owner):
            removed = f"the lease on '{self._shown}' was removed; give the same command again, it goes on from here"
            self._lost = self._refused(now) if now else InputError(removed)
        if self._lost is not None:
            raise self._lost

    def _wait_for_free(self, say: Callable[[str], None]) -> None:
        first, began = self._look(self._objects), time.monotonic()
        if first is None or self._is_dead(first):
            return
        told = False
        while time.monotonic() - began < STALE_SECONDS:
            time.sleep(min(1.0, BEAT_SECONDS / 3))
            now = self._look(self._objects)
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
        if held.pid == os.getpid():  # storage failed as it was given up, or another had the same number
            return held.owner not in _own
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

    def _beat(self, objects: Objects) -> None:
        self._held.beat += 1
        objects.write(self._path, self._held.model_dump_json().encode())

    def _look(self, objects: Objects) -> Held | None:
        try:
            return objects.read_as(self._path, Held)
        except FileNotFoundError:
            return None


def _stop_main_thread() -> None:
    """As a person or a cluster would stop the process: with SIGTERM where somebody listens, for Ray Train takes SIGINT."""
    number = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, number)


def _where() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid4().hex  # another system tells neither: its leases are watched
