"""Work in a process of its own, as a user starts it, and what can be seen of it. Breaks nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lstm_ray.benchmark.chaos.outcome import Fault, Missed
from lstm_ray.on_ray.nodes import Nodes

SEEN_SECONDS, ENDED_SECONDS = 240.0, 400.0
"""Within which what is waited for must be seen, and work must end: far more than an idle machine needs."""
LOOK_SECONDS = 0.02
TRACEBACK = re.compile(r'^ *File ".*/lstm_ray/', re.MULTILINE)
LAST_WORDS = 1500
"""Characters of a log that a missed sign tells."""
Seen = TypeVar("Seen")


@dataclass(eq=False)
class Work:
    """A process that works, in a group of its own."""

    process: subprocess.Popen
    log: Path
    """Both of its streams."""

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, look: Callable[[], Seen], what: str, seconds: float = SEEN_SECONDS) -> Seen:
        """What ``look`` first sees that counts as true. Raises Missed where the work ends before, or time runs out."""
        deadline = time.monotonic() + seconds
        while True:
            # Before the look: what the last moments of the work left is still seen.
            code = self.process.poll()
            if seen := look():
                return seen
            if code is not None:
                raise Missed(f"the work ended with exit code {code} before {what} was seen: {self._last()}")
            if time.monotonic() > deadline:
                raise Missed(f"{what} was not seen within {seconds:g} s: {self._last()}")
            time.sleep(LOOK_SECONDS)

    def ended(self, seconds: float = ENDED_SECONDS) -> int:
        """Its exit code. Raises Missed where it does not end in that time."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Missed(f"the work did not end within {seconds:g} s: {self._last()}") from None

    def kill(self) -> None:
        """At once, with what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def not_one_error(self, *words: str, codes: Sequence[int] = (2,)) -> list[str]:
        """What is wrong with how ended work failed: it should say one error that holds all the words, and no traceback of ours.
        What Ray tells of its nodes' own processes cannot be kept from a driver."""
        errors = [line for line in self.said.splitlines() if line.startswith("error:")]
        wrong = [] if self.process.returncode in codes else [f"exit code {self.process.returncode}"]
        wrong += [] if len(errors) == 1 else [f"{len(errors)} errors told: {self._last()}"]
        wrong += ["a traceback is shown"] if TRACEBACK.search(self.said) else []
        wrong += [f"the error does not say '{word}': {errors[0]}" for word in words if errors and word not in errors[0]]
        return wrong

    def not_well(self) -> list[str]:
        """What is wrong with how ended work ended: it should have ended well."""
        code = self.process.returncode
        return [f"exit code {code}: {self._last()}"] if code else []

    def _last(self) -> str:
        return self.said.strip()[-LAST_WORDS:] or "it said nothing"


@contextmanager
def command(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Work]:
    """``lstm-ray`` with these words; what is left of it is ended with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lstm_ray", *words],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    work = Work(process, log)
    try:
        yield work
    finally:
        work.kill()


def found(nodes: Nodes, *words: str) -> list[int]:
    """Processes of the nodes that live whose command line holds all the words, such as ``ray::_runs_in``."""
    return [pid for node in nodes.members if node.runs for pid in node.processes(*words)]


def caught(nodes: Nodes, *words: str) -> int:
    """A process of the nodes whose command line holds the words, stopped so that it is in the midst of what it says there; 0
    where there is none. To be killed, or sent SIGCONT."""
    for pid in found(nodes, *words):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            if pid in found(nodes, *words):
                return pid
            os.kill(pid, signal.SIGCONT)
    return 0


Strike = Callable[[Work, Nodes, str], Fault]
"""Breaks what is at what the words say."""


def shot(work: Work, nodes: Nodes, *words: str) -> Fault:
    """SIGKILL to the first process of the nodes that is caught at what the words say."""
    pid = work.until(lambda: caught(nodes, *words), f"a process '{' '.join(words)}' at work")
    fault = Fault.now()
    os.kill(pid, signal.SIGKILL)
    return fault
