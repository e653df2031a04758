"""What processes hold and use, read from Linux's /proc now and then. Knows pids; knows nothing of what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SAMPLE_SECONDS = 0.5
Roles = Mapping[str, Sequence[int]]
"""Pids by what their processes do."""


@dataclass(frozen=True)
class Sample:
    """All processes of a role at one time."""

    time: float
    """Seconds of the monotonic clock."""
    role: str
    memory: int
    """Bytes of their own, without pages that are shared with other processes."""
    files: int
    """Open file descriptors."""
    cpu_seconds: float
    """Used so far."""


@dataclass(frozen=True)
class Busy:
    """The whole machine at one time."""

    time: float
    used: float
    total: float
    """CPU seconds used and to be had so far, of all cores."""


class Samples:
    """What was seen; both lists grow while the block of ``sampled`` runs."""

    def __init__(self) -> None:
        self.seen: list[Sample] = []
        self.machine: list[Busy] = []

    def between(self, first: float, last: float) -> list[Sample]:
        return [sample for sample in self.seen if first <= sample.time <= last]

    def machine_share(self, first: float, last: float) -> float | None:
        """Of the machine that was busy; None where that was not seen."""
        seen = [busy for busy in self.machine if first <= busy.time <= last]
        if len(seen) < 2 or seen[-1].total == seen[0].total:
            return None
        return (seen[-1].used - seen[0].used) / (seen[-1].total - seen[0].total)

    def cores(self, role: str, first: float, last: float) -> float | None:
        """Cores that the processes of a role used; None where that was not seen."""
        seen = [sample for sample in self.between(first, last) if sample.role == role]
        if len(seen) < 2 or seen[-1].time == seen[0].time:
            return None
        return max(0.0, (seen[-1].cpu_seconds - seen[0].cpu_seconds) / (seen[-1].time - seen[0].time))


@contextmanager
def sampled(roles: Callable[[], Roles]) -> Iterator[Samples]:
    """Look at processes until the block ends; ``roles`` is asked each time. Where there is no /proc nothing is seen.

    Raises what ``roles`` raised.
    """
    found, over, failed = Samples(), threading.Event(), list[Exception]()

    def watch() -> None:
        try:
            while not over.wait(SAMPLE_SECONDS):
                look(found, roles())
        except Exception as error:  # raised where the block ends: a soak that nobody watched must not pass
            failed.append(error)

    watcher = threading.Thread(target=watch, name="stress-samples", daemon=True)
    if PROC.exists():
        watcher.start()
    try:
        yield found
    finally:
        over.set()
        if watcher.ident is not None:
            watcher.join()
    if failed:
        raise failed[0]


def look(found: Samples, roles: Roles) -> None:
    """One sample of each role, and of the machine. A role of which a process is gone has none."""
    now = time.monotonic()
    for role, pids in roles.items():
        # A process may end while it is looked at.
        with suppress(OSError, ValueError, IndexError):
            told = [_held(pid) for pid in pids]
            if told:
                memory, files, cpu = (sum(values) for values in zip(*told, strict=True))
                found.seen.append(Sample(now, role, int(memory), int(files), cpu))
    with suppress(OSError, ValueError):
        ticks = [int(word) for word in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
        idle, second = ticks[3] + ticks[4], os.sysconf("SC_CLK_TCK")
        found.machine.append(Busy(now, (sum(ticks) - idle) / second, sum(ticks) / second))


def _held(pid: int) -> tuple[int, int, float]:
    """(bytes of its own, open files, CPU seconds). Raises OSError where it is gone."""
    process = PROC / str(pid)
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    own = int(lines["RssAnon"].split()[0]) * 1024 if "RssAnon" in lines else 0
    # After the name in brackets, which may hold anything: the state is the third field, user and system time the 14th, 15th.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return own, len(os.listdir(process / "fd")), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
