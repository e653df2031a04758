"""Real processes, as a user starts them. Each ends by its own process group; nothing else on the machine is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LSTM_RAY = str(BIN / "lstm-ray")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The caller's environment, with this Python's programs first and no cluster named."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return inherited | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess]:
    """Run a program to its end from the repository's root."""

    def run(*arguments: str, timeout: float = 600, **extra: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            arguments, cwd=ROOT, env=environment | extra, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@contextmanager
def group(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A program and its children in a process group of their own, all of them gone at the end of the block."""
    with open(log, "w") as output:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        end_group(process, signal.SIGTERM)


def end_group(process: subprocess.Popen, with_signal: signal.Signals) -> None:
    """Signal a whole process group, and again without mercy where it lingers."""
    for sign in (with_signal, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Poll until true. Fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what()}"
        time.sleep(0.1)
