"""Progress of long work: a moving bar on a terminal, a line now and then in a job's log, and a call to whoever watches.

Each line tells how fast the work goes and how long it will take. Knows neither the work nor Ray.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lstm_ray import log

LINES_IN_A_LOG = 5
"""How many lines a bar leaves at most where there is no terminal, and all goes within a few minutes."""
LONGEST_SILENCE_SECONDS = 60.0
"""After which a log gets a line more."""
LONGER, TOGETHER = 1.5, 0.05
"""A wait so many times as long as any before it begins the pace anew; steps that come within such a share of it after it were
done with the one that ended it."""
Watcher = Callable[[str, int, int, bool], None]
"""Called with a bar's title, how many steps are done, of how many, and whether the work is over: early, too, or by a fault."""
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
                line = " ".join(part for part in (f"{title} {done}/{total}", told, words) if part)
                console.print(f"  {line}", highlight=False, soft_wrap=True)
        shown.update(task, advance=1, words=f"{told} {words}".lstrip())
        tell(is_over=False)

    def tell(is_over: bool) -> None:
        for watcher in _watchers:
            watcher(title, done, total, is_over)

    try:
        with shown if console.is_terminal else nullcontext():
            yield advance
    finally:
        tell(is_over=True)


def note(words: str) -> None:
    """A line of its own, also above a bar that moves."""
    log.say(words)
    Console(stderr=True, quiet=log.is_json()).print(f"  {words}", highlight=False, soft_wrap=True)


class Pace:
    """How fast steps are done, and when so many will be.

    It begins with the step that ended the longest wait: before it workers may have started, or steps been kept from a killed
    attempt. Nothing is told until half as long has been worked since: of ten workers that start together, ten end together, and
    what lies between these ends is not how long a step takes.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._last = self._waited = time.monotonic()
        self._longest = 0.0
        self._began = self._last, 0

    def words(self, done: int, now: float) -> str:
        """Such as ``(2.5/s, 12 s left)``, ``(40 s each, 3 min left)``, or nothing. Call it once for each step."""
        wait, self._last = now - self._last, now
        if wait > LONGER * self._longest:
            self._longest, self._waited = wait, now
        if now - self._waited <= TOGETHER * self._longest:
            self._began = now, done
        since, before = self._began
        if done == before or now - since < self._longest / 2:
            return ""
        each = (now - since) / (done - before)
        rate = f"{f'{each:.2g} s' if each < 10 else span(each)} each" if each > 1 else f"{1 / each:.3g}/s"
        return f"({rate}, {span(each * (self._total - done))} left)" if done < self._total else f"({rate})"


def span(seconds: float) -> str:
    """In the unit in which a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
