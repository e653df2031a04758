"""What must be known of policies that no registry keeps, beside those that it does: they may come into it later.

A flag's words are for people; they name no series.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from lstm_ray.errors import InputError

FILE = "flags.json"


def flags_of(folder: Path, version: str) -> list[str]:
    """Of one policy, by a registry's folder. Raises InputError where the file holds no flags."""
    return _read(folder).get(version, [])


def flag(folder: Path, version: str, words: str) -> None:
    """Say it once, whole or not at all. Raises InputError where that cannot be written."""
    known = _read(folder)
    if words in known.get(version, ()):
        return
    known.setdefault(version, []).append(words)
    temporary = folder / f"{FILE}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / FILE)
    except OSError as error:
        raise InputError(f"'{folder / FILE}' cannot be written: {error.strerror}; make room there") from None


def _read(folder: Path) -> dict[str, list[str]]:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder / FILE}' cannot be read: {error}; mend or remove it") from None
    if not isinstance(found, dict) or not all(isinstance(words, list) for words in found.values()):
        raise InputError(f"'{folder / FILE}' holds no flags of policies; mend or remove it")
    return found
