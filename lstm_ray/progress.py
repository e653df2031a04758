"""Progress of long work: a moving bar on a terminal, a line now and then in a job's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINES_IN_A_LOG = 5
"""How many lines a bar leaves at most where there is no terminal."""


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yields a function that advances the bar by one, with a few words on where the work stands."""
    console = Console(stderr=True)
    if not console.is_terminal:
        every, done = max(1, -(-total // LINES_IN_A_LOG)), 0

        def say(words: str = "") -> None:
            nonlocal done
            done += 1
            if done % every == 0:
                console.print(f"  {title} {done}/{total} {words}", highlight=False, soft_wrap=True)

        yield say
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, words="")

        def move(words: str = "") -> None:
            progress.update(task, advance=1, words=words)

        yield move


def note(words: str) -> None:
    """A line of its own, also above a bar that moves."""
    Console(stderr=True).print(f"  {words}", highlight=False, soft_wrap=True)
