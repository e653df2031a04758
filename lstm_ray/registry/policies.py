"""A run's policies, on this machine's disk: which of them is served as what, and which was. Knows no torch, no HTTP, no Ray.

The folder holds ``served.json``, one folder for each policy, and the ledger. The account is replaced as a whole, so a killed
process leaves the one before or the one after. It is bounded: the policies kept longest make room, those with an alias never.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.registry.account import Account, Kept, Note, read
from lstm_ray.registry.folder import ACCOUNT, at, locked
from lstm_ray.registry.ledger import Ledger, this_user
from lstm_ray.registry.lineup import Lineup

MAX_KEPT = 10
"""Policies on disk."""
SHORTEST_PREFIX = 4
REFUSED, ROLLED_BACK = "refused", "rolled back"
"""Flags that a policy loses when it becomes champion after all."""
NEW = "a version that this registry had not met lay in the run"


class Registry:
    """One process's hold of a registry: nobody else writes there until ``close``.

    Args:
        session: of a server; the same one that restarts goes on with the line-up that it had.

    Raises HeldError where another process holds the folder, InputError where it cannot be written.
    """

    def __init__(self, folder: Path, session: str = "") -> None:
        self.folder, self._session = folder, session
        self.ledger = Ledger(folder)
        self._lock = locked(folder)

    def close(self) -> None:
        """Let another have the folder."""
        os.close(self._lock)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin(self, source: str, version: str) -> Account:
        """The account, with a policy that was laid into the folder as champion. Where it is already, all is as it was, its
        canary, shadow and probation too; elsewise it is champion alone."""
        account = read(self.folder)
        if account is not None and account.session == self._session and self._session:
            # A server in mid-work goes on; what the ledger cannot take now it is told later.
            with suppress(InputError):
                self.say(account)
            return account
        if account is None:
            account = Account(session=self._session, lineup=Lineup(sequence=1, champion=version))
        known, before = version in account.met, account.lineup.champion if account.champions else None
        lineup = account.lineup.model_copy(update={"held": None, "sequence": account.lineup.sequence + 1})
        if version != before or not set(lineup.versions) <= {kept.version for kept in account.policies}:
            lineup = Lineup(sequence=lineup.sequence, champion=version)
            account.running = None
        account.session, account.lineup = self._session, lineup
        account.champions = [*(v for v in account.champions if v != version), version]
        self.keep(account, self.files(version), source)
        if version != before:
            evidence = {"policy": version, "from": before, "source": source, **({} if known else {"why": NEW})}
            self.note(account, "promoted", evidence)
        if self._session:
            self.note(account, "served", {"policy": version, "source": source})
        self.write(account)
        self._sweep(account)
        self.say(account)
        return account

    def keep(self, account: Account, files: stored.Files, source: str, challenger: bool = False) -> str:
        """Write a policy beside the others and enter it; returns its version. What is too old goes.

        Args:
            challenger: it is the newest candidate.
        """
        version = lay(self.folder, files)
        if account.kept(version) is None:
            name = str(_told(files)["config"].get("name", ""))
            account.policies.append(Kept(version=version, name=name, source=source, since=now()))
        if version not in account.met:
            account.met.append(version)
        if challenger:
            account.challenger = version
        spared = {*account.lineup.versions, *account.aliases().values(), version}
        old = [kept.version for kept in account.policies if kept.version not in spared]
        for gone in old[: max(0, len(account.policies) - MAX_KEPT)]:
            shutil.rmtree(self.folder / gone, ignore_errors=True)
            account.policies = [kept for kept in account.policies if kept.version != gone]
            account.champions = [v for v in account.champions if v != gone]
        return version

    def flag(self, account: Account, version: str, words: str) -> None:
        """Say of a policy what must be known of it, once."""
        kept = account.kept(version)
        if kept is not None and words not in kept.flags:
            kept.flags.append(words)

    def unflag(self, account: Account, version: str) -> None:
        """It becomes champion: what spoke against that was overruled."""
        if (kept := account.kept(version)) is not None:
            kept.flags = [words for words in kept.flags if words not in (REFUSED, ROLLED_BACK)]

    def challenge(
        self,
        account: Account,
        files: stored.Files,
        source: str,
        event: str,
        evidence: Mapping[str, Any],
        who: str = "",
    ) -> str:
        """Keep a policy as the challenger, on disk when this returns; the ledger is told with the next ``say``."""
        version = self.keep(account, files, source, challenger=True)
        if event == "refused":
            self.flag(account, version, REFUSED)
        self.note(account, event, {"policy": version, "source": source, **evidence}, who)
        self.write(account)
        return version

    def note(self, account: Account, event: str, evidence: Mapping[str, Any], who: str = "") -> None:
        """Have an entry written with the account's next ``write`` and ``say``."""
        after = self.ledger.count() + len(account.notes)
        account.notes.append(Note(event=event, evidence=dict(evidence), who=who or this_user(), after=after))

    def write(self, account: Account) -> None:
        """Replace the account. Raises InputError where it cannot be written; then the one before stands."""
        temporary = self.folder / f"{ACCOUNT}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(account.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / ACCOUNT)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise InputError(
                f"'{self.folder / ACCOUNT}' cannot be written: {error.strerror}; make room there"
            ) from None

    def say(self, account: Account) -> None:
        """Append what was noted to the ledger, unless a process that was killed in the middle had done so.

        Raises InputError where the ledger cannot be written; then what is left stays noted.
        """
        while account.notes:
            note = account.notes[0]
            entries = self.ledger.read()[note.after :] if note.after < self.ledger.count() else []
            if not any(
                (entry.event, entry.evidence, entry.who) == (note.event, note.evidence, note.who) for entry in entries
            ):
                self.ledger.append(note.event, note.evidence, note.who)
            account.notes = account.notes[1:]

    def files(self, version: str) -> dict[str, bytes]:
        """Raises InputError where they were altered or removed."""
        return stored.read(self.folder / version)

    def _sweep(self, account: Account) -> None:
        """Remove what a killed process laid and did not enter."""
        known = {kept.version for kept in account.policies}
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in known and re.fullmatch(r"[0-9a-f]{64}", path.name):
                shutil.rmtree(path, ignore_errors=True)


def chosen(run: Path, version: str | None) -> Path | None:
    """The folder of the policy that a run directory means: its registry's champion. None where there is no registry, or the
    run holds a version that it has never met, which is newer than all that it knows.

    Args:
        version: of the policy that lies in the run itself; None where none does.
    """
    folder = at(run)
    account = read(folder)
    if account is None or (version is not None and version not in account.met):
        return None
    return folder / account.lineup.champion


def meant(prefix: str, policies: list[Kept]) -> str:
    """The version that begins so. Raises InputError where none or several do."""
    found = [kept.version for kept in policies if kept.version.startswith(prefix)]
    if len(prefix) >= SHORTEST_PREFIX and len(found) == 1:
        return found[0]
    held = ", ".join(f"{kept.version[:12]} ({kept.source})" for kept in policies)
    many = "several policies" if len(found) > 1 else "no policy"
    raise InputError(f"{many} kept here has a version that begins with '{prefix}'; there are {held}")


def lay(folder: Path, files: stored.Files) -> str:
    """Write a policy to where its history will be, and return its version. Raises InputError where it cannot be written."""
    version: str = _told(files)["version"]
    try:
        stored.write(folder / version, files)
    except OSError as error:
        raise InputError(
            f"policy {version[:12]} cannot be kept in '{folder}': {error.strerror}; make room there"
        ) from None
    return version


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _told(files: stored.Files) -> dict[str, Any]:
    """What ``policy.json`` says. The files were read as a policy's before."""
    told: dict[str, Any] = json.loads(files[stored.POLICY])
    return told
