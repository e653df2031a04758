"""Where a run's registry lies, and whose it is: one process at a time writes there. Knows no torch, no HTTP, no Ray."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY

REGISTRY, ACCOUNT, LOCK = "registry", "served.json", "lock"
BEFORE = "served"
"""What older versions called the folder."""
FREE_SECONDS = 5.0
"""A killed server's processes end within so many."""


class HeldError(InputError):
    """Another process has the registry."""


def at(source: str | Path) -> Path:
    """The registry beside a policy: of a run directory, or of the run that a policy's folder lies in. It need not exist.

    A folder that an older version left is given its new name once, unless a server of that version still has it.
    """
    folder = Path(source).expanduser().absolute()
    run = folder.parent if (folder / POLICY).exists() else folder
    new, old = run / REGISTRY, run / BEFORE
    if new.exists() or not (old / ACCOUNT).exists():
        return new
    with suppress(InputError, OSError):
        lock = locked(old)
        try:
            old.rename(new)
        finally:
            os.close(lock)
        return new
    return old


def locked(folder: Path) -> int:
    """The file that says whose a folder is. Closed, and so unlocked, with the process, however it ends.

    Raises HeldError where another has it, InputError where there can be none.
    """
    lock = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise HeldError(
            f"another server serves this run: it keeps its policies in '{folder}'. Change what it serves with 'lstm-ray "
            "update', stop it, or serve a copy of the policy's folder, in a folder of its own"
        ) from None
    except OSError as error:
        raise InputError(f"policies cannot be kept in '{folder}': {error.strerror}") from None
    return lock


def require_free(folder: Path, seconds: float = FREE_SECONDS) -> None:
    """Raises HeldError where another server holds a folder, and does not let go of it soon, as one that was killed does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.close(locked(folder))
            return
        except HeldError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)
