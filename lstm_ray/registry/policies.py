"""Policies that were served, on this machine's disk, and which of them is served as what. Knows no torch, no HTTP, no Ray.

A folder holds ``served.json`` and one folder for each policy. The account is replaced as a whole, so a killed process leaves
the one before or the one after. It is bounded: the policies kept longest make room, those that are served never.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.registry.lineup import Lineup

ACCOUNT, LOCK = "served.json", "lock"
MAX_KEPT = 10
"""Policies on disk."""
SHORTEST_PREFIX = 4
FREE_SECONDS = 5.0
"""A killed server's processes end within so many."""


class Kept(BaseModel):
    """A policy on disk."""

    version: str
    name: str
    source: str
    """Where it came from."""
    since: str
    """When it was first brought, UTC."""


class Account(BaseModel):
    """What is served and what was."""

    session: str
    """Of the serving process: a later one begins with the policy that it was told to serve."""
    lineup: Lineup
    policies: list[Kept] = []
    """Oldest first."""
    champions: list[str] = []
    """Versions in the order in which they came to be champion, the present one last; a rollback takes the last away."""


class Registry:
    """One server's account and policies.

    Raises InputError where another server holds the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, session: str) -> None:
        self._folder, self._session = folder, session
        self._lock = _locked(folder)

    def close(self) -> None:
        """Let another have the folder."""
        os.close(self._lock)

    def begin(self, source: str, version: str) -> Account:
        """The account as this session left it; a new session's has this policy as champion, and those that were kept."""
        before = self._read()
        if before is not None and before.session == self._session:
            return before
        policies = [kept for kept in (before.policies if before else []) if kept.version != version]
        champions = [v for v in (before.champions if before else []) if v != version]
        begun = Account(session=self._session, lineup=Lineup(sequence=1, champion=version), policies=policies)
        begun.champions = [*champions, version]
        self.keep(begun, self.files(version), source)
        self.write(begun)
        return begun

    def keep(self, account: Account, files: stored.Files, source: str) -> str:
        """Write a policy beside the others and enter it; returns its version. What is too old goes."""
        version = lay(self._folder, files)
        known = next((kept for kept in account.policies if kept.version == version), None)
        if known is None:
            name = str(_told(files)["config"].get("name", ""))
            since = datetime.now(UTC).isoformat(timespec="seconds")
            account.policies.append(Kept(version=version, name=name, source=source, since=since))
        spared = {*account.lineup.versions, version}
        old = [kept.version for kept in account.policies if kept.version not in spared]
        for gone in old[: max(0, len(account.policies) - MAX_KEPT)]:
            shutil.rmtree(self._folder / gone, ignore_errors=True)
            account.policies = [kept for kept in account.policies if kept.version != gone]
            account.champions = [v for v in account.champions if v != gone]
        return version

    def files(self, version: str) -> dict[str, bytes]:
        """Raises InputError where they were altered or removed."""
        return stored.read(self._folder / version)

    def write(self, account: Account) -> None:
        """Replace the account."""
        temporary = self._folder / f"{ACCOUNT}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(account.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / ACCOUNT)

    def _read(self) -> Account | None:
        """None where there is none, or of a version that wrote it otherwise."""
        try:
            account = Account.model_validate_json((self._folder / ACCOUNT).read_bytes())
        except (OSError, ValidationError):
            return None
        account.policies = [kept for kept in account.policies if (self._folder / kept.version).is_dir()]
        return account


def require_free(folder: Path, seconds: float = FREE_SECONDS) -> None:
    """Raises InputError where another server holds a folder, and does not let go of it soon, as one that was killed does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.close(_locked(folder))
            return
        except InputError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def _locked(folder: Path) -> int:
    """The file that says whose a folder is. Closed, and so unlocked, with the process, however it ends.

    Raises InputError where another has it, or there can be none.
    """
    lock = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError(
            f"another server serves this run: it keeps its policies in '{folder}'. Change what it serves with 'lstm-ray "
            "update', stop it, or serve a copy of the policy's folder, in a folder of its own"
        ) from None
    except OSError as error:
        raise InputError(f"served policies cannot be kept in '{folder}': {error.strerror}") from None
    return lock


def meant(prefix: str, policies: list[Kept]) -> str:
    """The version that begins so. Raises InputError where none or several do."""
    found = [kept.version for kept in policies if kept.version.startswith(prefix)]
    if len(prefix) >= SHORTEST_PREFIX and len(found) == 1:
        return found[0]
    held = ", ".join(f"{kept.version[:12]} ({kept.source})" for kept in policies)
    many = "several policies" if len(found) > 1 else "no policy"
    raise InputError(f"{many} kept here has a version that begins with '{prefix}'; there are {held}")


def lay(folder: Path, files: stored.Files) -> str:
    """Write a policy to where its history will be, and return its version."""
    version: str = _told(files)["version"]
    stored.write(folder / version, files)
    return version


def _told(files: stored.Files) -> dict[str, Any]:
    """What ``policy.json`` says. The files were read as a policy's before."""
    told: dict[str, Any] = json.loads(files[stored.POLICY])
    return told
