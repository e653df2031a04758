"""Names of series as logs and ledgers tell them: by a keyed hash, which tells nobody without the key which series it is.

The key is a line of text in a file of its owner's alone, so that any tool finds a series' lines::

    id=$(printf %s 'pump 7' | openssl dgst -sha256 -hmac "$(cat RUN/registry/log.key)" | tail -c 65 | head -c 16)
    grep "$id" server.log

Whoever removes the file has the lines mean nothing any more.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lstm_ray.errors import InputError

FILE = "log.key"
KEY_BYTES = 32
SHOWN = 16
"""Of the hash's 64 digits: of a billion series two would hardly be told alike."""


def hashed(name: str, key: str) -> str:
    """A name as it is told."""
    return hmac.new(key.encode(), name.encode(), hashlib.sha256).hexdigest()[:SHOWN]


def key_of(folder: Path) -> str:
    """The key of a registry's folder; it is made when it is first asked for.

    Raises InputError where it cannot be read or made, or is none.
    """
    file = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the key '{file}' that hashes names of series cannot be had: {error}") from None
    if len(key) < KEY_BYTES:
        raise InputError(
            f"the key '{file}' that hashes names of series has {len(key)} characters, too few to hide them; remove the file, "
            "and another is made"
        )
    return key


def _make(file: Path) -> None:
    """Whole or not at all, and of two that make it at once the first one's."""
    temporary = file.with_name(f"{FILE}.{os.getpid()}.tmp")
    made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(made, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
        os.fsync(made)
        try:
            os.link(temporary, file)
        except FileExistsError:
            return
    finally:
        os.close(made)
        temporary.unlink(missing_ok=True)
