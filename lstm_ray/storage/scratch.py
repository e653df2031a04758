"""Folders on this machine's temporary disk that nobody else may read, and that go with who made them. Knows no storage."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.storage.faults import usable

COPIES, ALIVE = "lstm-ray-copy-", "alive"
"""Copies' names begin so; what their process holds locked as long as it lives."""


def kept(key: str) -> Path:
    """A folder that the next process of this user finds again by the key.

    Raises InputError where another user made it, who could read and alter what is put into it.
    """
    folder = Path(tempfile.gettempdir()) / f"lstm-ray-{os.getuid()}-{key}"
    with usable(f"'{folder}' (TMPDIR)"), suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(
            f"'{folder}' belongs to another (user {found.st_uid}), who could alter the work in it; remove it, or set TMPDIR to "
            "a folder of your own"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


@cache
def copies() -> Path:
    """Where this process keeps what it downloaded, until it ends. What processes that were killed left there is removed."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{COPIES}*"):
        with suppress(OSError), _unheld(left):
            shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=COPIES))
        alive = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)  # open until this process ends
        with suppress(OSError):  # some file systems lock nothing: then nobody sweeps there either
            fcntl.flock(alive, fcntl.LOCK_EX)
        if (folder / ALIVE).exists():
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return folder
        os.close(alive)  # swept between its making and its lock


@contextmanager
def _unheld(folder: Path) -> Iterator[None]:
    """Raises OSError where the folder's process lives, or the folder is no user of this machine's to remove."""
    alive = os.open(folder / ALIVE, os.O_RDWR)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(alive)
