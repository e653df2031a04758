"""Ends a process whose cluster is lost for good, with one message. Knows nothing of the work done on it.

Without its head a cluster of Ray's does nothing more, and Ray ends every process that has joined it after a minute, with a
report of its own code's stack. What was written until then is whole, as after any kill; so this ends the process before
that, and says what to do.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

LOST_SECONDS = 40.0
"""For which nothing answers, until the cluster counts as lost. Ray itself waits for 60 s."""
LOOK_SECONDS = 2.0
EXIT = 1
"""Nothing that the user gave is wrong."""


def watch(address: str, is_joined: Callable[[], bool], lost_seconds: float = LOST_SECONDS) -> None:
    """Watch the head at HOST:PORT from a thread of its own, as long as this process is joined to it."""
    threading.Thread(target=_watch, args=(address, is_joined, lost_seconds), name="head", daemon=True).start()


def _watch(address: str, is_joined: Callable[[], bool], lost_seconds: float) -> None:
    host, _, port = address.rpartition(":")
    answered = time.monotonic()
    while is_joined():
        with suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS).close()
            answered = time.monotonic()
        if time.monotonic() - answered > lost_seconds and is_joined():
            _end(address, lost_seconds)
        time.sleep(LOOK_SECONDS)


def _end(address: str, lost_seconds: float) -> None:
    # The main thread may wait for an answer that nobody will give: no exception would reach it.
    print(
        f"\nerror: the head of the Ray cluster at '{address}' has not answered for {lost_seconds:g} s: the cluster is lost; "
        "what was finished is whole, and the same command on a cluster that works goes on from there",
        file=sys.stderr,
        flush=True,
    )
    os._exit(EXIT)
