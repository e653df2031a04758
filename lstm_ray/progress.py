"""Progress of long work: a moving bar on a terminal, a line now and then in a job's log, and a call to whoever watches.

Each line tells how fast the work goes and how long it will take. Knows neither the work nor Ray.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lstm_ray import log

LINES_IN_A_LOG = 5
"""How many lines a bar leaves at most where there is no terminal, and all goes within a few minutes."""
LONGEST_SILENCE_SECONDS = 60.0
"""After which a log gets a line more."""
PACED = 32
"""Last steps by which the pace is told: what is skipped, or was slow at first, says nothing of what is left."""
Watcher = Callable[[str, int, int], None]
"""Called with a bar's title, how many steps are done, and of how many."""
_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Have it told of every step of every bar, from now on."""
    if watcher not in _watchers:
        _watchers.append(watcher)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yields a function that advances the bar by one, with a few words on where the work stands."""
    console = Console(stderr=True, quiet=log.is_json())
    every, said_at, done, pace = max(1, -(-total // LINES_IN_A_LOG)), time.monotonic(), 0, Pace(total)
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Progress(*columns, TextColumn("{task.fields[words]}"), console=console, transient=True)
    task = shown.add_task(title, total=total, words="")

    def advance(words: str = "") -> None:
        nonlocal done, said_at
        done, now = done + 1, time.monotonic()
        told = pace.words(done, now)
        if done % every == 0 or now - said_at >= LONGEST_SILENCE_SECONDS:
            said_at = now
            log.say(f"{title} {done}/{total} {words}".rstrip(), step=title, done=done, total=total, pace=told)
            if not console.is_terminal:
                console.print(f"  {title} {done}/{total} {told} {words}".rstrip(), highlight=False, soft_wrap=True)
        shown.update(task, advance=1, words=f"{told} {words}")
        for watcher in _watchers:
            watcher(title, done, total)

    if console.is_terminal:
        with shown:
            yield advance
    else:
        yield advance


def note(words: str) -> None:
    """A line of its own, also above a bar that moves."""
    log.say(words)
    Console(stderr=True, quiet=log.is_json()).print(f"  {words}", highlight=False, soft_wrap=True)


class Pace:
    """How fast steps are done, and when so many will be."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._at = deque([time.monotonic()], maxlen=PACED)

    def words(self, done: int, now: float) -> str:
        """Such as ``(2.5/s, 12 s left)``, or ``(40 s each, 3 min left)``. Call it once for each step."""
        self._at.append(now)
        each = (now - self._at[0]) / (len(self._at) - 1)
        if each <= 0:
            return "(at once)"
        rate = f"{each:.2g} s each" if each > 1 else f"{1 / each:.3g}/s"
        return f"({rate}, {span(each * (self._total - done))} left)" if done < self._total else f"({rate})"


def span(seconds: float) -> str:
    """In the unit in which a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
